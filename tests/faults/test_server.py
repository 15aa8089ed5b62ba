"""An MLflow server that dies and comes back under a sweep, is away throughout, falls silent, or loses its answers."""

import os
import random
import re
import signal
import threading
import time
from dataclasses import replace

import pytest

from sweep.track.runs import read_study
from tests.faults.checker import N_TRIALS
from tests.faults.driver import Sweep
from tests.faults.engine import EPOCH_S
from tests.faults.loopback import losing_answers, serving, silent
from tests.faults.test_failpoints import ON_A_SERVER
from tests.servers import mlflow_server
from tests.studies import has_each_key_once

pytestmark = pytest.mark.faults

N_KILLS, KILLS_A_SWEEP = 20, 5
N_LOSSES, LOSSES_A_SWEEP = 20, 5
PACE = {EPOCH_S: "0.5"}
UNTRACKED = 3  # exit code


@pytest.fixture
def sweep(tmp_path, migrated):
    return Sweep.new(tmp_path / "sweep", migrated)


@pytest.fixture
def kept(new_runs):
    """What the server keeps."""
    return new_runs()


def check_is_tracked(sweep, address):
    """Every trial has one run on the server, whole."""
    assert sweep.run("doctor", MLFLOW_TRACKING_URI=address) == 0, sweep.printed
    found = read_study(replace(sweep.runs, mlflow_server=address), "tiny")
    assert len(found.searched) == N_TRIALS
    assert has_each_key_once(found)
    assert found.half_written == ()


@pytest.mark.parametrize("number", range(N_KILLS // KILLS_A_SWEEP))
def test_a_server_that_is_killed_and_started_again_gets_every_run_once(sweep, kept, unused_port, number):
    rng = random.Random(number)
    address = f"http://127.0.0.1:{unused_port}"
    process = sweep.start(MLFLOW_TRACKING_URI=address, **PACE)
    for _ in range(KILLS_A_SWEEP):
        with mlflow_server(kept, unused_port):
            time.sleep(rng.uniform(0.5, 4.0))
        time.sleep(rng.uniform(0.0, 2.0))
    exit_code = sweep.finish(process)
    assert exit_code in (0, UNTRACKED), sweep.said
    with mlflow_server(kept, unused_port):
        assert sweep.run("sync", MLFLOW_TRACKING_URI=address) == 0, sweep.said
        check_is_tracked(sweep, address)


@pytest.mark.parametrize("hit", [1, 3])
@pytest.mark.parametrize("point", ON_A_SERVER)
def test_a_kill_while_a_run_is_created_on_a_server_costs_nothing(sweep, kept, unused_port, point, hit):
    with mlflow_server(kept, unused_port) as address:
        assert sweep.act_at(point, hit, MLFLOW_TRACKING_URI=address) == -signal.SIGKILL, sweep.said
        assert sweep.run(MLFLOW_TRACKING_URI=address) == 0, sweep.said
        check_is_tracked(sweep, address)


@pytest.mark.parametrize("number", range(N_LOSSES // LOSSES_A_SWEEP))
def test_a_call_whose_answer_is_lost_is_not_made_twice(sweep, kept, unused_port, number):
    rng = random.Random(number)
    left = LOSSES_A_SWEEP

    def is_lost(created):
        nonlocal left
        is_chosen = left > 0 and rng.random() < 0.5
        left -= is_chosen
        return is_chosen

    with mlflow_server(kept, unused_port) as there, serving(losing_answers(unused_port, is_lost)) as address:
        exit_code = sweep.run(MLFLOW_TRACKING_URI=address)
        while exit_code == UNTRACKED:
            exit_code = sweep.run("sync", MLFLOW_TRACKING_URI=address)
        assert (exit_code, left) == (0, 0), sweep.said
        check_is_tracked(sweep, there)


def test_a_server_that_is_away_throughout_is_brought_up_to_date(sweep, kept, unused_port):
    address = f"http://127.0.0.1:{unused_port}"
    assert sweep.run(MLFLOW_TRACKING_URI=address) == UNTRACKED, sweep.said
    assert sweep.said.count("MLflow cannot be written") == 1
    assert re.match(r"error: \d+ runs are not tracked yet", sweep.said.splitlines()[-1])
    with mlflow_server(kept, unused_port):
        assert sweep.run("sync", MLFLOW_TRACKING_URI=address) == 0, sweep.said
        check_is_tracked(sweep, address)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_server_that_falls_silent_keeps_no_signal_waiting(sweep, sent):
    over = threading.Event()
    with serving(silent(over)) as address:
        process = sweep.start(MLFLOW_TRACKING_URI=address)
        while "scoring" not in sweep.said:  # then it has nothing more to do than to track
            time.sleep(0.05)
        sent_at = time.monotonic()
        os.kill(process.pid, sent)
        assert sweep.finish(process) == 128 + sent, sweep.said
        assert time.monotonic() - sent_at < 10
        over.set()
    assert sweep.run() == 0, sweep.said
    assert sweep.run("doctor") == 0, sweep.printed
