"""A real sweep through the command line: real workers, training and databases, on tiny data."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from sweep.data.files import read
from sweep.data.prepared import open_training_split, prepare
from sweep.durable.files import sha256_of
from sweep.layout import RunsDir
from sweep.study.schema import Data
from sweep.track.runs import read_study
from tests.faults.engine import EPOCH_S
from tests.studies import STUDY, has_each_key_once, write_tiny_data

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
N_TRIALS = 5


def sweep(command, study_file, runs_dir, *options):
    arguments = [sys.executable, "-m", "sweep", command, str(study_file), "--runs-dir", str(runs_dir), *options]
    return subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=240)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Run a sweep to its end; return its folder and the finished command."""
    folder = tmp_path_factory.mktemp("e2e")
    write_tiny_data(folder)
    (folder / "tiny.toml").write_text(STUDY)
    return folder, sweep("run", folder / "tiny.toml", folder / "mlruns")


def test_it_ends_well_with_a_line_a_trial_its_table_and_its_export(finished):
    folder, done = finished
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r" trial \d+ · ", done.stderr)) == N_TRIALS
    assert "Test accuracy" in done.stdout
    assert "Champion: " in done.stdout
    assert f"Export: {folder / 'mlruns' / 'exports' / 'tiny'}\nRegistered: models:/tiny/1, champion: " in done.stdout
    assert "Traceback" not in done.stderr


def test_mlflow_reads_back_every_run_in_a_fresh_process(finished):
    folder, _ = finished
    code = """
import json, sys
from mlflow import MlflowClient
client = MlflowClient(sys.argv[1])
experiment = client.get_experiment_by_name("tiny")
runs = client.search_runs([experiment.experiment_id])
run = next(r for r in runs if r.data.tags["state"] == "complete" and r.data.tags["phase"] == "confirm") if runs else None
print(json.dumps({
    "n": len(runs),
    "phases": sorted(r.data.tags["phase"] for r in runs),
    "params": run.data.params, "metrics": run.data.metrics, "tags": run.data.tags,
    "curve": [m.step for m in client.get_metric_history(run.info.run_id, "epoch/val_accuracy")],
    "artifacts": sorted(a.path for a in client.list_artifacts(run.info.run_id)),
    "inputs": [(i.dataset.name, i.tags[0].value) for i in run.inputs.dataset_inputs],
    "good": len(client.search_runs([experiment.experiment_id], "metrics.val_accuracy > 0.1 and tags.phase = 'search'")),
}))
""".replace('r.data.tags["state"]', 'r.data.tags.get("state")')
    uri = f"sqlite:///{folder}/mlruns/mlflow.db"
    done = subprocess.run([sys.executable, "-c", code, uri], capture_output=True, text=True, check=True, cwd=folder)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["n"] == len(read_study(RunsDir(folder / "mlruns"), "tiny").trials) + 1
    assert [found["phases"].count(phase) for phase in ("baseline", "search", "study")] == [1, 4, 1]
    assert {"hidden_layers", "units", "units_1", "dropout", "batch_size", "learning_rate", "max_epochs"} <= set(
        found["params"]
    )
    finals = {f"{part}_{metric}" for part in ("train", "val", "test") for metric in ("loss", "accuracy")}
    assert finals | {"best_epoch", "epochs", "train_seconds", "params_count"} <= set(found["metrics"])
    assert {"git_commit", "git_dirty", "data_sha256", "seed", "version_keras", "mlflow.parentRunId"} <= set(
        found["tags"]
    )
    assert found["curve"] == list(range(1, int(found["metrics"]["epochs"]) + 1))
    assert found["artifacts"] == ["curves.png", "history.json", "predictions.npz", "summary.txt"]
    assert found["inputs"] == [["tiny.npz", part] for part in ("training", "validation", "test")]
    assert found["good"] >= 1


@pytest.mark.slow
def test_the_registered_champion_reloads_through_mlflow_and_reproduces_its_validation_accuracy(finished):
    folder, _ = finished
    runs = RunsDir(folder / "mlruns")
    summary = json.loads((runs.exports("tiny") / "summary.json").read_text())
    code = """
import sys, numpy as np, mlflow
mlflow.set_tracking_uri(sys.argv[1])
[output] = mlflow.get_run(sys.argv[2]).outputs.model_outputs
model = mlflow.keras.load_model("models:/tiny@champion")
np.save("probabilities.npy", model.predict(np.load("rows.npy"), verbose=0))
info = mlflow.models.get_model_info(f"models:/{output.model_id}")
print("pyfunc", mlflow.pyfunc.load_model(f"models:/{output.model_id}").predict(np.load("rows.npy")).shape)
print("signature", info.signature.inputs.to_dict()[0]["tensor-spec"])
"""
    spec = Data(source="tiny.npz", validation_rows=100)
    split = open_training_split(prepare(read(spec, folder), spec, 7, runs.data_cache), "validation")
    np.save(folder / "rows.npy", split.x)
    arguments = [sys.executable, "-c", code, f"sqlite:///{runs.mlflow_db}", summary["run"]]
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "pyfunc (100, 3)" in done.stdout
    assert "signature {'dtype': 'uint8', 'shape': (-1, 64)}" in done.stdout
    accuracy = (np.load(folder / "probabilities.npy").argmax(axis=1) == split.y).mean()
    assert accuracy == pytest.approx(summary["metrics_of_this_model"]["val_accuracy"], abs=1e-6)


