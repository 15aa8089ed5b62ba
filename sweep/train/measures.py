"""Metrics from what an engine sums up over rows. Pure and without Keras: numbers in, numbers out."""

import math

import numpy as np
from numpy.typing import NDArray

from sweep.data.scaling import Target
from sweep.study.objective import Task
from sweep.trial import Logs

# What an engine averages over rows beside the loss, of standardized labels where these are numbers to predict.
AVERAGED: dict[Task, tuple[str, ...]] = {"classification": ("accuracy",), "regression": ("square", "absolute")}


def to_metrics(means: Logs, target: Target | None, variance: float) -> Logs:
    """Return the loss and the metrics that means over rows give: of regression, its errors in the unit of the label.

    means: of the loss and what `AVERAGED` names. variance: of the same rows' standardized labels, in the population.
    The loss stays one of standardized labels.
    """
    if target is None:
        return means
    return {"loss": means["loss"]} | measure_errors(
        means["square"] * target.spread**2, means["absolute"] * target.spread, variance * target.spread**2
    )


def measure_errors(mean_square: float, mean_absolute: float, variance: float) -> Logs:
    """Return RMSE, MAE and R^2 of predictions. variance: of the labels, in the population.

    Labels that are all equal have no variance to explain: R^2 is 1 for predictions that are exact, else 0, as in scikit-learn.
    """
    explained = 1 - mean_square / variance if variance > 0 else float(mean_square == 0)
    return {"rmse": math.sqrt(mean_square), "mae": mean_absolute, "r2": explained}


def prefix(logs: Logs, with_: str) -> Logs:
    """Return the metrics with `with_`, such as `val_`, before their names."""
    return {f"{with_}{name}": value for name, value in logs.items()}


def balance(labels: NDArray[np.int32], n_classes: int) -> NDArray[np.float32]:
    """Return a weight for each class, shape (n_classes,), by which every class weighs alike and rows weigh 1 on average.

    n / (n_classes * rows of the class), as `class_weight="balanced"` of scikit-learn; King and Zeng 2001, "Logistic
    Regression in Rare Events Data", Political Analysis 9:137, section 4.2, weight by shares likewise.
    """
    counts = np.bincount(labels, minlength=n_classes)
    return np.asarray(len(labels) / (n_classes * np.maximum(counts, 1)), np.float32)
