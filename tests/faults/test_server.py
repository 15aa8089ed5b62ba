"""An MLflow server that dies and comes back under a sweep."""

import random
import shutil
import time
from dataclasses import replace

import pytest

from sweep.layout import RunsDir
from sweep.runs import read_runs
from tests.faults.checker import N_TRIALS
from tests.faults.driver import Sweep
from tests.faults.engine import EPOCH_S
from tests.support import mlflow_server

pytestmark = pytest.mark.faults

N_KILLS, KILLS_A_SWEEP = 20, 5
PACE = {EPOCH_S: "0.5"}


@pytest.mark.parametrize("number", range(N_KILLS // KILLS_A_SWEEP))
def test_a_server_that_is_killed_and_started_again_gets_every_run_once(tmp_path, migrated, unused_port, number):
    rng = random.Random(number)
    sweep = Sweep.new(tmp_path / "sweep", migrated)
    shutil.copytree(migrated.root, tmp_path / "server")
    kept = RunsDir(tmp_path / "server")
    address = f"http://127.0.0.1:{unused_port}"
    process = sweep.start(MLFLOW_TRACKING_URI=address, **PACE)
    for _ in range(KILLS_A_SWEEP):
        with mlflow_server(kept, unused_port):
            time.sleep(rng.uniform(0.5, 4.0))
        time.sleep(rng.uniform(0.0, 2.0))
    exit_code = sweep.finish(process)
    assert exit_code in (0, 3), sweep.said
    with mlflow_server(kept, unused_port):
        assert sweep.run("sync", MLFLOW_TRACKING_URI=address) == 0, sweep.said
        assert sweep.run("doctor", MLFLOW_TRACKING_URI=address) == 0, sweep.said
        found = read_runs(replace(sweep.runs, mlflow_server=address), "tiny")
    assert len(found.searched) == N_TRIALS
    assert found.frame["key"].is_unique
    assert found.half_written == []
