"""Statistics over replicates: means and paired comparisons. Pure: numbers in, numbers out."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from sweep.report.interval import LEVEL, NO_INTERVAL, Interval
from sweep.study.objective import format_metric

POWER = 0.8  # of the test with "about N replicates"
MAX_REPLICATES = 1000  # proposed at most
TOO_MANY = MAX_REPLICATES + 1


@dataclass(frozen=True)
class Summary:
    """Mean, standard deviation (n - 1 in the denominator) and 95 % interval of the mean over replicates.

    Deviation and interval are NaN where n is too small for them.
    """

    n: int
    mean: float
    sd: float
    interval: Interval
    metric: str = ""  # which says how values are shown

    @property
    def text(self) -> str:
        """Format mean and deviation, such as `0.9832 ± 0.0007`."""
        return self.show(self.mean) + ("" if math.isnan(self.sd) else f" ± {self.show(self.sd)}")

    @property
    def interval_text(self) -> str | None:
        """Format the interval, such as `0.9851 to 0.9893`; None where there is none."""
        low, high = self.interval
        return None if math.isnan(low) else f"{self.show(low)} to {self.show(high)}"

    def show(self, value: float) -> str:
        return format_metric(self.metric, value)


def summarise(
    values: Sequence[float], to_interval: Callable[[Sequence[float]], Interval], metric: str = ""
) -> Summary | None:
    """Summarise the values that are numbers; None where there is none. to_interval: gives their interval if they are several."""
    numbers = [value for value in values if not math.isnan(value)]
    if not numbers:
        return None
    if len(numbers) == 1:
        return Summary(1, numbers[0], math.nan, NO_INTERVAL, metric)
    mean, deviation = float(np.mean(numbers)), float(np.std(numbers, ddof=1))
    return Summary(len(numbers), mean, deviation, to_interval(numbers), metric)


@dataclass(frozen=True)
class Comparison:
    """The difference of two configs in the mean score of the same test rows, over replicates of both."""

    difference: float  # of the mean scores, first minus second: of accuracies, or of R^2
    p: float  # two-sided, of no difference over new seeds and new rows; NaN where a side has one replicate
    n: int  # replicates of the side that has fewer
    # Replicates of each side that would tell a difference of this size, TOO_MANY if more than MAX_REPLICATES would; None: no
    # number would, or there is no difference.
    n_needed: int | None


Scores = NDArray[np.bool_] | NDArray[np.float64]


def compare(first: Scores, second: Scores) -> Comparison:
    """Test whether two configs differ, paired by row. Arrays hold a score of each row, shape (replicates, rows).

    The score is whether the row was right, or 1 less its squared error over the labels' variance, whose mean is R^2.

    Both the seeds and the rows are samples: other seeds, and other rows, would have given another difference. So the
    variance of the difference is that of Welch's test over replicates, s1^2/n1 + s2^2/n2, plus what the choice of rows
    adds beyond chance (the variance over rows of the difference of mean scores, over the number of rows, less
    the part that is noise within a replicate); degrees of freedom are Welch and Satterthwaite's. This is the analysis of
    multiple readers and cases, with seeds for readers (Obuchowski and Rockette 1995; Hillis 2007, Statistics in Medicine
    26:596). Why not others: McNemar's test on majorities compares ensembles, which nobody deploys, and ignores seeds; the
    bootstrap over seeds and rows counts the noise twice (Owen 2007, Annals of Applied Statistics 1:386), and rejects
    1 % of equal pairs where 5 % are meant. tests/report/test_compare.py holds this one to 5 %, for either score. It tests
    squared errors as Diebold and Mariano 1995 (Journal of Business and Economic Statistics 13:253) do, with seeds as a
    second sample.
    """
    of_seeds, of_noise = zip(_variances(first), _variances(second), strict=True)
    per_row = first.mean(axis=0) - second.mean(axis=0)
    difference, n_rows = float(per_row.mean()), len(per_row)
    counts = np.array([len(first), len(second)])
    of_rows = max(0.0, float(per_row.var(ddof=1) / n_rows - sum(of_noise / counts / n_rows)))
    if counts.min() < 2:
        return Comparison(difference, math.nan, int(counts.min()), None)
    parts = np.array(of_seeds) / counts
    variance = of_rows + parts.sum()
    if variance == 0:  # every replicate of both says the same of every row
        n = int(counts.min())
        return Comparison(difference, 1.0 if difference == 0 else 0.0, n, n if difference else None)
    freedom = variance**2 / ((parts**2 / (counts - 1)).sum() + of_rows**2 / (n_rows - 1))
    p = 2 * float(stats.t.sf(abs(difference) / math.sqrt(variance), freedom))
    return Comparison(difference, p, int(counts.min()), _n_needed(difference, of_rows, sum(of_seeds)))


def _variances(scores: Scores) -> tuple[float, float]:
    """Return two variances: of the mean score between replicates, and the residual of scores in the two-way layout of both."""
    n, n_rows = scores.shape
    if n < 2:
        return math.nan, math.nan
    of_replicate, per_row = scores.mean(axis=1), scores.mean(axis=0)
    total = np.square(scores, dtype=np.float64).sum()
    squares = total - n * (per_row**2).sum() - n_rows * (of_replicate**2).sum() + scores.size * scores.mean() ** 2
    return float(of_replicate.var(ddof=1)), float(squares / ((n - 1) * (n_rows - 1)))


def _n_needed(difference: float, of_rows: float, of_seeds: float) -> int | None:
    """Count the replicates of each side that would tell a difference as large as this one, with power POWER."""
    if abs(difference) < _DIFFERS:
        return None
    tells = abs(difference) >= _DISTANCES * np.sqrt(of_rows + of_seeds / _COUNTS)
    if tells.any():
        return int(_COUNTS[tells][0])
    return TOO_MANY if abs(difference) > _LEAST_DISTANCE * math.sqrt(of_rows) else None


_COUNTS = np.arange(2, MAX_REPLICATES + 1)
# Standard errors between a difference and zero that the test needs, by replicates of each side.
_DISTANCES = stats.t.ppf(1 - LEVEL / 2, 2 * (_COUNTS - 1)) + stats.t.ppf(POWER, 2 * (_COUNTS - 1))
_LEAST_DISTANCE = float(stats.norm.ppf(1 - LEVEL / 2) + stats.norm.ppf(POWER))  # with replicates without end
_DIFFERS = 1e-12  # a smaller difference is one of rounding alone


def holm(ps: Sequence[float]) -> list[float]:
    """Correct p-values for their number (Holm 1979, Scandinavian Journal of Statistics 6:65). NaN stays, and does not count."""
    order = sorted((i for i, p in enumerate(ps) if not math.isnan(p)), key=lambda i: ps[i])
    corrected: list[float] = [math.nan] * len(ps)
    largest = 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * ps[i]))
        corrected[i] = largest
    return corrected


def word_verdict(comparison: Comparison, p: float, n_rows: int) -> str:
    """Put a comparison into words; p: corrected."""
    if math.isnan(p):
        return "cannot be compared: it takes two replicates of each"
    if p < LEVEL:
        return f"differs ({_p_text(p)})"
    told = f"cannot be told apart with n = {comparison.n} ({_p_text(p)})"
    if abs(comparison.difference) < _DIFFERS:
        return told
    if comparison.n_needed is None:
        return f"{told}; on {n_rows} test rows no number of replicates would tell a difference as small as this"
    is_too_many = comparison.n_needed == TOO_MANY
    number = f"more than {MAX_REPLICATES}" if is_too_many else f"about {comparison.n_needed}"
    return f"{told}; {number} replicates of each would be needed"


def _p_text(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
