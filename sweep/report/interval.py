"""Intervals of means over replicates: of an accuracy or an error, over seeds and rows; of a loss. Pure: numbers in, numbers out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

LEVEL = 0.05  # of every test and interval
Array = NDArray[Any]
Interval = tuple[float, float]
NO_INTERVAL: Interval = (math.nan, math.nan)

_UPPER = 1 - LEVEL / 2
_Z = float(special.ndtri(_UPPER))
_ONE_SIDED = 0.055  # tail of the exact limit that replaces Wilson's where few rows are wrong, or few right
_FEW = 7  # effective rows; with more, Wilson's limit is the wider one


@dataclass(frozen=True)
class Spread:
    """Sums that the interval of an accuracy follows from. Each is a number, or an array over studies that were simulated."""

    n: int  # replicates
    n_rows: int
    mean: Array  # accuracy
    of_seeds: Array  # variance of accuracy between replicates
    of_rows: Array  # variance over rows of the share of replicates that are right, both with n - 1 in the denominator
    residual: Array  # mean square of what neither the row nor the replicate explains
    n_spread: Array  # rows that `of_rows` rests on: (sum of squares)^2 / sum of fourth powers

    @classmethod
    def of(cls, correct: NDArray[np.bool_]) -> "Spread":
        """Sum up which rows each of two or more replicates got right, shape (replicates, rows)."""
        n, n_rows = correct.shape
        accuracy, per_row = correct.mean(axis=1), correct.mean(axis=0)
        mean = accuracy.mean()
        residual = correct - per_row - accuracy[:, None] + mean
        squares = (per_row - mean) ** 2
        return cls(
            n=n,
            n_rows=n_rows,
            mean=mean,
            of_seeds=accuracy.var(ddof=1),
            of_rows=per_row.var(ddof=1),
            residual=(residual**2).sum() / ((n - 1) * (n_rows - 1)),
            n_spread=squares.sum() ** 2 / max((squares**2).sum(), 1e-300),
        )


def accuracy_interval(correct: NDArray[np.bool_]) -> Interval:
    """Return the 95 % interval of the accuracy that this config has over new seeds and new rows of the same population.

    correct: which rows each replicate got right, shape (replicates, rows). NaN for one replicate, which says nothing of
    the spread over seeds, and for one row.

    Rows and seeds are crossed random effects, as readers and cases are (Gallas 2006, Academic Radiology 13:353): the
    variance of the mean is that between replicates over their number, plus what rows add beyond noise over theirs. Each
    part has its own quantile of Student's t, and both are averaged by variance (Cochran 1964, Biometrics 20:191):
    with two replicates, Satterthwaite's degrees of freedom cover 85 % where 95 % are meant. Variance and quantile become
    an effective number of independent rows, and that Wilson's score interval (Korn and Graubard 1998, Survey Methodology
    24:193; Dean and Pagano 2015, Journal of Survey Statistics and Methodology 3:484): it stays in 0..1, and has a width
    also where every row is right. Wilson's covers too little where one or two rows are wrong, so there an exact one-sided
    limit replaces it if it is wider (Brown, Cai and DasGupta 2001, Statistical Science 16:101, section 4.1).
    `python -m tests.bench.interval_coverage` shows what it covers.
    """
    if min(correct.shape) < 2:
        return NO_INTERVAL
    low, high = limit(Spread.of(correct))
    return float(low), float(high)


def limit(spread: Spread) -> tuple[Array, Array]:
    """Return the lower and the upper limit of `accuracy_interval`."""
    return _score_limits(spread.mean, _quantile_squared(spread), spread.n * spread.n_rows)


def accuracy_interval_of_means(accuracies: Sequence[float], n_rows: int) -> Interval:
    """Return the interval of an accuracy of which no rows are known, but each replicate's value and their number.

    As `accuracy_interval`, with the largest share that rows can have: as if all replicates agreed on every row.
    """
    values = np.asarray(accuracies)
    if len(values) < 2 or n_rows < 2:
        return NO_INTERVAL
    mean = np.clip(values.mean(), 0, 1)
    of_seeds, of_rows = values.var(ddof=1) / len(values), mean * (1 - mean) / n_rows
    t_seeds, t_rows = _t(len(values) - 1), _t(n_rows - 1)
    t_squared = _average(t_seeds, of_seeds, t_rows, of_rows) ** 2
    is_certain = mean * (1 - mean) < _CERTAIN
    scaled = t_rows**2 / n_rows if is_certain else t_squared * (of_seeds + of_rows) / (mean * (1 - mean))
    low, high = _score_limits(mean, scaled, len(values) * n_rows)
    return float(low), float(high)


def loss_interval(losses: Sequence[float]) -> Interval:
    """Return the 95 % interval of a mean loss over new seeds; NaN for one replicate.

    Taken on the log scale, so that it stays above 0: mean / c to mean * c with c = exp(t sqrt(log(1 + cv^2))), cv being the
    standard error over the mean (Burnham et al. 1987, American Fisheries Society Monograph 5, p. 212).
    """
    values = np.asarray(losses)
    if len(values) < 2:
        return NO_INTERVAL
    mean = float(values.mean())
    if mean <= 0:
        return mean, mean
    return _log_limits(mean, float(values.std(ddof=1)) / math.sqrt(len(values)), float(_t(len(values) - 1)))


def error_interval(errors: NDArray[np.float64]) -> Interval:
    """Return the 95 % interval of a mean error over new seeds and new rows of the same population.

    errors: of each row by each replicate, squared or absolute, shape (replicates, rows). NaN for one replicate or one row.

    The variance of the mean is that of `accuracy_interval`: seeds and rows are crossed random effects (Gallas 2006), each
    with its own quantile of Student's t (Cochran 1964); of what rows add, half is believed at least, however much of it looks
    like noise. Errors are skewed and above 0, so the limits are those of `loss_interval`, on the log scale.
    tests/report/test_interval.py holds it to 95 % from 100 rows on; on 30 rows it covers 92 % where errors are normal, and
    87 % where they have long tails, which so few rows do not show.
    """
    n, n_rows = errors.shape
    mean = float(errors.mean())
    if min(n, n_rows) < 2:
        return NO_INTERVAL
    if mean <= 0:
        return mean, mean
    of_replicate, per_row = errors.mean(axis=1), errors.mean(axis=0)
    residual = errors - per_row - of_replicate[:, None] + mean
    noise = float((residual**2).sum()) / ((n - 1) * (n_rows - 1)) / (n * n_rows)
    of_seeds, of_rows = float(of_replicate.var(ddof=1)) / n, float(per_row.var(ddof=1)) / n_rows
    of_rows = max(of_rows - noise, of_rows / 2)
    t = _average(_t(n - 1), np.asarray(of_seeds), _t(n_rows - 1), np.asarray(of_rows))
    return _log_limits(mean, math.sqrt(of_seeds + of_rows), float(t))


def _log_limits(mean: float, error: float, t: float) -> Interval:
    """Return the limits of a positive mean with this standard error: mean / c to mean * c, see `loss_interval`."""
    factor = math.exp(t * math.sqrt(math.log1p((error / mean) ** 2)))
    return mean / factor, mean * factor


_CERTAIN = 1e-12  # below this, mean * (1 - mean) is 0 but for rounding: every row is right, or every row wrong


def _t(freedom: Array | int) -> Array:
    """Return the two-sided quantile of Student's t."""
    return np.asarray(special.stdtrit(freedom, _UPPER))


