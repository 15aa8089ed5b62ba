"""Tables as people have them, from the file to predictions: by the program, by MLflow and by onnxruntime, the same answers."""

import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import sklearn.datasets

from sweep.cli.commands import main
from sweep.layout import RunsDir
from sweep.study.toml_text import to_toml
from tests.data.test_columns import mixed
from tests.servers import free_port
from tests.studies import ROOT, tiny_table

pytestmark = pytest.mark.slow
N = 1000


def draw_prices():
    """A regression with a category, and whole numbers that are sometimes missing."""
    frame = mixed(N, seed=4).drop(columns="y")
    price = 900 * frame["member"] + 30 * frame["age"].fillna(40) + 500 * (frame["city"] == "Ulm")
    return frame.assign(rooms=np.arange(N) % 5, price=price + np.random.default_rng(0).normal(0, 50, N))


def load_numbers():
    """A public table of numbers alone, whose names hold spaces; N rows of it."""
    frame = sklearn.datasets.load_breast_cancer(as_frame=True).frame
    return frame.sample(N, replace=True, random_state=0, ignore_index=True)


TABLES = {
    "mixed": (lambda: mixed(N, seed=3), "y"),
    "prices": (draw_prices, "price"),
    "numbers": (load_numbers, "target"),
}


@pytest.fixture(scope="module", params=TABLES)
def finished(request, new_runs, tmp_path_factory):
    """The table, its label, and the finished study of it: the runs and the folder of the data."""
    make, label = TABLES[request.param]
    runs, folder, frame = new_runs(), tmp_path_factory.mktemp("table"), make()
    frame.to_csv(folder / "rows.csv", index=False)
    frame.drop(columns=label).to_csv(folder / "new.csv", index=False)
    table = tiny_table(
        data={"source": "rows.csv", "label": label, "validation_rows": 0.2, "test_rows": 0.2},
        training={"max_epochs": 3},
        search={"trials": 1, "workers": 1},
        space={"hidden_layers": 1, "units": 16, "batch_size": 32},
        confirmation={"replicates": 1},
    )
    (folder / "study.toml").write_text(to_toml(table))
    command = [sys.executable, "-m", "sweep", "run", str(folder / "study.toml"), "--runs-dir", str(runs.root)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return frame, label, RunsDir(runs.root), folder


def read_summary(runs):
    return json.loads((runs.exports("tiny") / "summary.json").read_text())


@pytest.fixture(scope="module")
def answers(finished):
    """What `predict` answers, shape (N,): the probability of the class that it names, or the number; and the classes."""
    _, _, runs, folder = finished
    out = folder / "said.csv"
    assert main(["predict", str(runs.exports("tiny")), str(folder / "new.csv"), "--out", str(out)]) == 0
    with out.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    return np.array([float(row.get("certainty", row.get("value"))) for row in rows]), [row.get("class") for row in rows]


def check(said, answers, label):
    """Check a frame that MLflow answered with."""
    figures, classes = answers
    if classes[0] is None:
        np.testing.assert_allclose(said[label].astype(float), figures, rtol=1e-6)
    else:
        np.testing.assert_allclose(said["certainty"].astype(float), figures, atol=1e-6)
        assert said["class"].astype(str).tolist() == classes


def test_onnxruntime_gives_the_same_answers_by_named_inputs(finished, answers):
    frame, _, runs, _ = finished
    model = onnxruntime.InferenceSession(runs.exports("tiny") / "model.onnx")
    given = {}
    for one in model.get_inputs():
        cells = frame[one.name]
        if one.type == "tensor(string)":
            given[one.name] = cells.fillna("").astype(str).to_numpy(object)[:, None]
        elif cells.dtype.kind == "M":
            given[one.name] = ((cells - pd.Timestamp(0)) / pd.Timedelta(days=1)).to_numpy(float)[:, None]
        else:
            given[one.name] = cells.to_numpy(float)[:, None]
    said = model.run(None, given)[0]
    np.testing.assert_allclose(said.max(axis=1), answers[0], rtol=1e-6, atol=1e-6)


def model_folder(runs):
    [folder] = runs.root.glob(
        f"artifacts/*/models/{read_summary(runs)['mlflow_model'].removeprefix('models:/')}/artifacts"
    )
    return folder


def test_mlflow_predicts_a_csv(finished, answers, tmp_path):
    _, label, runs, folder = finished
    command = [sys.executable, "-m", "mlflow", "models", "predict", "-m", str(model_folder(runs)), "-t", "csv"]
    command += ["-i", str(folder / "new.csv"), "-o", str(tmp_path / "said.json"), "--env-manager", "local"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    check(pd.DataFrame(json.loads((tmp_path / "said.json").read_text())["predictions"]), answers, label)


@contextlib.contextmanager
def serve(model, folder):
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "models",
        "serve",
        "-m",
        str(model),
        "-p",
        str(port),
        "--env-manager",
        "local",
    ]
    with (folder / "serve.log").open("w") as log:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # MLflow starts uvicorn by its name
        server = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log, start_new_session=True, env={**os.environ, "PATH": path}
        )
    try:
        deadline = time.monotonic() + 180
        while not _answers(port):
            assert server.poll() is None, (folder / "serve.log").read_text()
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _answers(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=10) as answer:
            return answer.status == 200
    except (OSError, urllib.error.HTTPError):
        return False


def test_mlflow_serves_a_frame(finished, answers, tmp_path):
    frame, label, runs, _ = finished
    asked = json.loads(frame.drop(columns=label).assign(extra=1)[::-1].to_json(orient="split", date_format="iso"))
    body = json.dumps({"dataframe_split": asked}).encode()
    with serve(model_folder(runs), tmp_path) as address:
        request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=120) as answer:
            said = json.loads(answer.read())["predictions"]
    check(pd.DataFrame(said)[::-1].reset_index(drop=True), answers, label)


def test_its_bundle_is_checked_against_the_table_itself(finished):
    _, _, runs, folder = finished
    command = [sys.executable, str(runs.exports("tiny") / "verify.py"), str(folder / "rows.csv")]
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
        assert "200 of 200 test rows are" in done.stdout


def test_the_report_says_what_each_column_was_taken_for(finished):
    frame, label, runs, _ = finished
    for name in ("conclusion.md", "report.html"):
        text = (runs.reports("tiny") / name).read_text(encoding="utf-8")
        assert "What the columns were taken for" in text
        assert all(column in text for column in frame if column != label)
    if "city" in frame:
        assert (
            "| `city` | category | `Bonn`, `Köln`, `Ulm`, some missing |"
            in (runs.reports("tiny") / "conclusion.md").read_text()
        )


def test_doctor_finds_nothing_and_a_run_replays(finished, capsys):
    _, _, runs, folder = finished
    options = ["--runs-dir", str(runs.root)]
    assert main(["doctor", str(folder / "study.toml"), *options]) == 0
    assert main(["replay", read_summary(runs)["run"], "--data-dir", str(folder), *options]) == 0
    assert "is bit-equal" in capsys.readouterr().out
