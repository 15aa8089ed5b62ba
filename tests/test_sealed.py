"""Each command writes into the runs directory and the files that it was told to write alone, and looks up no name."""

import shutil
import sys

import numpy as np
import pytest

from tests.bundles import write_onnx
from tests.sealed import Place, can_seal
from tests.studies import STUDY, write_tiny_data

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not can_seal(), reason="this machine lets nobody make a network of its own"),
]

SWEEP = (sys.executable, "-m", "sweep")
UI = """
import subprocess, sys, time, urllib.request
server = subprocess.Popen([sys.executable, "-m", "sweep", "ui", "--port", "5000"])
for _ in range(600):
    try:
        urllib.request.urlopen("http://127.0.0.1:5000/").read()
        break
    except OSError:
        time.sleep(0.1)
else:
    sys.exit("it does not serve")
server.terminate()
server.wait()
"""


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A place where a tiny study was run, with what the command said, wrote and looked up."""
    root = tmp_path_factory.mktemp("sealed")
    place = Place(root / "place").make()
    (root / "place" / "given").mkdir()
    write_tiny_data(root / "place" / "given")
    (root / "place" / "given" / "tiny.toml").write_text(STUDY.replace("workers = 2", 'workers = 1\nengine = "graph"'))
    np.savez(root / "place" / "given" / "rows.npz", x=np.zeros((3, 8, 8), np.uint8))
    return place, *place.run(*SWEEP, "run", "../given/tiny.toml")


@pytest.fixture
def place(swept, tmp_path):
    """A copy of it, for a command of a test."""
    shutil.copytree(swept[0].root, tmp_path / "copy")
    return Place(tmp_path / "copy")


def strange(written):
    return {path for path in written if not path.startswith("work/mlruns/")}


def test_a_run_leaves_nothing_beside_the_runs_directory_and_looks_up_no_name(swept):
    place, done, names = swept
    assert done.returncode == 0, done.stderr
    assert names == set()
    assert strange(place.list_written()) == set()
    assert (place.work / "mlruns" / "exports" / "tiny" / "confusion.png").exists()


COMMANDS = {
    "report": (*SWEEP, "report", "../given/tiny.toml"),
    "report again": ("sh", "-c", f"rm -r mlruns/reports && {sys.executable} -m sweep report ../given/tiny.toml"),
    "export": ("sh", "-c", f"rm -r mlruns/exports && {sys.executable} -m sweep export ../given/tiny.toml"),
    "compare": (*SWEEP, "compare", "../given/tiny.toml", "../given/tiny.toml"),
    "sync": (*SWEEP, "sync", "../given/tiny.toml"),
    "doctor": (*SWEEP, "doctor", "../given/tiny.toml"),
    "delete": (*SWEEP, "delete", "tiny", "--exports", "--yes"),
    "predict": (*SWEEP, "predict", "mlruns/exports/tiny", "../given/rows.npz"),
    "verify.py": (sys.executable, "mlruns/exports/tiny/verify.py", "../given/tiny.npz"),
    "ui": (sys.executable, "-c", UI),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_leaves_nothing_beside_the_runs_directory_and_looks_up_no_name(place, command):
    done, names = place.run(*COMMANDS[command])
    assert done.returncode == 0, done.stderr
    assert names == set()
    assert strange(place.list_written()) == set()


def test_a_run_in_cohorts_leaves_nothing_beside_the_runs_directory_and_looks_up_no_name(place):
    shutil.rmtree(place.work / "mlruns")
    done, names = place.run(*SWEEP, "run", "../given/tiny.toml", "--engine", "cohort", "--trials", "1")
    assert done.returncode == 0, done.stderr
    assert names == set()
    assert strange(place.list_written()) == set()
    programs = place.work / "mlruns" / "cache" / "programs"
    assert (programs.stat().st_mode & 0o777, len(list(programs.iterdir())) > 0) == (0o700, True)


def test_a_replay_leaves_nothing_beside_the_runs_directory(place):
    run_id = next((place.work / "mlruns" / "artifacts" / "tiny").glob("*/artifacts/history.json")).parts[-3]
    done, names = place.run(*SWEEP, "replay", run_id, "--data-dir", "../given")
    assert done.returncode == 0, done.stderr
    assert names == set()
    assert strange(place.list_written()) == set()


def test_a_named_output_is_all_that_predict_writes(place):
    done, names = place.run(*SWEEP, "predict", "mlruns/exports/tiny", "../given/rows.npz", "--out", "classes.csv")
    assert done.returncode == 0, done.stderr
    assert names == set()
    assert strange(place.list_written()) == {"work/classes.csv"}


# The tests above can fail: what the libraries do by themselves is seen.

ASK = "import socket\ntry: socket.getaddrinfo('telemetry.example.org', 443)\nexcept OSError: pass"
OPEN = "import onnxruntime; onnxruntime.InferenceSession('../given/model.onnx')"


def test_a_name_that_is_looked_up_is_seen(tmp_path):
    place = Place(tmp_path).make()
    _, names = place.run(sys.executable, "-c", ASK)
    assert names == {"telemetry.example.org"}


@pytest.mark.parametrize("code", [OPEN, "import mlflow", "import keras"])
def test_what_a_library_writes_by_itself_is_seen(tmp_path, code):
    place = Place(tmp_path).make()
    (tmp_path / "given").mkdir()
    write_onnx(tmp_path / "given" / "model.onnx")
    place.run(sys.executable, "-c", code)
    assert any(path.startswith("home/") for path in place.list_written())
