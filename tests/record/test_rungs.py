import random

import pytest

from sweep.record.rungs import Rungs


@pytest.mark.parametrize(("objective", "sign"), [("val_accuracy", -1), ("val_loss", 1)])
def test_costs_are_sorted_in_whatever_order_trials_arrive(objective, sign):
    values = [i / 50 for i in range(50)]
    random.Random(1).shuffle(values)
    rungs = Rungs(objective)
    for i, value in enumerate(values):
        rungs.add(2, f"trial-{i}", value)
        assert list(rungs.costs_at(2)) == sorted(sign * one for one in values[: i + 1])
    assert list(rungs.values_at(2).values()) == values


def test_a_trial_is_worth_what_it_was_at_the_last_rung_that_it_reached():
    rungs = Rungs("val_accuracy")
    for rung, key, value in [(1, "a", 0.1), (2, "a", 0.2), (1, "b", 0.3)]:
        rungs.add(rung, key, value)
    assert [rungs.last_value(key) for key in "abc"] == [0.2, 0.3, None]


def test_nan_is_refused():
    with pytest.raises(ValueError, match="trial-00001 has reached epoch 3 with NaN"):
        Rungs("val_loss").add(3, "trial-00001", float("nan"))
