"""Convert the champion to an .onnx file in a process of its own."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from sweep.champion.bundle import Parity
from sweep.data.columns import Column
from sweep.data.prepared import PreparedData
from sweep.execute.one_task import run_in_process


def convert_in_process(
    model: Path, onnx: Path, data: PreparedData | None, columns: Sequence[Column], log: Path
) -> Parity:
    """Do what `conversion.convert` does, in another process. `log` takes its stderr. Raises WorkersError if it dies."""
    return run_in_process(partial(_convert, model, onnx, data, columns), "conversion to .onnx", log)


def _convert(model: Path, onnx: Path, data: PreparedData | None, columns: Sequence[Column]) -> Parity:
    from sweep.champion.conversion import convert

    return convert(model, onnx, data, columns)
