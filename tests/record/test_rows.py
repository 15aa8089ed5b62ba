import math
import sqlite3
from contextlib import closing
from datetime import datetime

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState, create_trial

from sweep.record import rows
from sweep.record.rows import Storage, read_trials


@pytest.fixture
def storage(tmp_path):
    """A database with two studies, and trials of every kind in the first."""
    storage = Storage(f"sqlite:///{tmp_path / 'optuna.db'}")
    first, second = (optuna.create_study(storage=storage, study_name=name) for name in ("first", "second"))
    for trial in (
        create_trial(state=TrialState.RUNNING, user_attrs={"trial": {"seed": 1}}),
        create_trial(value=0.1, user_attrs={"trial": {"seed": 2}, "attempt": 3}, intermediate_values={1: 0.5, 3: 0.25}),
        create_trial(state=TrialState.PRUNED, intermediate_values={1: math.inf, 2: -math.inf, 3: math.nan}),
        create_trial(value=math.inf),
        create_trial(state=TrialState.FAIL, user_attrs={"reason": "nan: \u00fc"}),
    ):
        first.add_trial(trial)
        second.add_trial(create_trial(value=9.0, user_attrs={"of": "another"}))
    return storage


def test_rows_say_what_optuna_says(storage, monkeypatch):
    of_rows = read_trials(storage, storage.get_study_id_from_name("first"))
    monkeypatch.setattr(rows, "TESTED_REVISION", "another")
    of_optuna = read_trials(storage, storage.get_study_id_from_name("first"))
    assert str(of_rows) == str(of_optuna)  # as text: NaN differs from itself
    assert [one.state.name for one in of_rows] == ["RUNNING", "COMPLETE", "PRUNED", "COMPLETE", "FAIL"]


def test_the_schema_that_is_installed_is_the_one_that_was_tested(storage):
    assert storage.get_current_version() == rows.TESTED_REVISION


def test_a_study_without_trials_has_none(storage):
    optuna.create_study(storage=storage, study_name="empty")
    assert read_trials(storage, storage.get_study_id_from_name("empty")) == []


def write(db):
    """Write a trial of every kind; return all rows but times."""
    storage = Storage(f"sqlite:///{db}")
    study = optuna.create_study(storage=storage, study_name="first")
    study_id = storage.get_study_id_from_name(study.study_name)
    kinds = {"depth": CategoricalDistribution([1, 2]), "rate": FloatDistribution(0.1, 1.0, log=True)}
    claimed = create_trial(
        state=TrialState.RUNNING,
        params={"depth": 2, "rate": 0.5},
        distributions=kinds,
        user_attrs={"trial": {"seed": 1}},
    )
    ids = [storage.add_trial(study_id, number, claimed) for number in range(4)]
    ids.append(storage.add_trial(study_id, 4, create_trial(state=TrialState.RUNNING, user_attrs={"trial": {}})))
    storage.put_attribute(ids[0], "attempt", 2)
    storage.put_attribute(ids[0], "attempt", 3)
    storage.add_point(ids[0], 1, 0.25)
    storage.end_trial(ids[0], TrialState.COMPLETE, 0.125, {"course": {"n_epochs": 2}})
    with storage.one_transaction():
        storage.add_point(ids[1], 1, 0.5)
        storage.end_trial(ids[1], TrialState.PRUNED, 0.5, {"course": {"n_epochs": 1}})
        storage.end_trial(ids[2], TrialState.FAIL, None, {"course": {}, "reason": "nan"})
    with pytest.raises(UpdateFinishedTrialError):
        storage.end_trial(ids[2], TrialState.COMPLETE, 0.1, {})
    tables = ("trials", "trial_params", "trial_values", "trial_intermediate_values", "trial_user_attributes")
    with closing(sqlite3.connect(db)) as connection:
        times = connection.execute("SELECT datetime_start, datetime_complete FROM trials").fetchall()
        rows = {name: connection.execute(f"SELECT * FROM {name} ORDER BY 1").fetchall() for name in tables}
    rows["trials"] = [row[:-2] for row in rows["trials"]]
    return rows, [[None if one is None else len(one) for one in row] for row in times]


def test_rows_are_what_optuna_would_have_left(tmp_path, monkeypatch):
    by_rows = write(tmp_path / "rows.db")
    monkeypatch.setattr(rows, "TESTED_REVISION", "another")
    assert write(tmp_path / "optuna.db") == by_rows


def test_times_are_in_utc_as_optuna_reads_them(storage):
    study_id = storage.get_study_id_from_name("first")
    before = datetime.now()
    trial_id = storage.add_trial(study_id, 5, create_trial(state=TrialState.RUNNING))
    assert before <= storage.get_trial(trial_id).datetime_start <= datetime.now()
