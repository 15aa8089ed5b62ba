"""MLflow is set up before it loads, from wherever it is loaded, and its retries are switched off for calls that create."""

import os
import subprocess
import sys
import threading

import pytest

from sweep.track.mlflow_api import send_once
from tests.studies import ROOT

RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
# MLflow's telemetry stays off by itself in tests and in CI.
QUIET_BY_ITSELF = ("CI", "PYTEST_", "GITHUB_", "MLFLOW_", "DO_NOT_TRACK")


@pytest.mark.slow
def test_no_telemetry_client_starts_where_another_room_is_loaded_first():
    code = """
import sweep.track.projection
from mlflow.telemetry.client import get_telemetry_client
print(get_telemetry_client())
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(QUIET_BY_ITSELF)}
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert said.stdout == "None\n"


def test_retries_come_back_when_the_last_of_those_that_switched_them_off_is_done():
    before, inside, leave = os.environ[RETRIES], threading.Event(), threading.Event()

    def overlap():
        with send_once():
            inside.set()
            leave.wait(10)

    other = threading.Thread(target=overlap)
    with send_once():
        other.start()
        assert inside.wait(10)
        assert os.environ[RETRIES] == "0"
    assert os.environ[RETRIES] == "0", "another thread still sends once"
    leave.set()
    other.join()
    assert os.environ[RETRIES] == before != "0"


def test_retries_come_back_after_an_error():
    before = os.environ[RETRIES]
    with pytest.raises(ValueError, match="cut"), send_once():
        raise ValueError("cut")
    assert os.environ[RETRIES] == before
