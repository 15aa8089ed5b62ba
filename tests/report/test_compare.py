"""Statistics against published figures, and against what they promise over many simulated pairs."""

import math

import numpy as np
import pytest
from scipy import stats

from sweep.record.predictions import Values
from sweep.report.compare import MAX_REPLICATES, TOO_MANY, Comparison, compare, holm, summarise, word_verdict
from sweep.report.interval import LEVEL, loss_interval


def test_the_deviation_is_that_of_a_sample_and_the_interval_that_asked_for():
    # Student (1908), Biometrika 6:1, the additional sleep by drug 1 in hours.
    sleep = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    found = summarise(sleep, lambda values: (min(values), max(values)))
    assert (found.n, found.mean) == (10, pytest.approx(0.75))
    assert found.sd == pytest.approx(1.78901, abs=1e-5)
    assert found.interval == (-1.6, 3.7)


def test_one_value_has_no_deviation_and_none_has_no_summary():
    one = summarise([0.5, math.nan], loss_interval)
    assert (one.n, one.mean, one.text) == (1, 0.5, "0.5000")
    assert math.isnan(one.sd)
    assert all(map(math.isnan, one.interval))
    assert summarise([math.nan], loss_interval) is None


def test_holm_gives_the_published_correction():
    # R's p.adjust documentation computes the same for these by method = "holm".
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    corrected = holm([math.nan, 0.04])
    assert math.isnan(corrected[0])
    assert corrected[1] == 0.04


def test_where_rows_add_nothing_it_is_welch_s_test():
    rng = np.random.default_rng(3)
    accuracies = (0.6, 0.7, 0.65, 0.72), (0.8, 0.7, 0.9)
    # Right on an independent draw of rows each time: which images they are does not matter, only how many.
    first, second = (np.array([rng.permutation(np.arange(20000) < a * 20000) for a in side]) for side in accuracies)
    found = compare(first, second)
    welch = stats.ttest_ind(*accuracies, equal_var=False)
    assert found.difference == pytest.approx(np.mean(accuracies[0]) - np.mean(accuracies[1]))
    assert found.p == pytest.approx(welch.pvalue, rel=0.02)


def simulated(rng, n_pairs, n, n_rows, gap=0.0, of_seeds=0.1):
    """Pairs of configs over the same rows: hard and easy ones, each config with a bent of its own, each seed too.

    Shapes (n, n_rows); gap: how much better the first is, in log odds.
    """
    for _ in range(n_pairs):
        rows = rng.normal(6, 2, n_rows)
        yield tuple(
            rng.random((n, n_rows)) < 1 / (1 + np.exp(-(rows + rng.normal(0, 1, n_rows) + rng.normal(of, of_seeds, (n, 1)))))
            for of in (gap, 0.0)
        )  # fmt: skip


@pytest.mark.parametrize(("n", "of_seeds"), [(5, 0.0), (5, 0.15), (3, 0.3)])
def test_equal_configs_are_said_to_differ_in_five_of_a_hundred_pairs(n, of_seeds):
    rng = np.random.default_rng(2019)
    alarms = [compare(*pair).p < LEVEL for pair in simulated(rng, 1000, n, 1000, of_seeds=of_seeds)]
    assert 0.035 <= np.mean(alarms) <= 0.065


def test_the_number_of_replicates_that_it_asks_for_tells_the_difference():
    rng = np.random.default_rng(7)
    [pair] = simulated(rng, 1, 200, 4000, gap=0.6, of_seeds=0.6)
    found = compare(*pair)
    few = compare(pair[0][:4], pair[1][:4])
    assert found.p < LEVEL
    assert 4 < found.n_needed < 200
    n = found.n_needed
    told = [compare(*(side[rng.choice(200, n, replace=False)] for side in pair)).p < LEVEL for _ in range(100)]
    assert np.mean(told) > 0.7
    assert few.n == 4


