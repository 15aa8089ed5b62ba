"""`python -m tests.bench.report_cost`: how long a large study takes to report.

The default study with 1,000 searched trials, on the fake executor and both real databases, its finalists scored on 10,000 test
rows of noise, 2 % of them wrong. Measured are the parts of a report in this process, and the whole command.
"""

import argparse
import cProfile
import pstats
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from rich.console import Console
from rich.table import Table

from sweep.coordinator import run_study
from sweep.layout import RunsDir
from sweep.record import results
from sweep.record.predictions import Predictions
from sweep.report.conclusion import conclude
from sweep.report.files import publish
from sweep.report.upload import upload
from sweep.study.config import derive_seed
from sweep.track.runs import read_study
from sweep.trial import Logs
from tests import studies
from tests.bench.configs import STUDY
from tests.bench.loop_cost import EPOCHS, FACTS
from tests.bench.run import RESULTS

ERROR_RATE = 0.02
T = TypeVar("T")


def build(runs: RunsDir, n_trials: int) -> None:
    """Run the study; nothing where it was run before."""
    table: dict[str, Any] = tomllib.loads(STUDY.read_text())
    table["search"] |= {"trials": n_trials, "sampler": "random"}
    table["training"] |= {"max_epochs": EPOCHS}
    job = studies.job(runs, table, FACTS)
    run_study(job, replace(studies.fake_runtime(job.study, files=studies.FILES), score=score))


def score(models: dict[str, Path]) -> dict[str, tuple[Logs, bytes]]:
    return {key: _score(key, results.load(path.parent).metrics) for key, path in models.items()}


def _score(key: str, metrics: Logs) -> tuple[Logs, bytes]:
    rng = np.random.default_rng(derive_seed(key))
    labels = np.arange(FACTS.n_test, dtype=np.int32) % FACTS.n_classes
    said = np.where(rng.random(FACTS.n_test) < ERROR_RATE, rng.integers(0, FACTS.n_classes, FACTS.n_test), labels)
    certainty = 0.2 + 0.8 * rng.random((FACTS.n_test, 1))
    rows = rng.integers(0, 256, (FACTS.n_test, FACTS.n_features)).astype(np.uint8)
    predictions = Predictions.of(np.eye(FACTS.n_classes)[said] * certainty, labels, rows)
    accuracy = float(predictions.correct.mean())
    return {"test_accuracy": accuracy, "test_loss": 1.05 - accuracy}, predictions.pack()


def timed(took: dict[str, float], part: str, function: Callable[[], T]) -> T:
    start = time.perf_counter()
    value = function()
    took[part] = time.perf_counter() - start
    return value


def report(runs: RunsDir) -> dict[str, float]:
    """Report the study, in this process; seconds by part."""
    took: dict[str, float] = {}
    found = timed(took, "read runs", lambda: read_study(runs, "mnist"))
    conclusion = timed(took, "conclude", lambda: conclude(found))
    timed(took, "publish", lambda: publish(conclusion))
    timed(took, "announce", lambda: upload(conclusion))
    return took


def whole_command(runs: RunsDir) -> None:
    command = [sys.executable, "-m", "sweep", "report", str(STUDY), "--runs-dir", str(runs.root)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.report_cost", description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--runs-dir", type=Path, default=RESULTS / "report-cost", help="kept, and used again")
    parser.add_argument("--profile", action="store_true", help="profile it, which slows it, and print the top of it")
    given = parser.parse_args()
    runs, profile = RunsDir(given.runs_dir), cProfile.Profile()
    build(runs, given.trials)
    took = profile.runcall(report, runs) if given.profile else report(runs)
    timed(took, "the whole command, start-up included", lambda: whole_command(runs))
    table = Table("part", "s", title=f"the report of {given.trials:,} trials", title_justify="left")
    for part, seconds in took.items():
        table.add_row(part, f"{seconds:.2f}")
    Console(width=100).print(table)
    if given.profile:
        stats = pstats.Stats(profile)
        stats.sort_stats("cumulative").print_stats(40)
        stats.sort_stats("tottime").print_stats(15)


if __name__ == "__main__":
    main()
