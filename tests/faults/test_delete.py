"""Kill a deletion at every point: the same command finishes it, and until then no other command takes the study for whole."""

import signal
import sqlite3

import pytest

from sweep.record.results import DELETING
from tests.faults.checker import check
from tests.faults.driver import Sweep
from tests.faults.test_failpoints import OF_DELETE
from tests.faults.test_storage import STORAGE, TRACKING

ON_A_SERVER = {"delete.freed"}  # see tests/track/test_server.py
POINTS = [point for point in OF_DELETE if point not in ON_A_SERVER]


def rows(db):
    """Number of rows in each table that has any."""
    with sqlite3.connect(db) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        counts = {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables}
    connection.close()
    return {name: n for name, n in counts.items() if n}


def left(sweep):
    """Files that are of a study."""
    folders = ("artifacts", "results", "reports", "logs", "exports")
    return [path for name in folders for path in (sweep.runs.root / name).glob("*/*") if path.is_file()]


@pytest.fixture
def sweep(tmp_path, migrated):
    return Sweep.new(tmp_path / "sweep", migrated)


@pytest.mark.faults
@pytest.mark.parametrize("hit", [1, 2])
@pytest.mark.parametrize("point", POINTS)
def test_a_deletion_that_is_killed_anywhere_is_finished_by_the_same_command(sweep, point, hit):
    before = rows(sweep.runs.mlflow_db), rows(sweep.runs.optuna_db)
    assert sweep.run() == 0, sweep.said
    sweep.mark.unlink(missing_ok=True)
    code = sweep.run("delete", "--exports", "--yes", SWEEP_FAILPOINT=f"{point}:{hit}:kill")
    assert code == (-signal.SIGKILL if sweep.mark.exists() else 0), sweep.said
    if (sweep.runs.results("tiny") / DELETING).exists():
        assert sweep.run() == 1
        assert "half deleted; finish that first: python -m sweep delete tiny" in sweep.said
    assert sweep.run("delete", "--exports", "--yes") in (0, 1), sweep.said
    assert code != 0 or "holds nothing of a study 'tiny'" in sweep.said
    assert (rows(sweep.runs.mlflow_db), rows(sweep.runs.optuna_db)) == before
    assert left(sweep) == []
    sweep.history.clear()
    assert sweep.run() == 0, sweep.said
    check(sweep)


@pytest.mark.faults
@pytest.mark.parametrize("point", POINTS)
def test_no_space_at_any_point_of_a_deletion_is_a_clear_end(sweep, point):
    before = rows(sweep.runs.mlflow_db), rows(sweep.runs.optuna_db)
    assert sweep.run() == 0, sweep.said
    sweep.mark.unlink(missing_ok=True)
    code = sweep.run("delete", "--exports", "--yes", SWEEP_FAILPOINT=f"{point}:1:full")
    assert code in (TRACKING, STORAGE), sweep.said
    assert sweep.said.startswith("error: ")
    assert sweep.said.count("\n") == 1
    assert sweep.run("delete", "--exports", "--yes") == 0, sweep.said
    assert (rows(sweep.runs.mlflow_db), rows(sweep.runs.optuna_db)) == before
    assert left(sweep) == []


@pytest.mark.slow
def test_a_study_that_is_half_deleted_is_refused_by_every_other_command(sweep):
    assert sweep.run() == 0, sweep.said
    sweep.mark.unlink(missing_ok=True)
    assert sweep.run("delete", "--yes", SWEEP_FAILPOINT="delete.marked:1:kill") == -signal.SIGKILL
    for command in ("run", "sync", "report", "doctor", "export", "compare"):
        assert sweep.run(command) == 1, command
        assert "error: study 'tiny' is half deleted; finish that first: python -m sweep delete tiny" in sweep.said
    assert sweep.run("delete", "--yes") == 0, sweep.said
