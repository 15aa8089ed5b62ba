"""`python -m tests.bench.worker_memory`: what worker processes hold as trials go by, and where recycling them is due."""

import argparse
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from sweep.data.files import read
from sweep.data.prepared import prepare
from sweep.execute.worker import WorkerOptions
from sweep.execute.workers import TRIALS_PER_WORKER, WorkerExecutor
from sweep.study.config import Config
from sweep.study.schema import Data
from sweep.study.training import Training
from sweep.trial import Trial, TrialResult
from tests.bench.configs import default
from tests.bench.contender import SPLIT_SEED
from tests.bench.measure import pss_kb, rss_kb
from tests.bench.run import RESULTS

EPOCHS = 2
MB = 1024 / 1e6  # of a kB as Linux counts it

Sample = tuple[int, float, float]  # trials that ended, and of all workers the mean PSS and RSS, 10^6 bytes


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.worker_memory", description=__doc__)
    parser.add_argument("--trials", type=int, default=200, help="for each worker")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rows", type=int, default=6000, help="rows to train on, of 54,000: these are short trials")
    parser.add_argument(
        "--trials-per-worker", type=int, default=TRIALS_PER_WORKER, help="trials until a worker is recycled"
    )
    given = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    root = Path(tempfile.mkdtemp(prefix="worker-memory-", dir=RESULTS))
    try:
        workers, coordinator = measure(
            root, given.trials * given.workers, given.workers, given.rows, given.trials_per_worker
        )
    finally:
        shutil.rmtree(root)
    path = RESULTS / f"worker-memory-{datetime.now(UTC):%Y%m%dT%H%M%S}.json"
    path.write_text(json.dumps({"n_workers": given.workers, "workers": workers, "coordinator": coordinator}))
    show(workers, coordinator, given.workers, given.trials_per_worker)


def measure(
    root: Path, n_trials: int, n_workers: int, n_rows: int, trials_per_worker: int
) -> tuple[list[Sample], list[Sample]]:
    """Train `n_trials` unlike configs of the space of `study.toml`; what the workers and this process held after each."""
    spec = Data(validation_rows=1000, train_rows=n_rows, test_rows=100)
    data = prepare(read(spec, Path()), spec, SPLIT_SEED, root / "cache")
    options = WorkerOptions(
        data=data, training=Training(max_epochs=EPOCHS), results=root / "results", logs=root / "logs", provenance={}
    )
    executor = WorkerExecutor(options, n_workers, trials_per_worker)
    left = [_trial(number, config) for number, config in enumerate(default(n_trials))]
    workers, coordinator = [], []
    try:
        while left or executor.n_running:
            if left and executor.takes(left[0]):
                executor.submit(left.pop(0))
            elif isinstance(result := executor.wait(1.0), TrialResult):
                shutil.rmtree(options.results / result.key)
                n_done = len(workers) + 1
                workers.append((n_done, _mean_mb(pss_kb, executor.pids), _mean_mb(rss_kb, executor.pids)))
                coordinator.append((n_done, _mean_mb(pss_kb, [os.getpid()]), _mean_mb(rss_kb, [os.getpid()])))
    finally:
        executor.close()
    return workers, coordinator


def _trial(number: int, config: Config) -> Trial:
    return Trial(number=number, phase="search", config=config, seed=number)


def _mean_mb(of: Callable[[int], int], pids: list[int]) -> float:
    return MB * sum(map(of, pids)) / len(pids)


def show(workers: list[Sample], coordinator: list[Sample], n_workers: int, trials_per_worker: int) -> None:
    """Memory at a few points, and the slope over trials of one worker from its tenth on."""
    n = len(workers)
    points = [min(n, max(1, p)) - 1 for p in (10 * n_workers, n // 4, n // 2, 3 * n // 4, n)]
    title = (
        f"{n} trials, {n_workers} workers, recycled after {trials_per_worker} trials; MB as PSS (RSS), mean of workers"
    )
    table = Table(
        "",
        *(f"after {workers[p][0] / n_workers:.0f} each" for p in points),
        "slope, MB a trial",
        title=title,
        title_justify="left",
    )
    for name, samples, share in (("worker", workers, n_workers), ("driver", coordinator, 1)):
        tail = np.array(samples[points[0] :])
        slope = np.polyfit(tail[:, 0] / share, tail[:, 1], 1)[0] if len(tail) > 2 else float("nan")
        table.add_row(name, *(f"{samples[p][1]:.0f} ({samples[p][2]:.0f})" for p in points), f"{slope:+.2f}")
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
