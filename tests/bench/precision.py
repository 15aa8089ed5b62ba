"""`python -m tests.bench.precision`: epochs in float32 and in bfloat16 on this processor, and what bfloat16 does to accuracy.

One core, one thread, as a worker has it; the two precisions alternate. Rows, split and batch size are those of
`studies/notebook.toml`.
"""

import argparse
import multiprocessing
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import stats

from tests.bench.run import ENVIRONMENT, RESULTS

STUDY = Path(__file__).parents[2] / "studies" / "notebook.toml"
NETS = ((400, 100), (1024, 1024))
PRECISIONS = ("float32", "bfloat16")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.precision", description=__doc__)
    parser.add_argument("--repeats", type=int, default=3, help="epochs of each net in each precision")
    parser.add_argument("--replicates", type=int, default=0, help="trainings of 400-100 in each, for accuracy")
    parser.add_argument("--epochs", type=int, default=20, help="of each of these trainings")
    given = parser.parse_args()
    os.environ |= ENVIRONMENT | dict.fromkeys(
        ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), "1"
    )
    console, context = Console(width=110), multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:  # alone on the machine
        timed = pool.starmap(time_epochs, [(net, given.repeats) for net in NETS])
    console.print(tabulate(timed))
    if given.replicates:
        tasks = [(precision, seed, given.epochs) for seed in range(given.replicates) for precision in PRECISIONS]
        with context.Pool(len(os.sched_getaffinity(0))) as pool:
            reached = np.array(pool.starmap(train, tasks, chunksize=1)).reshape(-1, 2)
        console.print(describe(reached))


def tabulate(timed: list[dict[str, list[float]]]) -> Table:
    table = Table("net", *(f"{precision}, s an epoch" for precision in PRECISIONS), "times as fast")
    for net, seconds in zip(NETS, timed, strict=True):
        best = [min(seconds[precision]) for precision in PRECISIONS]
        table.add_row("-".join(map(str, net)), *(f"{s:.2f}" for s in best), f"{best[0] / best[1]:.2f}")
    return table


def describe(reached: Any) -> str:
    """Say whether the precisions differ. reached: test accuracies, shape (seeds, precisions)."""
    test = stats.ttest_ind(*reached.T, equal_var=False)  # Welch's
    columns = zip(PRECISIONS, reached.T, strict=True)
    each = (f"{precision} {x.mean():.4f} ± {x.std(ddof=1):.4f}" for precision, x in columns)
    return f"test accuracy of {len(reached)} seeds: {', '.join(each)}; p = {test.pvalue:.3f}"


def time_epochs(units: tuple[int, ...], repeats: int) -> dict[str, list[float]]:
    """Time epochs of one net in each precision, seconds; the first of each is not counted."""
    config, facts, parts = prepare_rows()
    trainers = {
        precision: make_trainer(replace(config, units=units), facts, parts["train"], 1, repeats + 1, precision)
        for precision in PRECISIONS
    }
    seconds: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
    for repeat in range(repeats + 1):
        for precision, trainer in trainers.items():
            began = time.perf_counter()
            trainer.train_epoch()
            if repeat:
                seconds[precision].append(time.perf_counter() - began)
    return seconds


def train(precision: str, seed: int, epochs: int) -> float:
    """Train one net to the end; return its test accuracy."""
    config, facts, parts = prepare_rows()
    trainer = make_trainer(replace(config, units=NETS[0]), facts, parts["train"], seed, epochs, precision)
    for _ in range(epochs):
        trainer.train_epoch()
    accuracy: float = trainer.evaluate(parts["test"])["accuracy"]
    return accuracy


def make_trainer(config: Any, facts: Any, rows: Any, seed: int, epochs: int, precision: Any) -> Any:
    from sweep.train.graph.trainer import GraphTrainer

    return GraphTrainer(config, facts, rows, seed, epochs, precision)


def prepare_rows() -> tuple[Any, Any, dict[str, Any]]:
    """Return the study's first baseline, the facts of its data, and its rows."""
    from sweep.data.files import read
    from sweep.data.prepared import open_test_split, open_training_split, prepare
    from sweep.study.file import load_study
    from sweep.train.graph.trainer import Rows

    study = load_study(STUDY)[0]
    data = prepare(read(study.data, STUDY.parent), study.data, study.seed, RESULTS / "notebook-data")
    splits = {"train": open_training_split(data, "train"), "test": open_test_split(data)}
    return study.baselines[0].config, data.facts, {name: Rows.of(split) for name, split in splits.items()}


if __name__ == "__main__":
    main()
