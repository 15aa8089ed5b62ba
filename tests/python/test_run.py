"""`sweep.run` does what the command does: on worker processes that train nothing, and once as a new user would."""

import logging
import os
import signal
import subprocess
import sys
import threading
import tomllib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_wine

import sweep
import sweep.champion.convert
import sweep.execute.scoring
import sweep.execute.start
from sweep.cli.commands import main
from sweep.conduct.display import Display
from sweep.errors import ChangedStudyError, InvalidSettingError, MissingRunsError, StorageError
from sweep.overview import read_overview
from sweep.study.toml_text import to_toml
from sweep.track.runs import read_study
from sweep.trial import TrialResult
from tests.champions import fake_convert
from tests.faults.sweep_process import Executor, score
from tests.studies import ROOT, STUDY, has_each_key_once, tiny_table

SPLIT = {"validation_rows": 100, "test_rows": 100}  # as many test rows as the fake score knows
N_TRIALS = 5  # of the tiny study


@pytest.fixture(autouse=True)
def train_nothing(monkeypatch):
    monkeypatch.setattr(sweep.execute.start, "WorkerExecutor", Executor)
    monkeypatch.setattr(sweep.execute.scoring, "score_in_processes", score)
    monkeypatch.setattr(sweep.champion.convert, "convert_in_process", fake_convert)


