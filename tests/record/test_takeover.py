"""Taking over from a study whose file was changed."""

import pytest

from sweep.errors import ChangedStudyError, MissingRunsError
from sweep.record import results
from sweep.track.runs import read_study
from sweep.trial import Phase, State
from tests.studies import fake_sweep, tiny_table

WIDER = {**tiny_table()["space"], "units": {"int": [4, 64]}}
BUDGET = {**tiny_table()["search"], "trials": 9}


def fork(runs, table, name="tiny"):
    started = []
    fake_sweep(runs, table, fork=name, watch=lambda trial, event: started.append(trial) if event is None else None)
    return [trial for trial in started if trial.phase != Phase.CONFIRM]


def test_finished_trials_of_a_narrower_space_are_taken_over_and_the_rest_is_searched(runs):
    fake_sweep(runs)
    old = read_study(runs, "tiny").searched
    n_old = sum(one.state == State.COMPLETE for one in old)
    started = fork(runs, tiny_table(name="wider", space=WIDER, search=BUDGET))
    new = read_study(runs, "wider").searched
    assert len(new) == 1 + 9
    assert len(started) == 1 + 9 - n_old
    taken = [one for one in new if "taken_over_from" in one.provenance]
    assert len(taken) == n_old
    by_config = {one.trial.config: one.metrics["val_accuracy"] for one in old}
    assert all(one.metrics["val_accuracy"] == by_config[one.trial.config] for one in taken)


def test_a_trial_outside_the_new_space_is_left_where_it_is(runs):
    fake_sweep(runs)
    narrow = {**tiny_table()["space"], "hidden_layers": 1}
    fork(runs, tiny_table(name="narrow", space=narrow, search=BUDGET))
    searched = read_study(runs, "narrow").searched
    assert {one.trial.config.hidden_layers for one in searched if one.trial.phase == Phase.SEARCH} == {1}


def test_no_more_is_taken_over_than_the_budget_asks_for(runs):
    fake_sweep(runs)
    fork(runs, tiny_table(name="smaller", search={**BUDGET, "trials": 1}))
    assert sum(one.trial.phase == Phase.SEARCH for one in read_study(runs, "smaller").searched) == 1


def test_what_was_trained_otherwise_is_refused_with_the_reason(runs):
    fake_sweep(runs)
    with pytest.raises(
        ChangedStudyError, match=r"nothing of study 'tiny' can be taken over.*training\.max_epochs: 5 -> 6"
    ):
        fork(runs, tiny_table(name="longer", training={"max_epochs": 6}))


def test_a_study_that_is_not_there_or_is_this_one_is_refused(runs):
    with pytest.raises(MissingRunsError, match="holds no study 'gone'"):
        fork(runs, tiny_table(name="new"), "gone")
    with pytest.raises(ChangedStudyError, match="give the study file another name"):
        fork(runs, tiny_table(), "tiny")


@pytest.mark.slow
def test_a_fork_that_was_cut_is_completed_by_the_same_command(runs, monkeypatch):
    fake_sweep(runs)
    table = tiny_table(name="wider", space=WIDER, search=BUDGET)
    save, left = results.save, iter([True])

    class Crash(Exception):
        """Stands for a SIGKILL."""

    def cut(folder, result, write_files):
        if next(left, None) is None:
            raise Crash
        return save(folder, result, write_files)

    with monkeypatch.context() as patched:
        patched.setattr(results, "save", cut)
        with pytest.raises(Crash):
            fork(runs, table)
    fork(runs, table)
    new = read_study(runs, "wider").searched
    assert len({one.trial.key for one in new}) == len({one.trial.config for one in new}) == len(new) == 1 + 9
