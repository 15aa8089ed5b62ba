"""A bundle whose model is a softmax of one matrix, made by hand: converting it takes no TensorFlow."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from sweep.champion.bundle import SUMS, Parity
from sweep.champion.coded_onnx import add_columns
from sweep.coordinator import run_study
from sweep.data.columns import Column
from sweep.data.files import read
from sweep.data.prepared import PreparedData, open_test_split, prepare
from sweep.durable.files import sha256_of
from sweep.layout import RunsDir
from sweep.record.predictions import Predictions
from sweep.study.file import parse_study
from sweep.trial import Logs
from tests.studies import FILES, fake_runtime, job

WEIGHTS = np.random.default_rng(3).normal(0, 0.002, (64, 3)).astype(np.float32)


def write_onnx(path: Path, weights: NDArray[np.float32] = WEIGHTS, columns: Sequence[Column] = ()) -> None:
    """rows -> softmax(rows @ weights)."""
    n_features, n_classes = weights.shape
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["rows"], ["x"], to=TensorProto.FLOAT),
            helper.make_node("MatMul", ["x", "w"], ["z"]),
            helper.make_node("Softmax", ["z"], ["classes"]),
        ],
        "mlp",
        [
            helper.make_tensor_value_info(
                "rows", TensorProto.DOUBLE if columns else TensorProto.FLOAT, ["n", n_features]
            )
        ],
        [helper.make_tensor_value_info("classes", TensorProto.FLOAT, ["n", n_classes])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    onnx.save(add_columns(model, columns) if columns else model, path)


def convert_by_hand(
    model: Path,
    into: Path,
    data: PreparedData | None,
    columns: Sequence[Column],
    weights: NDArray[np.float32] = WEIGHTS,
) -> Parity:
    write_onnx(into, weights, columns)
    return Parity(1000, 0, 0.0)


def sweep_by_hand(
    runs: RunsDir,
    table: dict[str, Any],
    folder: Path,
    weigh: Callable[[PreparedData], NDArray[np.float32]] = lambda _: WEIGHTS,
) -> PreparedData:
    """A study on the fake executor, with real data in `folder`, scored as the model above would be."""
    study = parse_study(table, "tiny.toml")
    data = prepare(read(study.data, folder), study.data, study.seed, runs.data_cache)
    runtime = replace(fake_runtime(study, files=FILES), score=partial(score_by_hand, data=data, weights=weigh(data)))
    run_study(replace(job(runs, table), data=data), runtime)
    return data


def score_by_hand(
    models: dict[str, Path], data: PreparedData, weights: NDArray[np.float32]
) -> dict[str, tuple[Logs, bytes]]:
    test = open_test_split(data)
    z = np.exp(np.asarray(test.x, np.float32) @ weights)
    said = Predictions.of(np.asarray(z / z.sum(axis=1, keepdims=True), np.float64), test.y, test.x)
    return dict.fromkeys(models, ({"test_accuracy": float(said.correct.mean()), "test_loss": 1.0}, said.pack()))


def seal(folder: Path) -> None:
    """Checksums that hold again, as whoever changes a bundle on purpose would write them."""
    names = sorted(path.name for path in folder.iterdir() if path.name != SUMS)
    (folder / SUMS).write_text("".join(f"{sha256_of(folder / name)}  {name}\n" for name in names))
