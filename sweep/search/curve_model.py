"""A Gaussian process over hyperparameters and epochs: what the last epoch of a learning curve will be, and how sure that is.

The idea is that of Swersky et al. 2014, "Freeze-thaw Bayesian optimization" (arXiv 1406.3896). The cost of a config, on a
log scale, at epoch t of T is modelled as

    last + slope * (t^-ALPHA - T^-ALPHA) + noise,

where `last` and `slope` vary over the hyperparameters (Matern 5/2) and by config. `python -m tests.bench.search_quality`
measures what a search by it reaches.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular

Array = NDArray[np.float64]

LENGTH = 0.75  # over which a coordinate, of 0 to 1, matters
ALPHA = 0.45
SMOOTH = np.array([[1.5, -0.7], [-0.7, 3.84]])  # covariance of (last, slope) that the hyperparameters explain
OWN = np.array(
    [[0.022, -0.036], [-0.036, 0.135]]
)  # what they do not; both are large beside NOISE, so that curves count
VAGUE = np.eye(2)  # of the level and slope that all curves share
NOISE = 0.06  # standard deviation of one epoch
STRENGTH = 12  # how many observations' worth of belief holds the scale of all this at 1


@dataclass(frozen=True)
class Forecast:
    """What is believed of the cost of candidates at the last epoch."""

    mean: Array  # (candidates,)
    variance: Array  # (candidates,), without the noise of an epoch
    noise: Array  # (candidates,): variance of what the next training of each would show beyond that

    _points: Array
    _own: NDArray[np.int64]
    _explained: Array  # (observations, candidates)
    _scale: float

    def covariance_with(self, some: Sequence[int]) -> Array:
        """Return the covariance of some candidates, given by number, with every one, shape (some, candidates)."""
        numbers = np.array(some)[:, None]
        is_same = ((self._own == self._own[numbers]) & (self._own >= 0)) | (np.arange(len(self._own)) == numbers)
        prior = SMOOTH[0, 0] * _matern(self._points[some], self._points) + OWN[0, 0] * is_same + VAGUE[0, 0]
        covariance: Array = self._scale * (prior - self._explained[:, some].T @ self._explained)
        return covariance


class CurveModel:
    """The curves of configs, as far as they were trained, and what they say of others."""

    def __init__(self, points: Array, curves: Sequence[Array], last_epoch: int) -> None:
        """Take in curves. points: (n, coordinates); curves: n arrays, the log of the cost from epoch 1 on."""
        self._points, self._last_epoch = points, last_epoch
        self._level = float(np.mean([curve[0] for curve in curves])) - 0.5
        self._design, observed, self._of = _summarize([curve - self._level for curve in curves], last_epoch)
        same = self._of[:, None] == self._of
        gram = (self._design @ SMOOTH @ self._design.T) * _matern(points, points)[np.ix_(self._of, self._of)]
        gram += same * (self._design @ OWN @ self._design.T) + self._design @ VAGUE @ self._design.T
        self._low = cholesky(gram + np.eye(len(observed)), lower=True)
        self._whitened = solve_triangular(self._low, observed, lower=True)
        self._scale = float((STRENGTH + self._whitened @ self._whitened) / (STRENGTH + len(observed)))

    def forecast(self, points: Array, own: NDArray[np.int64]) -> Forecast:
        """Forecast candidates. points: (m, coordinates); own: (m,), which of the curves is its own, or -1."""
        cross = (self._design @ SMOOTH[:, :1]) * _matern(self._points, points)[self._of]
        cross += (self._of[:, None] == own) * (self._design @ OWN[:, :1]) + self._design @ VAGUE[:, :1]
        explained = solve_triangular(self._low, cross, lower=True)
        prior = SMOOTH[0, 0] + OWN[0, 0] + VAGUE[0, 0]
        variance = self._scale * np.maximum(prior - (explained**2).sum(axis=0), 1e-12)
        # A fresh config is probed for an epoch, which says little of the slope; another is trained to its end.
        doubt = (OWN[1, 1] + 0.3 * SMOOTH[1, 1]) * (1 - self._last_epoch**-ALPHA) ** 2
        noise = self._scale * np.where(own < 0, doubt, NOISE**2)
        mean = explained.T @ self._whitened + self._level
        return Forecast(mean, variance, noise, points, own, explained, self._scale)


def _summarize(curves: Sequence[Array], last_epoch: int) -> tuple[Array, Array, NDArray[np.int64]]:
    """Return what the curves say of (last, slope), (k, 2) and (k,), each with noise of variance 1, and of which curve it is.

    A curve says of two unknowns no more than two numbers: the QR decomposition of its regression.
    """
    designs, values, of = [], [], []
    for i, curve in enumerate(curves):
        q, r = _decompose(len(curve), last_epoch)
        designs.append(r)
        values.append(curve @ q)
        of += [i] * len(r)
    return np.concatenate(designs) / NOISE, np.concatenate(values) / NOISE, np.array(of)


@lru_cache
def _decompose(n_epochs: int, last_epoch: int) -> tuple[Array, Array]:
    """Return the QR decomposition of the regression of a curve."""
    epochs = np.arange(1, n_epochs + 1)
    regressors = np.column_stack([np.ones(n_epochs), epochs**-ALPHA - last_epoch**-ALPHA])
    if n_epochs == 1:  # one observation of both unknowns
        return np.ones((1, 1)), regressors
    q, r = np.linalg.qr(regressors)
    return q, r


def _matern(a: Array, b: Array) -> Array:
    """Return the Matern 5/2 correlation of every point of a with every one of b, (len(a), len(b))."""
    squared: Array = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    np.maximum(squared, 0, out=squared)
    squared *= 5 / LENGTH**2
    r = np.sqrt(squared)
    squared /= 3
    squared += r
    squared += 1
    return squared * np.exp(-r)  # 1 + r + r^2 / 3, in place
