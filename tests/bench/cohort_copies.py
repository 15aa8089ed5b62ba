"""`python -m tests.bench.cohort_copies`: copies of a notebook net in one program, beside `model.fit` on the same device.

Milliseconds for an epoch of one member, by the number of members, and what the memory traffic of Adam alone would take: seven
passes over all weights a step (read gradients, weights and both moments; write weights and both moments), at the rate that a
copy of as many bytes reaches on this device. Runs on whatever JAX sees.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from sweep.study.file import load_study
from sweep.study.schema import Study
from sweep.trial import Trial
from tests.bench.run import RESULTS

STUDY = Path(__file__).parents[2] / "studies" / "notebook.toml"
PASSES = 7  # of an Adam step over the weights
COPIED_BYTES = 2**30  # so many that what a call costs beside them does not count


@dataclass(frozen=True)
class Timed:
    """One contender: how long an epoch of one member takes."""

    name: str
    n_members: int
    epoch_ms: list[float]  # of one member, by repeat
    floor_ms: float  # memory traffic of Adam alone
    compile_s: float

    @property
    def median_ms(self) -> float:
        return float(np.median(self.epoch_ms))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.cohort_copies", description=__doc__)
    parser.add_argument("--net", type=int, default=1, help="its place among the baselines of studies/notebook.toml")
    parser.add_argument("--members", type=int, nargs="+", default=[1, 16, 64, 256])
    parser.add_argument("--rows", type=int, help="train on so many rows only, to see that the bench itself works")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--precision", choices=("float32", "tensorfloat32", "bfloat16"), default="float32")
    given = parser.parse_args()
    os.environ["KERAS_BACKEND"] = "jax"
    from sweep.train.cohort.program import describe_device, use_device

    use_device(given.precision, RESULTS / "programs")
    study = load_study(STUDY)[0]
    study = study.model_copy(update={"data": study.data.model_copy(update={"train_rows": given.rows})})
    fit, members = measure(study, given.net, given.members, given.repeats, given.precision)
    path = RESULTS / f"cohort-copies-{datetime.now(UTC):%Y%m%dT%H%M%S}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**describe_device(), **vars(given), "timed": [asdict(one) for one in (fit, *members)]}))
    show(f"{study.baselines[given.net].name}, {given.precision}, on {describe_device()['device']}", fit, members)


def measure(study: Study, net: int, sizes: list[int], repeats: int, precision: Any) -> tuple[Timed, list[Timed]]:
    """`model.fit`, and cohorts of each size. After one epoch each that compiles, repeats alternate between all."""
    from sweep.data.files import read
    from sweep.data.prepared import open_training_split, prepare
    from sweep.train.cohort.bucket import group_into_buckets
    from sweep.train.cohort.member import Blueprint, DeviceRows
    from sweep.train.cohort.program import Cohort, Program

    config = study.baselines[net].config
    data = prepare(read(study.data, STUDY.parent), study.data, study.seed, RESULTS / "notebook-data")
    split = open_training_split(data, "train")
    rows = DeviceRows.of(data.facts, split, None)
    trials = [Trial(number=i, phase="confirm", config=config, seed=i, replicate=i + 1) for i in range(max(sizes))]
    [bucket] = group_into_buckets(trials)
    blueprint = Blueprint(bucket, rows, precision, study.training.max_epochs)
    steps = -(-data.facts.n_train // config.batch_size)
    floor_ms = 1e3 * steps * PASSES * 4 * n_weights(blueprint) / copy_rate()
    epochs: dict[int, Callable[[], object]] = {0: fit_epoch(config, data.facts, split)}
    compile_s = {0: seconds(epochs[0])}
    for size in sizes:
        program = Program(blueprint, size)
        compile_s[size] = program.compile_s
        epochs[size] = Cohort(program, trials[:size]).train_epoch
        epochs[size]()
    taken: dict[int, list[float]] = {size: [] for size in epochs}
    for _ in range(repeats):
        for size, epoch in epochs.items():
            taken[size].append(1e3 * seconds(epoch) / max(1, size))
    fit, *members = (
        Timed("cohort" if size else "model.fit", max(1, size), taken[size], floor_ms, compile_s[size])
        for size in epochs
    )
    return fit, members


def fit_epoch(config: Any, facts: Any, split: Any) -> Callable[[], object]:
    """An epoch of the same net by `model.fit`, on rows as a notebook has them."""
    import keras

    from sweep.train.model import build_net

    model = build_net(config, facts)
    model.compile(keras.optimizers.Adam(config.learning_rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    x = split.x.astype(np.float32)
    return lambda: model.fit(x, split.y, batch_size=config.batch_size, verbose=0)


def n_weights(blueprint: Any) -> int:
    return sum(int(np.prod(v.shape)) for v in blueprint.model.trainable_variables)


def copy_rate() -> float:
    """Bytes per second that are read or written while a large array is copied on the device."""
    import jax

    array = jax.numpy.zeros(COPIED_BYTES // 4)
    copy = jax.jit(lambda a: a + 1)
    copy(array).block_until_ready()
    return 2 * COPIED_BYTES / min(seconds(lambda: copy(array).block_until_ready()) for _ in range(10))


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def show(title: str, fit: Timed, members: list[Timed]) -> None:
    headings = (
        "contender",
        "members",
        "ms a member's epoch",
        "range",
        "fit over it",
        "over memory traffic",
        "compile s",
    )
    table = Table(*headings, title=title, title_justify="left")
    for one in (fit, *members):
        table.add_row(
            one.name,
            str(one.n_members),
            f"{one.median_ms:.3g}",
            f"{min(one.epoch_ms):.3g}..{max(one.epoch_ms):.3g}",
            f"{fit.median_ms / one.median_ms:.1f}x",
            f"{one.median_ms / one.floor_ms:.1f}x",
            f"{one.compile_s:.1f}",
        )
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
