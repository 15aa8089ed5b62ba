"""A real sweep in cohorts through the command line, killed on the way."""

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from sweep.layout import RunsDir
from sweep.track.runs import read_study
from tests.studies import write_tiny_data

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
STUDY = """
name = "cohorts"
seed = 3

[data]
source = "tiny.npz"
validation_rows = 100

[space]
hidden_layers = 1
units = {int = [4, 16]}
dropout = {float = [0.1, 0.5]}
batch_size = 64

[training]
max_epochs = 4
early_stopping = {monitor = "val_accuracy", patience = 2}

[search]
trials = 6
engine = "cohort"
pruner = {kind = "halving", rungs = [1], reduction_factor = 2}

[confirmation]
replicates = 2

[[baselines]]
name = "by hand"
units = [16]
dropout = 0.5
batch_size = 64
"""


def command(verb, folder):
    return [sys.executable, "-m", "sweep", verb, str(folder / "cohorts.toml"), "--runs-dir", str(folder / "mlruns")]


def members_of(group):
    """Return the processes of a process group that are not zombies."""
    found = subprocess.run(["ps", "-eo", "pid=,pgid=,stat="], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in found.splitlines()]
    return [int(pid) for pid, pgid, state in rows if int(pgid) == group and not state.startswith("Z")]


@pytest.fixture(scope="module")
def killed_and_continued(tmp_path_factory):
    """Kill a sweep's coordinator once its first trials have ended, then run the command again; return folder and command."""
    folder = tmp_path_factory.mktemp("cohorts")
    write_tiny_data(folder)
    (folder / "cohorts.toml").write_text(STUDY)
    environment = {**os.environ, "XLA_FLAGS": "--xla_backend_optimization_level=0"}
    first = subprocess.Popen(command("run", folder), cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    said = iter(first.stderr.readline, "")
    assert any(re.search(r" trial \d+ · ", line) for line in said)
    children = Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text().split()
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    deadline = time.monotonic() + 30
    while (left := [pid for child in children for pid in members_of(int(child))]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left, "processes outlive their coordinator"
    second = subprocess.run(command("run", folder), cwd=ROOT, env=environment, capture_output=True, text=True)
    return folder, second


def test_the_same_command_finishes_it_with_every_trial_once(killed_and_continued):
    folder, second = killed_and_continued
    assert second.returncode == 0, second.stderr
    assert "Traceback" not in second.stderr
    tracked = read_study(RunsDir(folder / "mlruns"), "cohorts")
    assert Counter(one.trial.phase for one in tracked.trials) == {"search": 6, "baseline": 1, "confirm": 4}
    assert {one.engine for one in tracked.trials} == {"cohort"}
    assert {one.state for one in tracked.trials} == {"complete", "pruned"}
    assert all(one.metrics["test_accuracy"] > 0.4 for one in tracked.replicates)
    doctor = subprocess.run(command("doctor", folder), cwd=ROOT, capture_output=True, text=True)
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr


@pytest.mark.parametrize("state", ["complete", "pruned"])
def test_a_run_of_a_cohort_replays_in_a_cohort(killed_and_continued, state):
    folder, _ = killed_and_continued
    tracked = read_study(RunsDir(folder / "mlruns"), "cohorts")
    run_id = next(one.run_id for one in tracked.trials if one.state == state)
    arguments = ["replay", run_id, "--runs-dir", str(folder / "mlruns"), "--data-dir", str(folder)]
    done = subprocess.run([sys.executable, "-m", "sweep", *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search("bit-equal|within tolerance", done.stdout)
