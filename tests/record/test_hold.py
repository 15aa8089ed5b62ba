"""One coordinator holds a study in a record on a server, and nothing of one that has lost it is written."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import pytest
from optuna.exceptions import StorageInternalError

from sweep.coordinator import open_records
from sweep.errors import LostStudyError, MissingPackageError, MissingRunsError, RecordError, StudyInUseError
from sweep.layout import RunsDir
from sweep.overview import list_studies, read_overview
from sweep.record import hold as hold_room
from sweep.record.hold import find_holder, hold_study
from sweep.record.recover import MAX_DEATHS, handle_death, recover
from sweep.record.storage import count_recorded, delete_recorded, is_recorded, open_to_read
from sweep.record.trials import read_stored_search
from sweep.removal import delete_study
from sweep.study.config import derive_seed
from sweep.study.file import parse_study
from sweep.trial import Phase, State, TrialResult
from tests.studies import fake_sweep, job, tiny_table

CONFIG = parse_study(tiny_table(), "tiny.toml").baselines[0].config


def snapshot(postgres, where):
    """Return every row of the tables that a study writes."""
    tables = ("studies", "study_user_attributes", "trials", "trial_values", "trial_intermediate_values")
    tables += ("trial_params", "trial_user_attributes")
    return [sorted(postgres.execute(where, f"SELECT * FROM {table}")) for table in tables]


def end_session(postgres, where):
    """End the session that holds the lock on a study, as the server does with one that is silent."""
    query = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    assert postgres.execute(where, query) == [(True,)]


def result(trial):
    logs = {"loss": 1.0, "accuracy": 0.5, "val_loss": 1.0, "val_accuracy": 0.5}
    return TrialResult(
        key=trial.key, state=State.COMPLETE, reason="", history=[logs], metrics=logs, best_epoch=1, started_at=0.0,
        ended_at=1.0, params_count=1, provenance={}, files={},
    )  # fmt: skip


def test_a_study_on_a_server_ends_and_is_found_again_without_a_file(runs_on_server, postgres):
    fake_sweep(runs_on_server)
    where = runs_on_server.record
    before = snapshot(postgres, where)
    assert is_recorded(where, "tiny")
    assert not is_recorded(where, "other")
    assert len(read_stored_search(where, "tiny")[1]) == 5
    fake_sweep(runs_on_server)
    assert snapshot(postgres, where) == before
    assert postgres.execute(where, "SELECT * FROM sweep_coordinators") == []
    assert not runs_on_server.optuna_db.exists()


def test_a_study_is_deleted_on_a_server(runs_on_server, postgres):
    fake_sweep(runs_on_server)
    delete_study(runs_on_server, "tiny", True, lambda line: None)
    assert count_recorded(runs_on_server.record, "tiny") is None
    assert not any(snapshot(postgres, runs_on_server.record))


def test_looking_creates_no_table(postgres):
    where = postgres.new_database("template1")
    assert not is_recorded(where, "tiny")
    assert count_recorded(where, "tiny") is None
    assert postgres.execute(where, "SELECT * FROM pg_tables WHERE schemaname = 'public'") == []


def test_studies_that_start_together_in_an_empty_database_share_it(tmp_path, postgres):
    runs = RunsDir(tmp_path / "mlruns", record_server=postgres.new_database("template1"))
    jobs = [job(runs, tiny_table(name=name)) for name in ("one", "two", "three", "four")]

    def start(asked):
        with hold_study(runs, asked.study.name) as held:
            open_records(asked, held)

    with ThreadPoolExecutor() as threads:
        list(threads.map(start, jobs))
    assert all(is_recorded(runs.record, asked.study.name) for asked in jobs)


def test_a_second_coordinator_is_refused_with_the_name_of_the_first(runs_on_server):
    with (
        hold_study(runs_on_server, "tiny"),
        pytest.raises(StudyInUseError, match=r"host .*, pid \d+, since .* 60 s after"),
    ):
        fake_sweep(runs_on_server)
    fake_sweep(runs_on_server)


def test_the_holder_of_a_study_on_a_server_is_named_from_anywhere_and_reading_changes_nothing(runs_on_server, postgres):
    fake_sweep(runs_on_server)
    before = snapshot(postgres, runs_on_server.record)
    with hold_study(runs_on_server, "tiny"):
        elsewhere = replace(runs_on_server, root=runs_on_server.root.with_name("elsewhere"))
        running = read_overview(elsewhere, "tiny")
        assert find_holder(elsewhere, "other") is None
    assert (running.state, f"pid {os.getpid()}," in running.holder) == ("running", True)
    assert (read_overview(elsewhere, "tiny").state, list_studies(elsewhere)) == ("idle", ["tiny"])
    assert snapshot(postgres, runs_on_server.record) == before


WRITES = {
    "a claim": lambda record, trial: record.claim(Phase.SEARCH, CONFIG, 1),
    "another attempt": lambda record, trial: record.restart(trial),
    "a value at a rung": lambda record, trial: record.report(trial.key, 1, 0.5),
    "an end": lambda record, trial: record.tell(result(trial)),
    "a deletion": lambda record, trial: delete_recorded(record._where, "tiny", record.hold),
    "a file": lambda record, trial: record.hold.check(),
}


@pytest.mark.parametrize("write", WRITES)
def test_no_write_lands_once_another_holds_the_study(runs_on_server, postgres, write):
    where = runs_on_server.record
    asked = job(runs_on_server)
    with hold_study(runs_on_server, "tiny") as held:
        record, _ = open_records(asked, held)
        trial = record.claim(Phase.SEARCH, CONFIG, derive_seed(1))
        end_session(postgres, where)
        with hold_study(runs_on_server, "tiny"):
            before = snapshot(postgres, where)
            with pytest.raises(LostStudyError, match="another one took it over"):
                WRITES[write](record, trial)
            assert snapshot(postgres, where) == before


def test_who_takes_a_study_over_waits_for_the_transaction_that_writes(runs_on_server, postgres):
    """None can begin before and commit after: its first statement locks the number that the other must remove."""
    import psycopg

    where = runs_on_server.record
    with hold_study(runs_on_server, "tiny") as held, hold_room.open_sessions(where).connect() as writing:
        with writing.begin():
            held._check(writing)
            arguments = where.connect_args(lock_timeout=100)
            with closing(psycopg.connect(**arguments)) as taking, pytest.raises(psycopg.errors.LockNotAvailable):
                taking.execute("DELETE FROM sweep_coordinators WHERE study = 'tiny'")
        assert postgres.execute(where, "DELETE FROM sweep_coordinators RETURNING study") == [("tiny",)]


def test_a_holder_whose_session_ended_stops_though_nobody_took_over(runs_on_server, postgres, monkeypatch):
    monkeypatch.setattr(hold_room, "PING_S", 0.01)
    with hold_study(runs_on_server, "tiny") as held:
        end_session(postgres, runs_on_server.record)
        held._thread.join(20)
        with pytest.raises(LostStudyError, match="the session that held it has ended"):
            held.poll()


def test_a_holder_that_was_not_answered_for_too_long_stops_without_asking(runs_on_server, monkeypatch):
    with hold_study(runs_on_server, "tiny") as held:
        held.poll()
        monkeypatch.setattr(hold_room, "LEASE_S", -1)
        with pytest.raises(LostStudyError, match="the server was not heard for"):
            held.poll()


def test_a_server_ends_the_session_of_a_holder_that_is_silent(runs_on_server, postgres, monkeypatch):
    monkeypatch.setattr(hold_room, "LEASE_S", 0.2)  # and no ping before
    with hold_study(runs_on_server, "tiny"):
        locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
        while postgres.execute(runs_on_server.record, locks) != [(0,)]:
            pass
        with hold_study(runs_on_server, "tiny"):
            pass


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"password": "wrong-pw"}, "password authentication failed"),
        ({"port": 1}, "Connection refused"),
        ({"database": "none"}, 'database "none" does not exist'),
        ({"tls": (("sslmode", "require"),)}, "does not support SSL"),
    ],
)
def test_a_server_that_does_not_serve_is_one_line_without_the_password(runs_on_server, changes, said):
    runs = replace(runs_on_server, record_server=replace(runs_on_server.record_server, **changes))
    with pytest.raises(RecordError, match=rf"^cannot open the record of trials postgresql://me@.*{said}") as error:
        fake_sweep(runs)
    assert not {"wrong-pw", "c4n4ry-p4ssw0rd"} & set(str(error.value).replace('"', " ").split())
    assert "\n" not in str(error.value)


def test_a_database_of_another_program_is_named(postgres, runs):
    where = postgres.new_database("template1")
    postgres.execute(where, "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
    postgres.execute(where, "INSERT INTO alembic_version VALUES ('of MLflow')")
    with pytest.raises(RecordError, match="holds tables of another program"):
        fake_sweep(replace(runs, record_server=where))


def test_without_psycopg_the_way_to_it_is_said(runs_on_server, monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingPackageError, match=r"psycopg is not installed.*make setup"):
        fake_sweep(runs_on_server)


def test_numbers_are_never_given_twice(runs_on_server, postgres):
    seen = []
    for _ in range(3):
        with hold_study(runs_on_server, "tiny"):
            seen += postgres.execute(runs_on_server.record, "SELECT number FROM sweep_coordinators")
    assert len(set(seen)) == 3


def test_a_coordinator_that_lost_its_study_removes_and_saves_no_file(runs_on_server, postgres):
    folder = runs_on_server.results("tiny")
    with hold_study(runs_on_server, "tiny") as held:
        record, _ = open_records(job(runs_on_server), held)
        trial = record.claim(Phase.SEARCH, CONFIG, 1)
        (folder / ".trial-00000.of another coordinator").mkdir()
        end_session(postgres, runs_on_server.record)
        with hold_study(runs_on_server, "tiny"):
            with pytest.raises(LostStudyError):
                recover(record, folder)
            with pytest.raises(LostStudyError):
                handle_death(record, trial.key, "out of memory", MAX_DEATHS, folder)
    assert [path.name for path in folder.iterdir()] == [".trial-00000.of another coordinator"]


def test_a_record_that_is_opened_to_read_cannot_be_changed(runs_on_server, postgres):
    with pytest.raises(MissingRunsError, match=r"holds no study; run one first"):
        open_to_read(postgres.new_database("template1"))
    with hold_study(runs_on_server, "tiny") as held:
        record, _ = open_records(job(runs_on_server), held)
        record.claim(Phase.SEARCH, CONFIG, 1)
    storage = open_to_read(runs_on_server.record)
    [trial] = storage.get_all_trials(storage.get_study_id_from_name("tiny"))
    with pytest.raises(StorageInternalError) as error:
        storage.set_trial_user_attr(trial._trial_id, "changed", True)
    assert "read-only transaction" in str(error.value.__cause__)
