"""Giving a champion its .onnx form, in a process of its own."""

from functools import partial
from pathlib import Path

from sweep.bundle import Parity, Scaling
from sweep.data import PreparedData
from sweep.execute.once import in_process


def convert_in_process(model: Path, onnx: Path, scaling: Scaling, data: PreparedData | None, log: Path) -> Parity:
    """See `train.convert.convert`. Raises WorkersError if the process fails."""
    return in_process(partial(_convert, model, onnx, scaling, data), "conversion to .onnx", log)


def _convert(model: Path, onnx: Path, scaling: Scaling, data: PreparedData | None) -> Parity:
    from sweep.train.convert import convert

    return convert(model, onnx, scaling, data)
