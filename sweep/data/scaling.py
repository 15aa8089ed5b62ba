"""Scaling of numeric features and of numbers to predict: fitted to the training rows in float64, applied before anything is rounded to float32."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["robust", "standard"]
LIMIT = 1e6  # scaled values beyond it are set to it: float32 holds their squares, and a smooth clip is flat there
SMOOTH_LIMIT = 3.0  # what a smooth clip tends to


@dataclass(frozen=True)
class Scaling:
    """The center and the spread of each feature, shape (n_features,), in the feature's own unit."""

    kind: Kind
    center: NDArray[np.float64]
    spread: NDArray[np.float64]  # never 0

    def apply(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """Scale rows of shape (n, n_features). `train.model.add_scaling` does the same inside a model."""
        with np.errstate(over="ignore"):  # infinities are clipped
            scaled: NDArray[np.float64] = np.clip((x - self.center) * (1 / self.spread), -LIMIT, LIMIT)
        if self.kind == "robust":
            scaled = scaled / np.sqrt(1 + np.square(scaled / SMOOTH_LIMIT))
        return scaled.astype(np.float32)


@dataclass(frozen=True)
class Target:
    """The mean and the standard deviation of the numbers to predict, in their own unit, over the training rows."""

    center: float
    spread: float  # never 0

    def check(self) -> None:
        """Raise ValueError for what `fit_target` does not give."""
        if not all(isinstance(n, float) and np.isfinite(n) for n in (self.center, self.spread)) or self.spread <= 0:
            raise ValueError("holds a standardization of the label that is none")

    def apply(self, y: NDArray[np.float64]) -> NDArray[np.float32]:
        """Standardize labels of shape (n,). `train.model.add_scaling` does the opposite at the end of a model."""
        return np.asarray((y - self.center) / self.spread, np.float32)


def fit_target(y: NDArray[np.float64]) -> Target:
    """Fit the standardization of labels to those of the training rows, shape (n,). A constant one has a spread of 1."""
    center, spread = _measure_standard(y)
    return Target(float(center), float(spread))


def fit_scaling(x: NDArray[Any], kind: Kind, have_units: Sequence[bool] | None = None) -> Scaling:
    """Fit the scaling of `kind` to the training rows, shape (n, n_features).

    have_units: which features are scaled, all of them without it; the others, such as the 0 and 1 of a category, have a
    center of 0 and a spread of 1.

    `standard` divides the distance from the mean by the standard deviation. `robust` divides the distance from the median
    by the interquartile range, or by half the whole range where that is 0, and clips the result smoothly to -3..3, so that
    no outlier reaches far (Holzmueller et al. 2024, arXiv 2407.04491, section 3). A feature that is constant has a spread
    of 1 in either: what other rows hold there is a distance in its own unit.
    """
    measure = _measure_robust if kind == "robust" else _measure_standard
    measured = np.array([measure(column.astype(np.float64)) for column in x.T])
    if have_units is not None:
        measured = np.where(np.asarray(have_units)[:, np.newaxis], measured, (0.0, 1.0))
    return Scaling(kind, measured[:, 0], np.maximum(measured[:, 1], 1e-300))  # the inverse of less would be infinite


def _measure_robust(column: NDArray[np.float64]) -> tuple[float, float]:
    least, low, middle, high, most = np.quantile(column, [0, 0.25, 0.5, 0.75, 1])
    return middle, (high - low) or (most - least) / 2 or 1.0


def _measure_standard(column: NDArray[np.float64]) -> tuple[float, float]:
    if column.min() == column.max():  # its mean may be off by a rounding, which would look like a spread
        return column[0], 1.0
    mean = column.mean()
    distance = column - mean
    farthest = np.abs(distance).max()  # squares of distances below 1e-154 or above 1e154 are no float64
    return mean, farthest * np.sqrt(np.square(distance / farthest).mean())