def draw_rows(seed=0):
    """600 images and their classes."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (600, 8, 8)).astype(np.uint8), rng.permutation(np.arange(600) % 3)


def test_a_study_in_code_continues_that_of_its_file_and_finds_nothing_to_train(study_file, runs, monkeypatch):
    options = ["--runs-dir", str(runs.root)]
    assert main(["run", str(study_file), *options]) == 0
    before = read_overview(runs, "tiny").trials
    page = (runs.reports("tiny") / "report.html").read_bytes()
    monkeypatch.chdir(study_file.parent)  # what data of a study in code is relative to
    result = sweep.run(sweep.Study(**tomllib.loads(STUDY)), runs_dir=runs.root)
    assert read_overview(runs, "tiny").trials == before
    assert result.report.read_bytes() == page
    assert main(["doctor", str(study_file), *options]) == 0
    assert sweep.run(study_file, runs_dir=str(runs.root)).table.equals(result.table)


@pytest.fixture
def finished(runs):
    """A finished study of rows from memory: its result, and where its runs are."""
    study = sweep.Study(**tiny_table(data=SPLIT))
    return sweep.run(study, draw_rows(), runs_dir=runs.root), runs


def test_rows_from_memory_are_searched_confirmed_reported_and_exported(finished):
    result, runs = finished
    assert has_each_key_once(read_study(runs, "tiny"))
    assert result.report == runs.reports("tiny") / "report.html"
    assert result.report.exists()
    assert result.champion.keras.read_bytes() == b"model"
    assert result.champion.classes_.tolist() == [0, 1, 2]
    assert len(result.trials) == N_TRIALS
    values = result.trials["val_accuracy"][result.trials["state"] == "complete"]
    assert values.is_monotonic_decreasing
    assert {"units_1", "dropout", "learning_rate", "seconds"} <= set(result.trials.columns)
    as_file = pd.read_csv(runs.reports("tiny") / "conclusion.csv")
    assert result.table["mean"].tolist() == pytest.approx(as_file["mean"].tolist(), rel=1e-15, nan_ok=True)
    assert list(result.table.columns) == list(as_file.columns)


def test_every_command_takes_the_study_of_rows_from_memory_from_its_folder(finished, capsys):
    _, runs = finished
    study, options = str(runs.given("tiny") / "study.toml"), ["--runs-dir", str(runs.root)]
    assert main(["doctor", study, *options]) == 0
    assert main(["report", study, "--check", *options]) == 0
    trials = read_overview(runs, "tiny").trials
    assert main(["run", study, *options]) == 0
    assert read_overview(runs, "tiny").trials == trials
    assert main(["delete", "tiny", "--yes", "--exports", *options]) == 0
    assert not runs.given("tiny").exists()
    with pytest.raises(MissingRunsError):
        read_overview(runs, "tiny")


def test_the_same_rows_continue_a_study_and_others_are_refused(finished):
    result, runs = finished
    study = sweep.Study(**tiny_table(data=SPLIT))
    assert sweep.run(study, draw_rows(), runs_dir=runs.root).table.equals(result.table)
    with pytest.raises(ChangedStudyError, match=r"data\.source") as refused:
        sweep.run(study, draw_rows(seed=1), runs_dir=runs.root)
    assert "\n" not in str(refused.value)
    kept = runs.given("tiny") / "study.toml"  # of what was run, not of what was refused
    assert sweep.run(kept, runs_dir=runs.root).table.equals(result.table)


def test_a_notebook_is_shown_tables_and_champion_with_every_text_escaped(finished):
    result, _ = finished
    shown = result._repr_html_()
    assert shown.count("<table>") == 2
    assert "<td>Hidden units</td>" in shown
    assert f"<p>Report: {result.report}</p>" in shown
    assert "<p>Champion: " in shown
    assert str(result.champion) in repr(result.champion)
    assert repr(result).startswith("Study tiny. Champion: ")
    assert "\n" not in repr(result)


def test_markup_in_the_data_is_text_in_a_notebook(runs):
    x, y = draw_rows()
    names = np.array(["<img src=x onerror=alert(1)>", "b & c", "\x1b[2J"])
    result = sweep.run(sweep.Study(**tiny_table(data=SPLIT)), (x, names[y]), runs_dir=runs.root)
    assert sorted(result.champion.classes_.tolist()) == sorted(names.tolist())
    shown = result._repr_html_()
    assert "<img" not in shown
    assert "\x1b" not in shown + repr(result)


def test_a_study_without_a_confirmation_has_no_champion(study_file, runs):
    study_file.write_text(to_toml(tiny_table(confirmation=None)))
    result = sweep.run(study_file, runs_dir=runs.root)
    assert result.champion is None
    assert result.table.empty
    assert "asks for no confirmation" in result._repr_html_()


@pytest.mark.slow
def test_what_the_program_has_set_up_is_as_before(study_file, runs, monkeypatch):
    monkeypatch.setenv("MLFLOW_RUN_ID", "theirs")
    logger = logging.getLogger("sweep")
    before = dict(os.environ), signal.getsignal(signal.SIGINT), logger.handlers, logger.level, logger.propagate
    sweep.run(study_file, runs_dir=runs.root)
    after = dict(os.environ), signal.getsignal(signal.SIGINT), logger.handlers, logger.level, logger.propagate
    assert after == before


@pytest.mark.slow
def test_in_a_thread_it_runs_as_well_and_two_take_turns(study_file, runs):
    def run(name):
        study = sweep.Study(**tiny_table(name=name, data=SPLIT))
        return sweep.run(study, draw_rows(), runs_dir=runs.root)

    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(run, ("first", "second"))
    assert first.table["mean"].equals(second.table["mean"])
    assert threading.active_count() == 1


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_raises_an_error_of_ours_and_the_same_call_continues(study_file, runs, monkeypatch, number):
    watch = Display.watch

    def interrupt(display, trial, event):
        watch(display, trial, event)
        if isinstance(event, TrialResult) and trial.number == 0:
            signal.raise_signal(number)

    with monkeypatch.context() as patched:
        patched.setattr(Display, "watch", interrupt)
        with pytest.raises(sweep.Interrupted, match="the same command continues") as stopped:
            sweep.run(study_file, runs_dir=runs.root)
    assert stopped.value.exit_code == 128 + number
    assert len(sweep.run(study_file, runs_dir=runs.root).trials) == N_TRIALS
    assert has_each_key_once(read_study(runs, "tiny"))


def test_errors_are_those_of_the_command_as_exceptions(study_file, runs, monkeypatch, capsys):
    for prepare, kind, run in (
        (lambda: None, sweep.InvalidStudyError, lambda: sweep.run("none.toml", runs_dir=runs.root)),
        (lambda: None, StorageError, lambda: sweep.run(study_file, runs_dir=study_file)),
        (lambda: None, sweep.InvalidDataError, lambda: sweep.run(sweep.Study(**tiny_table()), runs_dir=runs.root)),
        (lambda: None, sweep.InvalidDataError, lambda: sweep.run(study_file, "rows.csv", runs_dir=runs.root)),
        (
            lambda: monkeypatch.setenv("MLFLOW_TRACKING_URI", "file:x"),
            InvalidSettingError,
            lambda: sweep.run(study_file),
        ),
    ):
        prepare()
        with pytest.raises(kind) as refused:
            run()
        assert isinstance(refused.value, sweep.SweepError)
        assert "\n" not in str(refused.value)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with pytest.raises(sweep.InvalidStudyError) as refused:
        sweep.run(study_file.with_name("none.toml"), runs_dir=runs.root)
    assert main(["run", str(study_file.with_name("none.toml"))]) == 2
    assert capsys.readouterr().err == f"error: {refused.value}\n"


def test_importing_sweep_loads_no_library_and_a_study_in_code_none_that_trains_or_tracks():
    def loaded(code):
        libraries = ("tensorflow", "keras", "jax", "optuna", "mlflow", "pandas", "sklearn", "numpy", "rich", "pydantic")
        code = f"import sys\n{code}\nprint([name for name in {libraries} if name in sys.modules])"
        return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert loaded("import sweep\ndir(sweep)") == "[]\n"
    study = "sweep.Study(name='a', seed=1, data={'validation_rows': 9}, training={'max_epochs': 1}, baselines=[{'name': 'b', 'units': [1]}])"
    assert loaded(f"from sweep import run, Study, Int, SweepError\nimport sweep\n{study}") == "['pydantic']\n"


def test_every_public_name_is_there_and_no_other():
    assert dir(sweep) == sorted(sweep.__all__)
    assert all(getattr(sweep, name).__name__ == name for name in sweep.__all__)
    with pytest.raises(AttributeError, match="module 'sweep' has no attribute 'runs'"):
        sweep.runs  # noqa: B018


@pytest.mark.slow
def test_a_script_without_a_guard_goes_from_a_frame_to_predictions_as_the_readme_says(tmp_path):
    section = (ROOT / "sweep" / "README.md").read_text().split("## From Python")[1].split("\n## ")[0]
    example = section.split("```python\n")[1].split("```")[0]
    (tmp_path / "wine.py").write_text(f"{example}print(result.champion.classes_, result.table['n'].max())\n")
    command = [sys.executable, "wine.py"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    *labels, last = done.stdout.splitlines()
    assert last == "[0 1 2] 3"
    predicted = np.array(" ".join(labels).strip("[]").split(), int)
    assert np.mean(predicted == load_wine().target) > 0.8
    study = tmp_path / "mlruns" / "given" / "wine" / "study.toml"
    command = [sys.executable, "-m", "sweep", "doctor", str(study), "--runs-dir", str(tmp_path / "mlruns")]
    assert subprocess.run(command, cwd=ROOT, capture_output=True).returncode == 0
