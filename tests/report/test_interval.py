"""The interval of an accuracy: its coverage at points of the grid of `tests/bench/interval_coverage.py`, and its edges."""

import math

import numpy as np
import pytest

from sweep.report.interval import (
    NO_INTERVAL,
    accuracy_interval,
    accuracy_interval_of_means,
    error_interval,
    loss_interval,
)
from tests.bench.interval_coverage import AT_LEAST, AT_MOST, Population, simulate


@pytest.mark.parametrize("n", [2, 3, 5, 10])
@pytest.mark.parametrize(
    ("population", "rows"),
    [
        (Population(0.9, correlation=0.6, spread=0.02), (100, 1000, 10_000)),
        (Population(0.7, correlation=0.0, spread=0.01), (100, 1000, 10_000)),
        (Population(0.5, correlation=1.0, spread=0.0), (100, 1000)),
    ],
    ids=str,
)
def test_it_holds_the_accuracy_as_often_as_it_says(n, population, rows):
    for cell in simulate(population, n, rows, n_studies=2000):
        assert AT_LEAST <= cell.coverage <= AT_MOST + 2 * cell.error, cell


@pytest.mark.parametrize("n", [2, 5])
@pytest.mark.parametrize("accuracy", [0.99, 0.999])
def test_it_holds_an_accuracy_near_1_on_few_rows(n, accuracy):
    for cell in simulate(Population(accuracy, correlation=0.6, spread=0.0), n, (30, 100, 1000), n_studies=2000):
        assert cell.coverage >= AT_LEAST - cell.error, cell


def test_the_simulation_can_fail():
    """Student's interval of the mean over replicates is of seeds alone, and covers too little."""
    rng = np.random.default_rng(0)
    rows = rng.beta(0.9 * 0.67, 0.1 * 0.67, (1000, 100, 1))
    accuracies = (rng.random((1000, 100, 5)) < rows).mean(axis=1)
    half = 2.776 * accuracies.std(axis=1, ddof=1) / math.sqrt(5)
    assert np.mean(abs(accuracies.mean(axis=1) - 0.9) < half) < 0.8


@pytest.mark.parametrize("n", [2, 3, 10])
def test_it_has_a_width_where_every_row_is_right_in_every_replicate(n):
    low, high = accuracy_interval(np.ones((n, 70), bool))
    assert high == 1
    assert 0.94 < low < 0.96, "the rule of three says about 1 - 3 / 70"
    assert accuracy_interval(np.zeros((n, 70), bool)) == (0, pytest.approx(1 - low))


def test_it_lies_in_0_to_1_around_the_mean():
    rng = np.random.default_rng(4)
    for _ in range(300):
        right = rng.random((rng.integers(2, 6), rng.integers(2, 60))) < rng.choice([0.02, 0.5, 0.9, 0.99])
        low, high = accuracy_interval(right)
        assert 0 <= low <= right.mean() <= high <= 1
        assert low < high


def test_replicates_that_disagree_widen_it_and_more_rows_narrow_it():
    alike = np.tile(np.arange(100) < 90, (4, 1))
    apart = np.array([np.arange(100) < n_right for n_right in (80, 87, 93, 100)])
    assert _width(accuracy_interval(alike)) < _width(accuracy_interval(apart))
    assert _width(accuracy_interval(np.tile(alike, 10))) < _width(accuracy_interval(alike)) / 2.5


def test_of_replicates_that_agree_on_every_row_it_is_wilson_s_interval_for_the_rows():
    # Wilson (1927), JASA 22:209: 90 of 100 right, at the quantile of Student's t for 99 degrees of freedom.
    t = 1.9842
    centre, half = (0.9 + t**2 / 200) / (1 + t**2 / 100), t * math.sqrt(0.09 / 100 + t**2 / 40000) / (1 + t**2 / 100)
    found = accuracy_interval(np.tile(np.arange(100) < 90, (3, 1)))
    assert found == (pytest.approx(centre - half, abs=1e-3), pytest.approx(centre + half, abs=1e-3))


def test_one_replicate_has_none_as_it_says_nothing_of_the_spread_over_seeds():
    assert accuracy_interval(np.ones((1, 70), bool)) is NO_INTERVAL
    assert accuracy_interval_of_means([0.9], 70) is NO_INTERVAL
    assert loss_interval([0.1]) is NO_INTERVAL


def test_without_rows_it_is_that_of_replicates_that_agree_on_every_row():
    right = np.tile(np.arange(100) < 90, (3, 1))
    assert accuracy_interval_of_means([0.9, 0.9, 0.9], 100) == pytest.approx(accuracy_interval(right), abs=1e-3)
    low, high = accuracy_interval_of_means([0.3, 0.9333], 30)  # Student's: -3.4070 to 4.6403
    assert 0 <= low < 0.3 < 0.95 < high <= 1
    assert accuracy_interval_of_means([1.0, 1.0], 70)[0] < 0.96


def test_the_interval_of_a_loss_stays_above_0():
    low, high = loss_interval([0.1, 1.2])
    assert 0 < low < 0.65 < high
    # Where the spread is small, it is Student's: 0.0620 ± 4.303 * 0.001 / sqrt(3).
    assert loss_interval([0.061, 0.062, 0.063]) == (pytest.approx(0.05957, abs=6e-5), pytest.approx(0.06453, abs=6e-5))
    assert loss_interval([0.0, 0.0]) == (0, 0)


def _width(interval):
    return interval[1] - interval[0]


def draw_errors(rng, n, n_rows, of_seeds, tails):
    """Squared errors of replicates on rows that are hard and easy for all of them; and their expected mean."""
    rows = rng.laplace(0, math.sqrt(0.5), n_rows) if tails else rng.normal(0, 1, n_rows)
    seeds = np.exp(rng.normal(0, of_seeds, (n, 1)))
    return ((rows + rng.normal(0, 0.3, (n, n_rows))) * seeds) ** 2, 1.09 * math.exp(2 * of_seeds**2)


@pytest.mark.parametrize("n", [2, 5, 10])
@pytest.mark.parametrize(("n_rows", "tails", "at_least"), [(100, False, 0.92), (1000, False, 0.93), (1000, True, 0.93)])
@pytest.mark.parametrize("of_seeds", [0.0, 0.05])
def test_it_holds_an_error_about_as_often_as_it_says(n, n_rows, tails, at_least, of_seeds):
    rng = np.random.default_rng(7)
    held = []
    for _ in range(600):
        errors, mean = draw_errors(rng, n, n_rows, of_seeds, tails)
        low, high = error_interval(errors)
        held.append(low <= mean <= high)
    assert at_least - 0.01 <= np.mean(held) <= 0.995


def test_the_interval_of_an_error_has_edges():
    assert error_interval(np.ones((1, 70))) is NO_INTERVAL
    assert error_interval(np.zeros((2, 70))) == (0, 0)
    low, high = error_interval(np.random.default_rng(0).exponential(1, (3, 5)))
    assert 0 < low < high
