"""The model of learning curves, against the same posterior computed without its shortcuts."""

import math

import numpy as np
import pytest

from sweep.search.curve_model import ALPHA, LENGTH, NOISE, OWN, SMOOTH, VAGUE, CurveModel
from sweep.search.freeze_thaw import choose

LAST = 20


def matern(a, b):
    r = math.sqrt(5) * math.dist(a, b) / LENGTH
    return (1 + r + r * r / 3) * math.exp(-r)


def posterior(points, curves, candidates, own):
    """Mean and covariance of (last, slope) summed at the last epoch: every epoch is an observation, every entry a sum."""
    level = np.mean([curve[0] for curve in curves]) - 0.5
    rows = [(i, np.array([1, t**-ALPHA - LAST**-ALPHA])) for i, c in enumerate(curves) for t in range(1, len(c) + 1)]
    observed = np.concatenate(curves) - level
    last = np.array([1.0, 0.0])

    def prior(place, h, who, other_place, other_h, other):
        shared = h @ SMOOTH @ other_h * matern(place, other_place) + h @ VAGUE @ other_h
        return shared + (h @ OWN @ other_h if who == other else 0)

    asked = [(candidates[j], last, int(own[j]) if own[j] >= 0 else f"fresh {j}") for j in range(len(candidates))]
    seen = [(points[i], h, i) for i, h in rows]
    among = np.array([[prior(*a, *b) for b in seen] for a in seen]) + NOISE**2 * np.eye(len(seen))
    across = np.array([[prior(*a, *b) for b in asked] for a in seen])
    mean = across.T @ np.linalg.solve(among, observed) + level
    covariance = np.array([[prior(*a, *b) for b in asked] for a in asked]) - across.T @ np.linalg.solve(among, across)
    return mean, covariance


@pytest.fixture
def seen():
    rng = np.random.default_rng(3)
    points = rng.random((5, 3))
    curves = [rng.normal(-2, 0.4) + np.arange(1, n + 1) ** -ALPHA + rng.normal(0, 0.05, n) for n in (1, 20, 1, 7, 2)]
    candidates = np.vstack([points, rng.random((4, 3))])
    return points, curves, candidates, np.array([0, 1, 2, 3, 4, -1, -1, -1, -1])


def test_the_forecast_is_the_posterior_of_every_epoch_as_an_observation(seen):
    points, curves, candidates, own = seen
    forecast = CurveModel(points, curves, LAST).forecast(candidates, own)
    mean, covariance = posterior(*seen)
    assert forecast.mean == pytest.approx(mean)
    scale = forecast.variance[0] / covariance[0, 0]  # one for all, estimated from the curves
    assert forecast.variance == pytest.approx(scale * np.diag(covariance))
    for j in (0, 6):
        assert forecast.covariance_with([j])[0] == pytest.approx(scale * covariance[:, j])


def test_costs_that_spread_wider_than_believed_make_the_forecast_less_sure():
    rng = np.random.default_rng(0)
    points = rng.random((30, 2))

    def variance_where_the_costs_spread(deviation):
        curves = [np.array([-2 + deviation * z]) for z in rng.standard_normal(30)]
        return CurveModel(points, curves, LAST).forecast(np.full((1, 2), 9.0), np.full(1, -1)).variance[0]

    assert variance_where_the_costs_spread(50.0) > 100 * variance_where_the_costs_spread(0.5)


def test_what_runs_is_taken_to_bring_what_is_expected_so_that_the_next_is_chosen_elsewhere():
    points = np.array([[0.2], [0.9]])
    curves = [np.array([-2.0]), np.array([-1.6])]
    candidates = np.array([[0.2], [0.9], [0.21], [0.55]])
    forecast = CurveModel(points, curves, LAST).forecast(candidates, np.array([0, 1, -1, -1]))
    is_open = np.array([False, False, True, True])
    alone = choose(forecast, is_open, [], best=-2.2)
    beside = choose(forecast, is_open, [0], best=-2.2)
    assert (alone, beside) == (2, 3)


def test_the_best_expectation_is_chosen_where_there_is_nothing_to_improve_on():
    forecast = CurveModel(np.array([[0.2]]), [np.array([-2.0])], LAST).forecast(
        np.array([[0.2], [0.3], [0.9]]), np.array([0, -1, -1])
    )
    assert choose(forecast, np.array([True, True, True]), [], best=math.inf) == int(forecast.mean.argmin())