def test_verdicts_in_words():
    rng = np.random.default_rng(1)
    [better] = simulated(rng, 1, 5, 2000, gap=3.0)
    [alike] = simulated(rng, 1, 5, 2000)
    assert word_verdict(compare(*better), 0.0004, 2000) == "differs (p < 0.001)"
    assert "cannot be told apart with n = 5 (p = 0.412)" in word_verdict(compare(*alike), 0.412, 2000)
    one = compare(better[0][:1], better[1])
    assert math.isnan(one.p)
    assert word_verdict(one, one.p, 2000) == "cannot be compared: it takes two replicates of each"
    same = compare(better[0][:2] | True, better[0][:2] | True)
    assert same.p == 1.0


def test_no_number_of_replicates_is_named_where_there_is_no_difference():
    right = np.random.default_rng(1).random((2, 30)) < 0.8
    for first, second in ((right | True, right | True), (right, right[::-1])):
        found = compare(first, second)
        assert (found.difference, found.n_needed) == (0, None)
        assert word_verdict(found, 1.0, 30) == "cannot be told apart with n = 2 (p = 1.000)"


def test_a_number_that_nobody_would_train_is_not_named():
    needed = Comparison(0.001, 0.9, 2, TOO_MANY)
    words = (
        f"cannot be told apart with n = 2 (p = 0.900); more than {MAX_REPLICATES} replicates of each would be needed"
    )
    assert word_verdict(needed, 0.9, 30) == words


def test_what_more_replicates_than_are_proposed_would_tell_is_told_from_what_none_would():
    seeds = np.random.default_rng(3).normal(0.8, 0.2, (2, 5))
    first, second = (np.array([np.arange(1000) < round(share * 1000) for share in side]) for side in seeds)
    assert compare(first, second).n_needed in range(2, TOO_MANY + 1)


def test_what_no_number_of_replicates_would_tell_is_said():
    rng = np.random.default_rng(5)
    [alike] = simulated(rng, 1, 5, 500, gap=0.05)
    found = compare(*alike)
    assert found.n_needed is None
    assert "on 500 test rows no number of replicates would tell" in word_verdict(found, found.p, 500)


def simulated_errors(rng, n_pairs, n, n_rows, *, of_seeds=0.05, tails=False):
    """Scores of pairs of regressions of equal error over the same rows: each has a bent of its own, each seed too."""
    for _ in range(n_pairs):
        rows = rng.laplace(0, 1, n_rows) if tails else rng.normal(0, 1, n_rows)
        sides = [
            (rows + rng.normal(0, 0.5, n_rows) + rng.normal(0, 0.3, (n, n_rows)))
            * np.exp(rng.normal(0, of_seeds, (n, 1)))
            for _ in "ab"
        ]
        yield tuple(1 - side**2 / 4 for side in sides)


@pytest.mark.parametrize(
    ("n", "of_seeds", "tails"), [(5, 0.0, False), (5, 0.05, False), (3, 0.1, False), (5, 0.05, True)]
)
def test_equal_regressions_are_said_to_differ_in_five_of_a_hundred_pairs(n, of_seeds, tails):
    rng = np.random.default_rng(2026)
    pairs = simulated_errors(rng, 1000, n, 500, of_seeds=of_seeds, tails=tails)
    assert 0.035 <= np.mean([compare(*pair).p < LEVEL for pair in pairs]) <= 0.065


def test_a_smaller_error_is_told_and_the_difference_is_that_of_r2():
    rng = np.random.default_rng(4)
    labels = rng.normal(0, 3, 400)
    better, worse = (
        np.stack([Values.of(labels + rng.normal(0, sd, 400), labels, np.zeros((400, 1))).scores for _ in range(3)])
        for sd in (0.5, 1.0)
    )
    found = compare(better, worse)
    assert found.p < 0.01
    assert found.difference == pytest.approx(0.75 / labels.var(), rel=0.3)
