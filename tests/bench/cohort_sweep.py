"""`python -m tests.bench.cohort_sweep`: whole sweeps in cohorts, from command to report, everything tracked.

The space of `study.toml` with as many trials as asked, in exact float32: from an empty cache of programs without pruning, then from a
filled one without and with pruning; beside it the textbook recipe on the same device, in JAX's default precision (on a GPU that
is TensorFloat-32), extrapolated from a few trials. With `--notebook` the notebook's nets instead, with as many replicates as
asked, in each precision: means, standard deviations, and whether a net's test accuracy differs from that in the first precision.
"""

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from sweep.layout import RunsDir
from sweep.report.compare import compare, word_verdict
from sweep.report.conclusion import conclude, stack_scores
from sweep.study.file import load_study
from sweep.study.toml_text import to_toml
from sweep.track.runs import read_study
from tests.bench.configs import STUDY, config_set
from tests.bench.contender import prepare_rows
from tests.bench.measure import measure
from tests.bench.run import ENVIRONMENT, RESULTS, run

NOTEBOOK = Path(__file__).parents[2] / "studies" / "notebook.toml"
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
    nets = [net.name for net in load_study(NOTEBOOK)[0].baselines]
    parser.add_argument("--nets", nargs="+", choices=nets, default=nets)
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    given = parser.parse_args()
    LOG.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="bench-cohort-", dir=RESULTS))
    try:
        if given.notebook:
            replicate(folder, given)
        else:
            search(folder, given.trials, given.epochs, given.rows, given.textbook_trials)
    finally:
        shutil.rmtree(folder)


def search(folder: Path, n_trials: int, epochs: int, rows: int | None, n_textbook: int) -> None:
    """Three sweeps of the space of `study.toml`, and the textbook recipe."""
    say = Console(width=120).print
    table = load_study(STUDY)[1]
    table["training"] = {"max_epochs": epochs}  # every trial in full, as the recipe's
    table["search"] |= {"trials": n_trials, "engine": "cohort"}
    without = {name: value for name, value in table["search"].items() if name != "pruner"}
    programs = folder / "programs"
    for title, section in (
        ("no pruning, cold", without),
        ("no pruning, warm", without),
        ("pruning, its smaller programs cold", table["search"]),
        ("pruning, warm", table["search"]),
    ):
        root = folder / title.replace(" ", "-")
        taken = sweep(root, {**table, "search": section}, rows, programs)
        device = read_study(RunsDir(root / "mlruns"), table["name"]).trials[0].provenance["device"]
        say(f"{n_trials} trials of {epochs} epochs, {title}: {taken:.1f} s from command to report, on {device}")
    prepare_rows()
    outcome = run("textbook", config_set("default", n_textbook), epochs, 1, ON_JAX)
    a_trial = 3600 / outcome.figures.trials_per_hour_started
    say(
        f"textbook on the same device: {a_trial:.1f} s a trial over {n_textbook}, {n_trials * a_trial:.0f} s for {n_trials}"
    )


def replicate(folder: Path, given: argparse.Namespace) -> None:
    """The notebook's protocol in each precision."""
    say = Console(width=120).print
    table = load_study(NOTEBOOK)[1]
    table["confirmation"] = {"replicates": given.notebook}
    table["search"] = {"engine": "cohort"}
    table["baselines"] = [net for net in table["baselines"] if net["name"] in given.nets]
    first: dict[str, NDArray[np.bool_]] = {}  # by net: which test rows each replicate in the first precision got right
    for precision in given.precisions:
        table["training"] = {"max_epochs": given.epochs, "precision": precision}
        taken = sweep(folder / precision, table, given.rows, folder / "programs")
        say(f"{precision}, {given.notebook} replicates of each net: {taken:.1f} s from command to report")
        runs = read_study(RunsDir(folder / precision / "mlruns"), table["name"])
        for column in conclude(runs).columns:
            test, train = column.summaries["test_accuracy"], column.summaries["running_accuracy"]
            say(f"  {column.finalist.name}: test {test.text}, train (running) {train.text}, n = {test.n}")
            correct = stack_scores(runs, column)
            if precision == given.precisions[0]:
                first[column.finalist.name] = correct
            else:
                effect = compare(correct, first[column.finalist.name])
                say(f"    {effect.difference:+.5f}: {word_verdict(effect, effect.p, correct.shape[1])}")


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
