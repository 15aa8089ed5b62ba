import pytest

from sweep.search.pruner import survives_rung
from sweep.study.search import Pruner


def pruner(kind, reduction_factor=3):
    return Pruner(kind=kind, rungs=(1,), reduction_factor=reduction_factor)


@pytest.mark.parametrize(
    ("peers", "survives"),
    [
        ([1, 2, 3], True),
        ([2, 1, 3], False),
        ([2, 2, 2], True),
        ([5], True),
        ([5, 4], False),
        ([2, 1, 3, 4, 5, 6], True),
    ],
)
def test_the_best_third_survives_a_rung_of_halving(peers, survives):
    assert survives_rung(peers[0], sorted(peers), pruner("halving")) is survives


@pytest.mark.parametrize(
    ("peers", "survives"),
    [([2, 1, 3], True), ([3, 1, 2], False), ([2, 1, 3, 4], True), ([3, 1, 2, 4], False), ([7], True)],
)
def test_the_better_half_survives_a_rung_of_median(peers, survives):
    assert survives_rung(peers[0], sorted(peers), pruner("median")) is survives


@pytest.mark.parametrize("kind", ["halving", "median"])
def test_the_best_trial_survives_whoever_came_before(kind):
    for n in range(1, 30):
        assert survives_rung(0.0, [0.0, *range(1, n)], pruner(kind))
