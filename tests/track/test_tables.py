"""MLflow's tables are written where their schema is known, and nowhere else."""

import logging
import sqlite3
from contextlib import closing

import pytest

from sweep.errors import TrackingError
from sweep.layout import RunsDir
from sweep.track import tables
from sweep.track.client import open_client
from sweep.track.listing import ASKED, find_through_client
from sweep.track.runs import read_study
from sweep.track.tables import TESTED_REVISION, TableRuns, follow_move, has_tested_schema
from sweep.track.writers import ClientRuns
from tests.studies import FILES, fake_sweep

ANOTHER = "0123456789ab"


def described(runs):
    """All that a report is made from, without ids of runs."""
    tracked = read_study(runs, "tiny")
    return [
        (one.trial, one.state, one.metrics, one.n_epochs, tracked.files.history(one.run_id)) for one in tracked.trials
    ]


def writers(monkeypatch):
    """The classes that runs are created with, as they come."""
    used = []
    for kind in (ClientRuns, TableRuns):

        def create(self, runs, create=kind.create):
            used.append(type(self))
            return create(self, runs)

        monkeypatch.setattr(kind, "create", create)
    return used


def test_the_revision_that_was_tested_is_that_of_the_installed_mlflow(runs):
    with closing(sqlite3.connect(runs.mlflow_db)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(TESTED_REVISION,)]
    assert has_tested_schema(runs)


@pytest.mark.slow
def test_under_another_revision_runs_go_through_the_client_and_one_line_says_so(new_runs, monkeypatch, caplog):
    known, unknown = new_runs(), new_runs()
    used = writers(monkeypatch)
    fake_sweep(known, files=FILES)
    assert set(used) == {TableRuns}
    used.clear()
    monkeypatch.setattr(tables, "TESTED_REVISION", ANOTHER)
    with caplog.at_level(logging.WARNING, logger="sweep"):
        fake_sweep(unknown, files=FILES)
    assert set(used) == {ClientRuns}
    assert described(unknown) == described(known)
    assert [r.getMessage() for r in caplog.records if "schema" in r.getMessage()] == [
        f"MLflow's database has schema {TESTED_REVISION}, this program was tested with {ANOTHER}: "
        "runs go through MLflow's client, slower"
    ]


def test_under_another_revision_no_path_is_changed_in_a_folder_that_was_moved(runs, tmp_path, monkeypatch):
    fake_sweep(runs, files=FILES)
    moved = RunsDir(runs.root.rename(tmp_path / "elsewhere"))
    before = moved.mlflow_db.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(tables, "TESTED_REVISION", ANOTHER)
        with pytest.raises(TrackingError, match=f"has schema {TESTED_REVISION}, .* move the folder back, or install"):
            follow_move(moved)
    assert moved.mlflow_db.read_bytes() == before
    follow_move(moved)
    assert moved.mlflow_db.read_bytes() != before
    assert read_study(moved, "tiny").trials


def test_a_folder_that_was_not_moved_is_read_under_any_revision(runs, monkeypatch):
    fake_sweep(runs, files=FILES)
    monkeypatch.setattr(tables, "TESTED_REVISION", ANOTHER)
    follow_move(runs)


def test_rows_find_the_runs_that_the_client_finds(runs):
    fake_sweep(runs, files=FILES)
    client = open_client(runs)
    experiment = client.get_experiment_by_name("tiny").experiment_id
    deleted = client.create_run(experiment, tags={"key": "trial-00099"})
    client.delete_run(deleted.info.run_id)
    by_client = find_through_client(client, experiment)
    by_rows = TableRuns(client, experiment, runs, "tiny").find_runs()
    assert len(by_rows) > 5
    assert any(run.has_outputs for run in by_rows)
    assert sorted(map(as_asked, by_rows)) == sorted(map(as_asked, by_client))


def as_asked(run):
    """All that the projection asks of a run."""
    tags = [run.tags.get(name) or "" for name in ASKED]
    return run.run_id, run.status, run.started_at, run.has_outputs, tags