def test_deleting_the_reports_and_asking_again_gives_the_same_bytes(finished):
    folder, _ = finished
    reports = folder / "mlruns" / "reports"
    before = {path.name: path.read_bytes() for path in (reports / "tiny").iterdir()}
    shutil.rmtree(reports)
    assert sweep("report", folder / "tiny.toml", folder / "mlruns").returncode == 0
    assert {path.name: path.read_bytes() for path in (reports / "tiny").iterdir()} == before
    assert set(before) == {"report.html", "conclusion.md", "conclusion.csv", "conclusion.json"}


@pytest.mark.slow
def test_the_export_is_a_model_with_its_evidence_which_verify_reproduces(finished):
    folder, first = finished
    exported = folder / "mlruns" / "exports" / "tiny"
    shutil.rmtree(exported)
    done = sweep("export", folder / "tiny.toml", folder / "mlruns")
    assert (done.returncode, done.stderr) == (0, "")
    assert first.stdout.endswith(done.stdout)
    verify = [sys.executable, "-I", str(exported / "verify.py"), str(folder / "tiny.npz")]
    done = subprocess.run(verify, cwd=folder, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "100 of 100 test rows are classified as recorded" in done.stdout
    assert (exported / "study.toml").read_text() == STUDY
    summary = json.loads((exported / "summary.json").read_text())
    assert summary["model_sha256"] == sha256_of(exported / "model.keras")
    test = np.load(folder / "tiny.npz")
    model = keras.saving.load_model(exported / "model.keras")
    guesses = model.predict(test["x_test"].reshape(100, 64), verbose=0).argmax(axis=1)
    assert (guesses == test["y_test"]).mean() == pytest.approx(summary["metrics_of_this_model"]["test_accuracy"])


def test_the_same_command_again_starts_no_worker(finished):
    folder, first = finished
    again = sweep("run", folder / "tiny.toml", folder / "mlruns")
    assert again.returncode == 0
    assert again.stderr == ""
    assert again.stdout == first.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "exit_code", "module"),
    [(signal.SIGINT, 130, "sweep"), (signal.SIGTERM, 143, "tests.faults.sweep_process")],
)
def test_a_signal_ends_it_cleanly_and_the_same_command_continues(study_file, runs, number, exit_code, module):
    command = [sys.executable, "-m", module, "run", str(study_file), "--runs-dir", str(runs.root)]
    started = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, EPOCH_S: "0.3"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    while not re.search(r" trial \d+ · ", started.stderr.readline()):
        assert started.poll() is None
    os.killpg(started.pid, number)  # as a terminal does: to the workers too
    _, stderr = started.communicate(timeout=10)
    assert started.returncode == exit_code
    assert stderr.splitlines()[-1] == "interrupted; the same command continues"
    assert "Traceback" not in stderr
    assert subprocess.run(command, cwd=ROOT, capture_output=True).returncode == 0
    found = read_study(runs, "tiny")
    assert len(found.searched) == N_TRIALS
    assert has_each_key_once(found)


@pytest.mark.slow
def test_the_doctor_finds_it_sound_and_writes_mlflow_anew_where_it_is_gone(finished, tmp_path):
    folder, first = finished
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    sound = sweep("doctor", copy / "tiny.toml", copy / "mlruns")
    assert (sound.returncode, sound.stdout.count("agree in every point")) == (0, 1), sound.stdout
    (copy / "mlruns" / "mlflow.db").unlink()
    shutil.rmtree(copy / "mlruns" / "artifacts")
    sick = sweep("doctor", copy / "tiny.toml", copy / "mlruns")
    assert (sick.returncode, sick.stdout.count("`sync` writes MLflow's runs anew")) == (1, 1)
    assert sick.stderr == "error: study tiny: 1 findings, listed above\n"
    mended = sweep("doctor", copy / "tiny.toml", copy / "mlruns", "--fix")
    assert (mended.returncode, mended.stdout) == (0, sound.stdout), mended.stderr
    table = r"│.*│"
    report = sweep("report", copy / "tiny.toml", copy / "mlruns")
    assert re.findall(table, report.stdout) == re.findall(table, first.stdout)


@pytest.mark.slow
def test_runs_are_trained_again_from_their_record_to_the_bit(finished):
    folder, _ = finished
    runs = RunsDir(folder / "mlruns")
    tracked = read_study(runs, "tiny")
    for run_id in [one.run_id for one in [*tracked.searched[:4], tracked.replicates[0]]]:
        arguments = ["replay", run_id, "--runs-dir", str(runs.root), "--data-dir", str(folder)]
        done = subprocess.run([sys.executable, "-m", "sweep", *arguments], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"Run {run_id} is bit-equal: ")
        assert "weights: by 0 at most" in done.stdout
