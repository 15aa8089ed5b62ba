"""Contender `ours`: the configs as baselines of a study without a search, run by `python -m sweep run`."""

import json
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

from sweep.layout import RunsDir
from sweep.record import results
from sweep.trial import TrialResult
from tests.bench.configs import STUDY as DEFAULT_STUDY
from tests.bench.configs import ConfigTable
from tests.bench.contender import DATA, DATA_CACHE, SPLIT_SEED, Stamps, Task, read_task, write_outcome

STUDY = "bench"
AFTER_SEARCH = "\n[confirmation]\n"  # what follows in `study.toml`, no other contender has


def main() -> None:
    task = read_task()
    runs = task.folder / "mlruns"
    study = task.folder / "bench.toml"
    study.write_text(study_text(task))
    subprocess.run([sys.executable, "-m", "sweep", "run", str(study), "--runs-dir", str(runs)], check=True)
    ended = [_result(runs, number) for number in range(task.n_search or len(task.configs))]
    _check(runs, task, sum(len(result.history) for result in ended))
    write_outcome(task, _stamps(ended, task.n_workers), task.n_workers)


def study_text(task: Task) -> str:
    """The study file of a task: every config a baseline, no early stopping, no pruning; or the search of `study.toml`."""
    if task.n_search:
        text, found, _ = DEFAULT_STUDY.read_text().partition(AFTER_SEARCH)
        assert found
        return re.sub("^trials = .*", f"trials = {task.n_search}", text, flags=re.M).replace('"mnist"', f'"{STUDY}"', 1)
    head = (
        f'name = "{STUDY}"\nseed = {SPLIT_SEED}\n'
        f"[data]\nvalidation_rows = {DATA.validation_rows}\n"
        f"[training]\nmax_epochs = {task.epochs}\n"
        f"[search]\ntrials = 0\nworkers = {task.n_workers}\n"
    )
    return head + "".join(_baseline(number, config) for number, config in enumerate(task.configs))


def _baseline(number: int, config: ConfigTable) -> str:
    lines = [f'name = "config {number}"', *(f"{name} = {json.dumps(value)}" for name, value in config.items())]
    return "\n".join(["[[baselines]]", *lines, ""])


def _result(runs: Path, number: int) -> TrialResult:
    """Baselines are claimed in the order of the file, so that a config's index is its trial's number."""
    result = results.load(RunsDir(runs).results(STUDY) / f"trial-{number:05d}")
    if result.state == "failed":
        raise SystemExit(f"config {number} failed: {result.reason}")
    return result


def _check(runs: Path, task: Task, n_epochs: int) -> None:
    """That the rows were the contenders' rows, and that every trial is in MLflow, whole."""
    if [path.name for path in (runs / "cache").iterdir()] != [path.name for path in DATA_CACHE.iterdir()]:
        raise SystemExit("ours was trained on another split than the contenders")
    with sqlite3.connect(runs / "mlflow.db") as db:
        (n_runs,) = db.execute("select count(*) from runs where status <> 'RUNNING'").fetchone()
        (n_points,) = db.execute("select count(*) from metrics where key = 'epoch/val_accuracy'").fetchone()
    n_trials = task.n_search or len(task.configs)
    if (n_runs, n_points) != (n_trials + 1, n_epochs):  # 1: the study's own run
        raise SystemExit(f"MLflow holds {n_runs} ended runs and {n_points} epochs of them")


def _stamps(ended: list[TrialResult], n_workers: int) -> list[Stamps]:
    """A worker is not recorded: each trial goes to the one that was free last before it began."""
    free_since = [0.0] * n_workers
    stamps = []
    for number, result in sorted(enumerate(ended), key=lambda pair: pair[1].started_at):
        worker = max(range(n_workers), key=lambda w: (free_since[w] <= result.started_at, free_since[w]))
        free_since[worker] = result.ended_at
        began_at = result.started_at
        stamps.append(
            Stamps(
                config=number,
                worker=worker,
                began_at=began_at,
                train_began_at=began_at,  # building and tracing count as training here
                epoch_ended_at=result.epoch_ended_at,
                train_ended_at=began_at + result.train_seconds,
                ended_at=result.ended_at,
                val_accuracy=[logs["val_accuracy"] for logs in result.history],
            )
        )
    return stamps


if __name__ == "__main__":
    main()
