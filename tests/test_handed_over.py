"""A runs directory that someone else handed over: nothing in it has us write, delete or read anywhere else."""

import json
import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from sweep.cli.commands import main
from sweep.coordinator import sync_study
from sweep.errors import DamagedResultError, StorageError, TrackingError
from sweep.layout import RunsDir
from sweep.record import results
from sweep.record.predictions import unpack
from sweep.report.conclusion import conclude
from sweep.report.files import find_stale, publish
from sweep.report.upload import upload
from sweep.track.run_files import RunFiles
from sweep.track.runs import read_study
from tests.studies import FILES, copied, fake_sweep, job, tiny_table

PRECIOUS = {"file": "mine", ".hidden": "mine too", "model.keras": "no model"}


@pytest.fixture
def elsewhere(tmp_path):
    """A folder outside of every runs directory. No test may change it."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    for name, text in PRECIOUS.items():
        (folder / name).write_text(text)
    yield folder
    assert {path.name: path.read_text() for path in folder.iterdir()} == PRECIOUS


@pytest.fixture(scope="module")
def swept(new_runs):
    runs = new_runs()
    fake_sweep(runs, files=FILES)
    publish(conclude(read_study(runs, "tiny")))
    return runs


@pytest.fixture
def handed(swept, tmp_path):
    """A copy of a whole study, for a test to put traps into."""
    return copied(swept, tmp_path)


PLACES = [
    "results",
    "results/tiny",
    "artifacts",
    "artifacts/tiny",
    "reports",
    "reports/tiny",
    "exports/tiny",
    "cache",
    "logs/tiny",
]


@pytest.mark.parametrize("command", ["run", "sync", "report", "doctor", "export", "delete"])
@pytest.mark.parametrize("place", [*PLACES, "mlflow.db", "optuna.db", "mlflow.db-journal", "optuna.db-wal"])
def test_a_link_in_place_of_a_folder_or_database_is_refused_by_name(
    handed, elsewhere, study_file, capsys, command, place
):
    path = handed.root / place
    shutil.rmtree(path, ignore_errors=True)
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(elsewhere / "file" if "db" in place else elsewhere)
    what = ["tiny", "--yes"] if command == "delete" else [str(study_file)]
    assert main([command, *what, "--runs-dir", str(handed.root)]) == 4
    assert capsys.readouterr().err.startswith(f"error: {path}: a link to {elsewhere}")
    assert path.is_symlink()


def test_a_runs_directory_may_itself_be_a_link(handed, tmp_path, study_file, capsys):
    (tmp_path / "link").symlink_to(handed.root)
    assert main(["delete", "tiny", "--yes", "--runs-dir", str(tmp_path / "link")]) == 0
    assert not handed.results("tiny").exists()


def test_drafts_behind_a_link_among_the_results_are_not_ours(handed, elsewhere):
    folder = handed.results("tiny")
    (folder / "planted").symlink_to(elsewhere)
    (folder / ".planted").symlink_to(elsewhere)
    assert results.list_drafts(folder) == [folder / ".planted"]
    results.remove_drafts(folder)
    assert not (folder / ".planted").is_symlink()  # the link itself is gone
    assert (folder / "planted").is_symlink()


@pytest.mark.parametrize("name", ["../../../elsewhere/file", "/etc/hostname", ".hidden", "a/b"])
def test_a_result_that_names_a_file_elsewhere_is_damaged_and_not_taken_over(handed, elsewhere, name):
    folder = handed.results("tiny") / "trial-00000"
    content = json.loads((folder / results.RESULT).read_text())["content"]
    content["files"][name] = "0" * 64
    (folder / results.RESULT).write_text(results._seal(content))
    with pytest.raises(DamagedResultError, match="is no name of a file here"):
        results.load(folder)
    with pytest.raises(DamagedResultError, match="is no name of a file here"):
        fake_sweep(handed, tiny_table(name="other"), fork="tiny", files=FILES)


@pytest.mark.parametrize("name", [results.RESULT, results.HISTORY, "trial-00000"])
def test_a_result_behind_a_link_is_damaged(handed, elsewhere, name):
    folder = handed.results("tiny") / "trial-00000"
    path = folder if name == folder.name else folder / name
    aside = handed.root / "aside"
    path.rename(aside)
    path.symlink_to(aside)
    with pytest.raises(DamagedResultError, match="cannot be read"):
        results.load(folder)


def change_runs(runs, statement):
    with closing(sqlite3.connect(runs.mlflow_db)) as connection, connection:
        assert connection.execute(statement).rowcount > 0


def test_a_database_that_keeps_files_elsewhere_is_not_followed_there(handed, elsewhere):
    conclusion = conclude(read_study(handed, "tiny"))
    for place in (elsewhere, handed.artifacts("tiny") / ".." / ".." / ".." / "elsewhere"):
        change_runs(handed, f"UPDATE runs SET artifact_uri = '{place}'")
        with pytest.raises(TrackingError, match="outside of"):
            upload(conclusion)
        with pytest.raises(TrackingError, match="outside of"):
            sync_study(job(handed))


def test_an_id_of_a_run_that_is_a_path_is_refused(handed, elsewhere):
    of_a_trial = "SELECT run_uuid FROM tags WHERE key = 'key' AND value LIKE 'trial%' LIMIT 1"
    change_runs(handed, f"UPDATE runs SET run_uuid = '../../../elsewhere' WHERE run_uuid = ({of_a_trial})")
    with pytest.raises(TrackingError, match="is no id of a run or a model"):
        read_study(handed, "tiny")
    with pytest.raises(TrackingError, match="is no id of a run or a model"):
        sync_study(job(handed))


def test_files_of_a_run_are_not_written_through_a_link(handed, elsewhere):
    tracked = read_study(handed, "tiny")
    run_id = tracked.trials[0].run_id
    change_runs(
        handed, f"UPDATE runs SET status = 'RUNNING' WHERE run_uuid = '{run_id}'"
    )  # as if cut off: written again
    folder = handed.run_artifacts("tiny", run_id)
    shutil.rmtree(folder)
    folder.symlink_to(elsewhere)
    with pytest.raises(Exception, match="a link to"):
        sync_study(job(handed))


def test_predictions_of_classes_that_are_none_are_damaged(handed):
    path = next(handed.artifacts("tiny").glob(f"*/artifacts/{results.PREDICTIONS}"))
    found = unpack(path.read_bytes())
    path.write_bytes(replace(found, predicted=found.predicted + np.uint16(60_000)).pack())
    with pytest.raises(DamagedResultError, match="predicted holds a number that is not below 3"):
        read_study(handed, "tiny")


@pytest.mark.parametrize("command", ["run", "sync", "report", "export"])
def test_a_log_that_is_a_link_is_refused_by_name(handed, elsewhere, study_file, capsys, command):
    log = handed.logs("tiny") / "worker-0.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.symlink_to(elsewhere / "file")
    assert main([command, str(study_file), "--runs-dir", str(handed.root)]) == 4
    assert capsys.readouterr().err.startswith(f"error: {log}: a link to {elsewhere}")


def test_what_a_server_sends_is_not_written_through_a_link(handed, elsewhere):
    runs = RunsDir(handed.root, mlflow_server="http://127.0.0.1:1")
    folder = runs.downloads / "a-run"
    folder.mkdir(parents=True)
    (folder / results.HISTORY).symlink_to(elsewhere / "file")
    with pytest.raises(StorageError, match=f"{results.HISTORY}: a link to {elsewhere}"):
        RunFiles(runs, "tiny").history("a-run")


def test_a_pipe_among_the_reports_is_replaced_and_not_waited_for(handed):
    conclusion = conclude(read_study(handed, "tiny"))
    path = handed.reports("tiny") / "conclusion.md"
    path.unlink()
    os.mkfifo(path)
    assert find_stale(conclusion) == [path]
    publish(conclusion)
    assert path.is_file()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE latest_metrics SET value = 1e300 * 1e300 WHERE key = 'best_epoch'",
        "UPDATE tags SET value = 'x' WHERE key = 'seed'",
        "UPDATE runs SET end_time = NULL WHERE status = 'FINISHED'",
    ],
)
def test_a_run_that_says_what_no_trial_says_is_damaged(handed, change):
    change_runs(handed, change)
    with pytest.raises(DamagedResultError, match="not what was written"):
        read_study(handed, "tiny")
