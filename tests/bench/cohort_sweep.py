"""`python -m tests.bench.cohort_sweep`: whole sweeps in cohorts, from command to report, everything tracked.

The default space with as many trials as asked: from an empty cache of programs without pruning, then from a filled one
without and with pruning; beside it the textbook recipe on the same device, extrapolated from a few trials. With `--notebook`
the notebook's nets instead, with as many replicates as asked, in each precision: means and standard deviations.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from sweep.conclusion import conclude
from sweep.layout import RunsDir
from sweep.runs import read_runs
from sweep.study import load_study
from sweep.study_text import to_toml
from tests.bench.configs import STUDY, config_set
from tests.bench.contender import prepare_rows
from tests.bench.measure import measure
from tests.bench.run import ENVIRONMENT, RESULTS, run

NOTEBOOK = STUDY.with_name("notebook.toml")
LOG = RESULTS / "logs" / "cohort-sweep.log"
PRECISIONS = ("float32", "tensorfloat32", "bfloat16")
ON_JAX = ENVIRONMENT | {"KERAS_BACKEND": "jax", "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "0")}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.cohort_sweep", description=__doc__)
    parser.add_argument("--trials", type=int, default=256)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--textbook-trials", type=int, default=5)
    parser.add_argument("--rows", type=int, help="train on so many rows only, to see that the bench itself works")
    parser.add_argument("--notebook", type=int, metavar="REPLICATES")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    given = parser.parse_args()
    LOG.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="bench-cohort-", dir=RESULTS))
    try:
        if given.notebook:
            replicate(folder, given.notebook, given.epochs, given.rows, given.precisions)
        else:
            search(folder, given.trials, given.epochs, given.rows, given.textbook_trials)
    finally:
        shutil.rmtree(folder)


def search(folder: Path, n_trials: int, epochs: int, rows: int | None, n_textbook: int) -> None:
    """Three sweeps of the default space, and the textbook recipe."""
    say = Console(width=120).print
    table = load_study(STUDY)[1]
    table["training"] = {"max_epochs": epochs}  # every trial in full, as the recipe's
    table["search"] |= {"trials": n_trials, "engine": "cohort"}
    without = {name: value for name, value in table["search"].items() if name != "pruner"}
    programs = folder / "programs"
    for title, section in (
        ("no pruning, cold", without),
        ("no pruning, warm", without),
        ("pruning, warm", table["search"]),
    ):
        taken = sweep(folder / title.replace(" ", "-"), {**table, "search": section}, rows, programs)
        say(f"{n_trials} trials of {epochs} epochs, {title}: {taken:.1f} s from command to report")
    prepare_rows()
    outcome = run("textbook", config_set("default", n_textbook), epochs, 1, ON_JAX)
    a_trial = 3600 / outcome.figures.trials_per_hour_started
    say(
        f"textbook on the same device: {a_trial:.1f} s a trial over {n_textbook}, {n_trials * a_trial:.0f} s for {n_trials}"
    )


def replicate(folder: Path, n_replicates: int, epochs: int, rows: int | None, precisions: Sequence[str]) -> None:
    """The notebook's protocol in each precision."""
    say = Console(width=120).print
    table = load_study(NOTEBOOK)[1]
    table["confirmation"] = {"replicates": n_replicates}
    table["search"] = {"engine": "cohort"}
    for precision in precisions:
        table["training"] = {"max_epochs": epochs, "precision": precision}
        taken = sweep(folder / precision, table, rows, folder / "programs")
        say(f"{precision}, {n_replicates} replicates of each net: {taken:.1f} s from command to report")
        for column in conclude(read_runs(RunsDir(folder / precision / "mlruns"), "notebook")).columns:
            test, train = column.summaries["test_accuracy"], column.summaries["running_accuracy"]
            say(f"  {column.finalist.name}: test {test.text}, train (running) {train.text}, n = {test.n}")


def sweep(folder: Path, table: dict[str, Any], rows: int | None, programs: Path) -> float:
    """Seconds of one sweep in an empty runs directory, which starts with the compiled programs of the last one."""
    folder.mkdir()
    runs = RunsDir(folder / "mlruns")
    if programs.exists():
        shutil.copytree(programs, runs.programs)
    if rows is not None:
        table = {**table, "data": {**table["data"], "train_rows": rows}}
    (folder / "study.toml").write_text(to_toml(table))
    command = [sys.executable, "-m", "sweep", "run", str(folder / "study.toml"), "--runs-dir", str(runs.root)]
    measured = measure(command, LOG, {**os.environ})
    assert measured.exit_code == 0, f"see the log: {LOG}"
    shutil.copytree(runs.programs, programs, dirs_exist_ok=True)
    return measured.wall_s


if __name__ == "__main__":
    main()
