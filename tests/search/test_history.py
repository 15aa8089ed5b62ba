import random

import pytest
from optuna.trial import TrialState

from sweep.search.history import History, Limits
from sweep.study.config import Config
from sweep.study.file import parse_study
from sweep.trial import Phase, State, Trial
from tests.studies import tiny_table

STUDY = parse_study(tiny_table(), "tiny.toml")
LIMITS = Limits(best=5, drawn=20, running=3)


def trial(number):
    config = Config(units=(4 + number % 29,), dropout=0.1, batch_size=32, learning_rate=0.001)
    return Trial(number=number, phase=Phase.SEARCH, config=config, seed=number)


def value(number):
    return number * 7 % 101 / 101


def history_of(numbers, n_trials):
    """Start trials 0 to n_trials; end those given, in that order."""
    history = History(STUDY, LIMITS)
    for number in range(n_trials):
        history.start(trial(number))
    for number in numbers:
        history.end(trial(number).key, State.COMPLETE, value(number))
    return history


def numbers_of(shown):
    return [one.number - 1 for one in shown]


def test_few_trials_are_all_shown_by_number():
    shown = history_of([4, 2, 0], 6).show()
    assert numbers_of(shown) == [0, 2, 4, 1, 3, 5]
    assert [one.value for one in shown[:3]] == [value(0), value(2), value(4)]
    assert {one.state for one in shown[3:]} == {TrialState.RUNNING}


def test_of_many_a_bounded_number_is_shown_the_best_among_them():
    shown = history_of(range(101), 110).show()
    assert len(shown) <= LIMITS.best + LIMITS.drawn + LIMITS.running
    best = sorted(range(101), key=value, reverse=True)[: LIMITS.best]
    assert set(best) <= set(numbers_of(shown))
    assert numbers_of(shown)[-LIMITS.running :] == [107, 108, 109]


def test_what_is_shown_does_not_depend_on_who_ended_first():
    numbers = list(range(101))
    expected = numbers_of(history_of(numbers, 101).show())
    for seed in range(5):
        random.Random(seed).shuffle(numbers)
        assert numbers_of(history_of(numbers, 101).show()) == expected


def test_the_sample_is_drawn_from_early_and_late_trials_alike():
    drawn = []
    for start in range(0, 1000, 100):  # ten samples
        history = History(STUDY, LIMITS)
        for number in range(start, start + 100):
            history.start(trial(number))
            history.end(trial(number).key, State.COMPLETE, 0.5)
        drawn += [number - start for number in numbers_of(history.show())]
    assert 40 < sum(drawn) / len(drawn) < 60


def test_pruned_trials_rank_behind_complete_ones_by_the_rung_they_reached():
    history = History(STUDY, Limits(best=3, drawn=0, running=0))
    for number, (state, at_rungs, last) in enumerate(
        [
            (State.PRUNED, {1: 0.9}, 0.9),
            (State.PRUNED, {1: 0.2, 2: 0.3}, 0.3),
            (State.COMPLETE, {1: 0.1, 2: 0.1}, 0.1),
            (State.PRUNED, {1: 0.8}, 0.8),
            (State.FAILED, {1: 0.99}, None),
        ]
    ):
        history.start(trial(number))
        for rung, at_rung in at_rungs.items():
            history.report(trial(number).key, rung, at_rung)
        history.end(trial(number).key, state, last)
    shown = history.show()
    assert numbers_of(shown) == [0, 1, 2]
    assert [one.intermediate_values for one in shown] == [{1: 0.9}, {1: 0.2, 2: 0.3}, {1: 0.1, 2: 0.1}]


def test_what_can_no_longer_be_shown_is_forgotten():
    history = history_of(range(1000), 1000)
    assert len(history._best) + len(history._drawn) == LIMITS.best + LIMITS.drawn
    assert not history._running
    assert not history._at_rungs


@pytest.mark.parametrize("n", [0, 1])
def test_none_or_one_is_shown(n):
    assert len(history_of(range(n), n).show()) == n
