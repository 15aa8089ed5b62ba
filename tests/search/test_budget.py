"""What a search may spend: nothing exceeds it, whatever is cut off, and what is left over is too little for a trial."""

import math

import pytest

from sweep.errors import Interrupted, InvalidStudyError
from sweep.execute.fake import CLOCK_START, plausible_logs
from sweep.execute.tabular import TabularExecutor, VirtualClock
from sweep.loop import run_trials
from sweep.record.trials import Record
from sweep.search.budget import measure_union
from sweep.search.freeze_thaw import may_probe
from sweep.search.sources import SearchSource
from sweep.study.file import parse_study
from sweep.trial import Phase, State
from tests.studies import FACTS, tiny_table

N_EPOCHS = 6


def flat_logs(config, seed, epoch):
    return {name: 0.5 for name in plausible_logs(config, seed, epoch)}


def search(
    runs, *, n_slots=1, n_events=math.inf, patience=None, clock=None, baselines=None, curve=plausible_logs, **budget
):
    """Run a search until it ends or `n_events` have passed. Return its record."""
    stopping = {"monitor": "val_accuracy", "patience": patience} if patience else None
    training = {"max_epochs": N_EPOCHS} | ({"early_stopping": stopping} if stopping else {})
    study = parse_study(tiny_table(training=training, search=budget, baselines=baselines), "tiny.toml")
    clock = clock or VirtualClock()
    folder = runs.results("tiny")
    record = Record.open(runs.optuna_db, study, Phase.SEARCH, FACTS)
    events = iter(range(10**9))
    run_trials(
        SearchSource(study, record, folder, clock),
        lambda: TabularExecutor(folder, study.training, curve, n_slots, clock),
        lambda trial, result: None,
        lambda trial, event: None,
        lambda: next(events) >= n_events,
    )
    return record


def spent(record):
    return sum(r.course.n_epochs for r in record.trials.values() if r.trial.phase == Phase.SEARCH)


@pytest.mark.parametrize("sampler", ["freeze_thaw", "tpe", "random"])
@pytest.mark.parametrize("n_slots", [1, 2, 5])
def test_epochs_are_not_exceeded_and_what_is_left_is_too_little_for_a_training(runs, sampler, n_slots):
    n = spent(search(runs, n_slots=n_slots, epochs=47, sampler=sampler))
    assert 47 - N_EPOCHS < n <= 47


def test_epochs_that_early_stopping_saves_are_spent_on_more_trials(runs):
    record = search(runs, epochs=60, sampler="random", patience=1, curve=flat_logs)
    assert 60 - N_EPOCHS < spent(record) <= 60
    assert len(record.trials) > 2 * 60 // N_EPOCHS


def test_baselines_are_not_counted(runs):
    record = search(runs, epochs=20, baselines=tiny_table()["baselines"])
    assert 20 - N_EPOCHS < spent(record) <= 20
    assert sum(r.trial.phase == Phase.BASELINE for r in record.trials.values()) == 1


def test_whichever_is_spent_first_ends_the_search(runs):
    assert len(search(runs, trials=6, epochs=1000).trials) == 6


def test_a_resumed_search_counts_what_it_has_spent(runs):
    record = search(runs, epochs=30)
    n_before = len(record.trials)
    assert len(search(runs, epochs=30).trials) == n_before
    assert 60 - N_EPOCHS < spent(search(runs, epochs=60)) <= 60


@pytest.mark.parametrize("n_slots", [1, 3])
def test_a_search_that_is_cut_off_again_and_again_does_not_exceed_its_epochs(runs, n_slots):
    for n_events in range(1, 60, 4):
        try:
            search(runs, epochs=40, n_slots=n_slots, n_events=n_events)
        except Interrupted:
            continue
    record = search(runs, epochs=40, n_slots=n_slots)
    assert 40 - N_EPOCHS < spent(record) <= 40
    assert all(r.state is not None for r in record.trials.values())


def test_minutes_end_the_search_and_trials_that_run_are_let_finish(runs):
    clock = VirtualClock()  # an epoch takes a second
    record = search(runs, clock=clock, minutes=0.5, sampler="random")
    assert 30 <= clock.now - CLOCK_START < 30 + N_EPOCHS * 2  # one runs, one is asked ahead
    assert {r.state for r in record.trials.values()} == {State.COMPLETE}


def test_minutes_are_those_of_training_not_those_between_commands(runs):
    clock = VirtualClock()
    n_before = spent(search(runs, clock=clock, minutes=0.5, sampler="random"))
    clock.now += 10_000
    assert spent(search(runs, clock=clock, minutes=0.5, sampler="random")) == n_before
    clock.now += 10_000
    n_after = spent(search(runs, clock=clock, minutes=1.0, sampler="random"))
    assert n_before + 30 - N_EPOCHS * 2 <= n_after <= n_before + 30 + N_EPOCHS * 2


@pytest.mark.parametrize("budget", [{"trials": 4}, {"trials": 9}, {"epochs": 14}, {"epochs": 31}, {"minutes": 0.4}])
def test_a_small_budget_is_not_spent_on_probes_alone(runs, budget):
    record = search(runs, **budget)
    complete = {r.trial.config.hidden_layers for r in record.trials.values() if r.state == State.COMPLETE}
    assert complete == {1, 2}


def test_a_single_trial_is_trained_to_its_end(runs):
    (only,) = search(runs, trials=1).trials.values()
    assert only.state == State.COMPLETE


def test_trials_that_ran_side_by_side_are_not_counted_twice():
    assert measure_union([(0, 10), (5, 12), (20, 21), (20, 20.5)]) == 13
    assert measure_union([]) == 0


@pytest.mark.parametrize(
    ("left", "is_unprobed", "is_allowed"),
    [
        (7, [], True),  # all groups have a whole training; a probe and a promotion fit
        (6, [], False),
        (14, [True, True], True),  # two probes and two trainings
        (13, [False, True], True),
        (12, [False, False], False),
        (13, [False, False], True),
        (7, [True, True], True),  # enough for one of two groups
        (6, [False, True], False),
        (math.inf, [True, True], True),
    ],
)
def test_a_probe_leaves_enough_to_train_a_config_of_every_group(left, is_unprobed, is_allowed):
    assert may_probe(left, 1, 6, is_unprobed) == is_allowed


def test_a_budget_that_no_training_fits_in_is_refused():
    with pytest.raises(InvalidStudyError, match=r"search\.epochs is 6, wanted 7 or more"):
        parse_study(tiny_table(training={"max_epochs": N_EPOCHS}, search={"epochs": 6}), "tiny.toml")