def _average(t_seeds: Array, of_seeds: Array, t_rows: Array, of_rows: Array) -> Array:
    """Average two quantiles by variance (Cochran 1964)."""
    return np.asarray((t_seeds * of_seeds + t_rows * of_rows) / np.maximum(of_seeds + of_rows, 1e-300))


def _quantile_squared(s: Spread) -> Array:
    """Return (quantile x standard error of the mean)^2 / (mean (1 - mean)): 3.84 over the effective number of rows."""
    binomial = np.maximum(s.mean * (1 - s.mean), _CERTAIN)
    noise = s.residual / (s.n * s.n_rows)
    of_seeds, of_rows = s.of_seeds / s.n, np.maximum(0, s.of_rows / s.n_rows - noise)
    found = _average(_t(s.n - 1), of_seeds, _t(s.n_rows - 1), of_rows) ** 2 * (of_seeds + of_rows)
    scaled = np.maximum(found, _least(s, binomial)) / binomial
    return np.asarray(np.where(s.mean * (1 - s.mean) < _CERTAIN, _t(s.n_rows - 1) ** 2 / s.n_rows, scaled))


def _least(s: Spread, binomial: Array) -> Array:
    """Return the least that is believed of (quantile x standard error)^2: accuracies of replicates can be alike by chance.

    It is a share of what rows and noise alone give. Where few rows are wrong, the quantile has only as many degrees of
    freedom as rows are behind it, but no more is taken than rows give on which all replicates agree. The share rises with
    the number of replicates: the whole would cover more than 98 % with two, half of it less than 93 % with ten.
    """
    of_rows = np.maximum(s.of_rows / s.n_rows, binomial / (s.n * s.n_rows))
    t_spread = _t(np.clip(s.n_spread, 1, s.n_rows - 1))
    most = _t(s.n_rows - 1) ** 2 * binomial / s.n_rows
    share = max(0.5, _Z / float(_t(s.n - 1)))
    return np.asarray(share**2 * np.minimum(t_spread**2 * of_rows, most))


def _score_limits(mean: Array, scaled: Array, n_draws: int) -> tuple[Array, Array]:
    """Return Wilson's limits for z^2 / `scaled` effective rows, of which there are `n_draws` at most."""
    centre = (mean + scaled / 2) / (1 + scaled)
    half = np.sqrt(scaled * mean * (1 - mean) + scaled**2 / 4) / (1 + scaled)
    n_effective = np.minimum(_Z**2 / scaled, n_draws)
    low = np.minimum(centre - half, _exact_low(mean, n_effective))
    high = np.maximum(centre + half, 1 - _exact_low(1 - mean, n_effective))
    return np.clip(low, 0, mean), np.clip(high, mean, 1)


def _exact_low(mean: Array, n_effective: Array) -> Array:
    """Return the one-sided exact lower limit (Clopper and Pearson) where fewer than _FEW effective rows are right, else 1."""
    n_right = np.asarray(mean * n_effective)
    is_few = n_right < _FEW
    a, b = np.where(is_few, np.maximum(n_right, 1e-9), 1), np.where(is_few, n_effective - n_right + 1, 1)
    return np.where(is_few, special.betaincinv(a, b, _ONE_SIDED), 1.0)
