"""Worker processes: dying, replaced, orphaned. What every executor does is in `test_contract.py`."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from multiprocessing.connection import wait
from pathlib import Path

import pytest

from sweep.data.files import read
from sweep.data.prepared import prepare
from sweep.errors import WorkersError
from sweep.execute.process import set_up_process
from sweep.execute.worker import WorkerOptions
from sweep.execute.workers import WorkerExecutor
from sweep.study.config import Config
from sweep.study.schema import Data
from sweep.study.training import Training
from sweep.trial import EpochReport, Phase, Trial, TrialResult, WorkerDied
from tests.execute.processes import is_running
from tests.faults.engine import PacedEngine
from tests.studies import write_tiny_data

ROOT = Path(__file__).parents[2]
CONFIG = Config(units=(8,), dropout=0.2, batch_size=32, learning_rate=0.01)


def trial(number):
    return Trial(number=number, phase=Phase.SEARCH, config=CONFIG, seed=number)


def start_engine(options):
    """Start an engine that trains nothing, without end: these tests are about processes."""
    return PacedEngine(max_epochs=10**9, epoch_s=0.01)


def start_quick_engine(options):
    return PacedEngine(max_epochs=1)


def start_broken_engine(options):
    raise FileNotFoundError("no data")


@pytest.fixture
def options(tmp_path):
    spec = Data(source=write_tiny_data(tmp_path).name, validation_rows=100)
    data = prepare(read(spec, tmp_path), spec, 1, tmp_path / "cache")
    return WorkerOptions(
        data=data,
        training=Training(max_epochs=2000),
        results=tmp_path / "results",
        logs=tmp_path / "logs",
        provenance={"git_commit": "none"},
        start_engine=start_engine,
    )


def wait_for(executor, kind, within_s=60):
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        event = executor.wait(1.0)
        if isinstance(event, kind):
            return event
    raise AssertionError(f"no {kind.__name__} within {within_s} s")


@pytest.mark.slow
def test_a_killed_worker_is_told_of_and_replaced_and_the_next_trial_runs(options):
    executor = WorkerExecutor(options, n_workers=1)
    try:
        executor.submit(trial(0))
        wait_for(executor, EpochReport)
        os.kill(executor.pids[0], signal.SIGKILL)
        died = wait_for(executor, WorkerDied)
        assert (died.key, died.reason) == (
            "trial-00000",
            "its worker was killed by signal 9, as the kernel does when memory runs out",
        )
        executor.submit(trial(1))
        assert wait_for(executor, EpochReport).key == "trial-00001"
    finally:
        executor.close()


@pytest.mark.slow
def test_a_worker_that_has_trained_its_share_is_replaced_and_no_trial_is_lost(options):
    quick = replace(options, start_engine=start_quick_engine)
    executor = WorkerExecutor(quick, n_workers=1, trials_per_worker=2)
    pids = []
    try:
        for number in range(5):
            executor.submit(trial(number))
            pids += executor.pids
            assert wait_for(executor, TrialResult).key == f"trial-{number:05d}"
    finally:
        executor.close()
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [2, 2, 1]


@pytest.mark.slow
def test_workers_that_cannot_start_are_a_named_error(options):
    broken = replace(options, start_engine=start_broken_engine)
    executor = WorkerExecutor(broken, n_workers=1)
    try:
        with pytest.raises(
            WorkersError, match=r"workers do not start \(its worker ended with exit code 1\); see .*worker-0\.log"
        ):
            wait_for(executor, TrialResult, within_s=120)
    finally:
        executor.close()
    assert "FileNotFoundError" in (options.logs / "worker-0.log").read_text()


@pytest.mark.parametrize("is_stopped", [False, True])
def test_no_worker_outlives_a_killed_coordinator(study_file, runs, is_stopped):
    command = [sys.executable, "-m", "sweep", "run", str(study_file), "--runs-dir", str(runs.root), "--workers", "1"]
    coordinator = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert "starting 1 worker" in coordinator.stderr.readline()
    children = _children(coordinator.pid)
    if is_stopped:  # it has no moment in which to see that it is alone
        _wait_until_set_up(runs)
        os.kill(children[0], signal.SIGSTOP)
    coordinator.kill()
    coordinator.wait()
    coordinator.stderr.close()  # unread: a worker that lives on would hold it open
    deadline = time.monotonic() + 30
    while any(map(is_running, children)) and time.monotonic() < deadline:
        time.sleep(0.1)
    left = list(filter(is_running, children))
    for child in left:
        os.kill(child, signal.SIGKILL)
    assert not left


@pytest.mark.slow
def test_a_worker_whose_coordinator_died_before_it_settled_in_writes_nothing(tmp_path):
    log = tmp_path / "logs" / "worker-0.log"
    coordinator = subprocess.Popen(
        [sys.executable, "-c", f"from {__name__} import start_late_worker; start_late_worker({str(log)!r})"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    with coordinator:
        assert coordinator.stdout.readline() == b"started\n"
        coordinator.kill()
        assert coordinator.stdout.read() == b""  # until the worker, which holds it open, has ended as well
    assert not log.parent.exists()


def start_late_worker(log):
    worker = multiprocessing.get_context("spawn").Process(target=set_up_late, args=(Path(log),))
    worker.start()
    print("started", flush=True)
    worker.join()


def set_up_late(log):
    wait([multiprocessing.parent_process().sentinel])
    set_up_process(log, core=None)
    print("set up", flush=True)


def _wait_until_set_up(runs):
    deadline = time.monotonic() + 30
    while not (runs.logs("tiny") / "worker-0.log").exists():
        assert time.monotonic() < deadline, "no worker has set itself up"
        time.sleep(0.05)


def _children(pid):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        workers = [int(child) for child in found if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text()]
        if workers:
            return workers
        time.sleep(0.05)
    raise AssertionError("no worker was started")
