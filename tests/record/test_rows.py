import math

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from sweep.record import rows
from sweep.record.rows import read_trials


@pytest.fixture
def storage(tmp_path):
    """A database with two studies, and trials of every kind in the first."""
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path / 'optuna.db'}")
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
