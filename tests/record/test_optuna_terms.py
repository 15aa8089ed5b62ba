"""A space in Optuna's terms has the values that it has in ours."""

from decimal import Decimal

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.samplers import RandomSampler

from sweep.record.optuna_terms import to_distribution
from sweep.study.space import Float, contains, count, list_values

WIDTHS = [f"{n}e-2" for n in (5, 10, 20, 25, 30, 45, 50, 60, 70, 75, 80, 90, 95)]
STEPS = ["0.01", "0.02", "0.025", "0.03", "0.04", "0.05", "0.07", "0.1", "0.15", "0.2", "0.25", "0.3", "0.125", "0.35"]
LOWS = ["0", "0.05", "0.1", "0.15", "0.001"]


@pytest.mark.parametrize("low", LOWS)
def test_a_stepped_range_has_one_arithmetic(low):
    """Optuna warns where it trims a range, and warnings are errors."""
    for width in WIDTHS:
        for step in STEPS:
            axis = Float(float(low), float(Decimal(low) + Decimal(width)), step=float(step))
            n = int(Decimal(width) // Decimal(step)) + 1
            typed = [float(Decimal(low) + i * Decimal(step)) for i in range(n)]
            assert list(list_values(axis)) == typed
            assert count(axis) == n
            assert all(contains(axis, value) for value in typed)
            assert not contains(axis, float(Decimal(low) + n * Decimal(step)))
            if n > 1:
                distribution = to_distribution(axis)
                assert isinstance(distribution, FloatDistribution)
                assert (distribution.low, distribution.high) == (typed[0], typed[-1])


@pytest.mark.parametrize("step", [0.15, 0.1, 0.07])
def test_what_optuna_draws_of_a_stepped_range_covers_it(step):
    axis = Float(0.0, 0.5, step=step)
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    drawn = {axis.nearest(study.ask({"x": to_distribution(axis)}).params["x"]) for _ in range(200)}
    assert sorted(drawn) == list(list_values(axis))
