"""`python -m tests.bench.search_quality --curves FILE`: epochs that a search spends until its pick is as good as wanted.

FILE is a table of learning curves of configs that were all trained to the end. The real loop, sources, samplers and record
run on it with a virtual clock (`sweep/execute/tabular.py`). The epochs of a trial count when it has ended, one trial after
another where several end at once. The pick then is the config that the study would confirm. What it is worth is known from
the table:

A. its validation accuracy at the last epoch;
B. its test accuracy, the mean of the last five epochs, which no search sees.

The targets are what a random search reaches that trains 100 configs to the end, whose mean over many draws is computed.
A search has reached a target at the epoch at which the mean of its picks over all repeats has.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from sweep.data.facts import DataFacts
from sweep.execute.tabular import TabularExecutor, VirtualClock
from sweep.layout import RunsDir
from sweep.loop import run_trials
from sweep.record.trials import Record
from sweep.search.sources import SearchSource
from sweep.study.file import parse_study
from sweep.study.schema import Study
from sweep.trial import Phase, State, Trial, TrialResult
from tests.bench.curve_table import TEST_ACCURACY, VAL_ACCURACY, CurveTable, Floats

RANDOM_CONFIGS = 100  # of the random search whose quality is the target
N_LAST = 5  # epochs of B
N_DRAWS = 4000
BOOTSTRAPS = 200  # for the errors
FACTS = DataFacts("table", "0" * 64, 1, 1, 1, 1, ("0", "1"), "pixels", (1,))


@dataclass(frozen=True)
class Method:
    """A way to search, with the epochs that it is given."""

    name: str
    horizon: int
    search: dict[str, Any]
    n_slots: int = 1
    patience: int | None = None
    is_cohort: bool = False


HALVING = {"kind": "halving", "rungs": [2, 6], "reduction_factor": 3}
ASHA = {"kind": "halving", "rungs": [1, 4], "reduction_factor": 4}
METHODS = (
    Method("freeze_thaw", 400, {"sampler": "freeze_thaw"}),
    Method("freeze_thaw, 2 at a time", 400, {"sampler": "freeze_thaw"}, 2),
    Method("freeze_thaw, cohorts of 16", 500, {"sampler": "freeze_thaw"}, 16, is_cohort=True),
    Method("tpe, halving, patience 4", 800, {"sampler": "tpe", "pruner": HALVING}, patience=4),
    Method("random, halving (ASHA)", 800, {"sampler": "random", "pruner": ASHA}),
    Method("random", 2200, {"sampler": "random"}),
)


@dataclass(frozen=True)
class Reached:
    """What the picks of one search are worth: after so many epochs, A and B."""

    epochs: tuple[int, ...]
    worth: Floats  # (picks, 2)

    def at_each(self, horizon: int, nothing: Floats) -> Floats:
        """Return the worth of the pick after each of 1 to `horizon` epochs, (horizon, 2); before the first, `nothing`."""
        i = np.searchsorted(self.epochs, np.arange(1, horizon + 1), side="right")
        return np.vstack([nothing[None], self.worth])[i]


def measure_worth(table: CurveTable) -> Floats:
    """Return A and B of every config, (n, 2)."""
    return np.column_stack([table.curves[:, -1, VAL_ACCURACY], table.curves[:, -N_LAST:, TEST_ACCURACY].mean(axis=1)])


def compute_targets(table: CurveTable, worth: Floats) -> Floats:
    """Return the mean A and B of the pick of a random search, (2,)."""
    rng = np.random.default_rng(0)
    ranked_by = table.curves[:, -N_LAST:, VAL_ACCURACY].mean(axis=1)
    drawn = np.argsort(rng.random((N_DRAWS, len(worth))), axis=1)[:, :RANDOM_CONFIGS]
    picks = np.take_along_axis(drawn, ranked_by[drawn].argmax(axis=1)[:, None], axis=1)[:, 0]
    return np.array(worth[picks].mean(axis=0))


def make_study(method: Method, table: CurveTable, seed: int) -> Study:
    training: dict[str, Any] = {"max_epochs": table.n_epochs}
    if method.patience:
        training["early_stopping"] = {"monitor": "val_accuracy", "patience": method.patience}
    study = parse_study(
        {
            "name": "table",
            "seed": seed,
            "data": {"validation_rows": 1},
            "space": {"hidden_layers": 1, "units": 1},
            "training": training,
            "search": {"epochs": method.horizon, **method.search},
        },
        "table.toml",
    )
    return study.model_copy(update={"space": table.space()})


def search(method: Method, table: CurveTable, seed: int) -> Reached:
    """Run one search from its first epoch to its last."""
    study, number = make_study(method, table, seed), {config: i for i, config in enumerate(table.configs)}
    worth, clock = measure_worth(table), VirtualClock()
    picks, n_epochs, best = dict[int, Floats](), 0, -np.inf

    def track(trial: Trial, result: TrialResult) -> None:
        nonlocal best, n_epochs
        n_epochs += len(result.history)
        value = record.trials[trial.key].value
        if result.state == State.COMPLETE and value is not None and value > best:
            best, picks[n_epochs] = value, worth[number[trial.config]]

    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        runs = RunsDir(Path(folder))
        record = Record.open(runs.optuna_db, study, Phase.SEARCH, FACTS)
        source = SearchSource(study, record, runs.results("table"), clock)
        curve = lambda config, seed, epoch: table.logs(number[config], epoch)  # noqa: E731
        start = partial(
            TabularExecutor,
            runs.results("table"),
            study.training,
            curve,
            n_slots=method.n_slots,
            clock=clock,
            is_cohort=method.is_cohort,
        )
        run_trials(source, start, track, watch=lambda trial, event: None)
    return Reached(tuple(picks), np.array(list(picks.values())))


def cross(curves: Floats, target: float) -> float:
    """Return the first epoch at which the mean over repeats, of (repeats, epochs), reaches a target; infinity if none."""
    is_there = curves.mean(axis=0) >= target
    return float(is_there.argmax() + 1) if is_there.any() else float("inf")


def cross_with_error(curves: Floats, target: float) -> tuple[float, float]:
    """Return what `cross` does, with its standard error over resampled repeats."""
    rng = np.random.default_rng(0)
    again = [cross(curves[rng.integers(len(curves), size=len(curves))], target) for _ in range(BOOTSTRAPS)]
    return cross(curves, target), float(np.std(again)) if np.isfinite(again).all() else float("nan")


def main() -> None:
    arguments = _parse()
    console, table = Console(), CurveTable.read(arguments.curves)
    worth = measure_worth(table)
    targets, nothing = compute_targets(table, worth), worth.mean(axis=0)
    console.print(
        f"{len(table.configs)} configs of {table.n_epochs} epochs; targets A {targets[0]:.5f}, B {targets[1]:.5f}"
    )
    shown = Table("search", "epochs to A", "epochs to B", "B after 200 epochs", "seconds each")
    with ProcessPoolExecutor(arguments.jobs) as pool:
        for method in METHODS:
            started = time.perf_counter()
            reached = list(
                _follow(pool.map(partial(search, method, table), range(arguments.repeats)), method, arguments)
            )
            took = (time.perf_counter() - started) * arguments.jobs / arguments.repeats
            curves = np.array([one.at_each(method.horizon, nothing) for one in reached])
            shown.add_row(method.name, *_cells(curves, targets, method.horizon), f"{took:.1f}")
    console.print(shown)


def _cells(curves: Floats, targets: Floats, horizon: int) -> list[str]:
    """curves: (repeats, epochs, 2)."""
    cells = []
    for which, target in enumerate(targets):
        epochs, error = cross_with_error(curves[:, :, which], target)
        cells.append(f"{epochs:.0f} ± {error:.0f}" if np.isfinite(epochs) else f"more than {horizon}")
    at_200 = curves[:, 199, 1]
    return [*cells, f"{at_200.mean():.5f} ± {at_200.std() / len(at_200) ** 0.5:.5f}"]


def _follow(results: Any, method: Method, arguments: argparse.Namespace) -> Any:
    for i, result in enumerate(results, start=1):
        print(f"\r{method.name}: {i} of {arguments.repeats}", end="", file=arguments.progress, flush=True)
        yield result
    print(file=arguments.progress)


def _parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    import sys

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curves", type=Path, required=True, help="an .npz with `configs` and `curves`")
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    parser.set_defaults(progress=sys.stderr)
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
