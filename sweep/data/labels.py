"""Labels as people have them, brought into one form: a whole number, truth value or text a row, or a number to predict."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweep.errors import InvalidDataError
from sweep.study.objective import Task

logger = logging.getLogger(__name__)

Array = NDArray[Any]
EXACT = 2.0**53  # up to here a float64 holds every whole number
LARGEST = 1e150  # of a number to predict: its square is a float64
MANY = 50  # different whole numbers, some of which stand alone, are no classes


def to_labels(y: Array, name: str, path: Path, task: Task | None = None) -> Array:
    """Return labels of shape (n,): whole numbers, truth values or text; float64 where they are numbers to predict.

    y: shape (n,), (n, 1) or one-hot (n, k), whose class numbers are taken; whole floats become whole numbers, bytes text.
    name: of the array or column, for messages. task: what the labels are for; None where they say so themselves.
    Raises InvalidDataError.
    """
    if task == "regression":
        return _to_targets(y, name, path)
    if y.ndim == 2:
        y = y[:, 0] if y.shape[1] == 1 else _from_one_hot(y, name, path)
    if y.ndim == 1 and y.dtype.kind == "f":
        return _from_floats(y, name, path, task)
    if y.ndim == 1 and y.dtype.kind in "OS":
        return _from_objects(y, name, path)
    if y.ndim != 1 or y.dtype.kind not in "biuU":
        raise InvalidDataError(
            f"{path}: {name} is {y.dtype} {y.shape}, wanted one whole number or text label a row, shape (n,) or (n, 1), or one-hot"
        )
    return y


def _from_one_hot(y: Array, name: str, path: Path) -> Array:
    is_hot = y.dtype.kind in "biuf" and y.size > 0 and ((y == 0) | (y == 1)).all() and (y.sum(axis=1) == 1).all()
    if not is_hot:
        raise InvalidDataError(
            f"{path}: {name} is {y.dtype} {y.shape}, wanted one label a row, or one-hot rows of a single 1 among zeros"
        )
    logger.info("%s: %s is one-hot: its classes are named 0 to %d", path.name, name, y.shape[1] - 1)
    return np.asarray(np.argmax(y, axis=1))


def _to_targets(y: Array, name: str, path: Path) -> Array:
    """Return numbers to predict, shape (n,), float64. Raises InvalidDataError."""
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if y.ndim != 1 or y.dtype.kind not in "iuf":
        held = "text" if y.dtype.kind in "OSU" else f"{y.dtype} {y.shape}"
        raise InvalidDataError(
            f"{path}: {name} is {held}, wanted one number a row, shape (n,) or (n, 1), as data.task = 'regression' predicts"
        )
    if n := int(np.isnan(y).sum()):
        raise InvalidDataError(f"{path}: {name} has {n} rows without a label (NaN); leave them out")
    y = y.astype(np.float64)
    if too_large := int((np.abs(y) > LARGEST).sum()):
        raise InvalidDataError(f"{path}: {name} holds {too_large} numbers beyond {LARGEST:g}; rescale them")
    return y


def _from_floats(y: Array, name: str, path: Path, task: Task | None) -> Array:
    if n := int(np.isnan(y).sum()):
        raise InvalidDataError(f"{path}: {name} has {n} rows without a label (NaN); leave them out")
    y = y.astype(np.float64)
    whole = np.isfinite(y) & (np.abs(y) < EXACT) & (y == np.round(y))
    if whole.all():
        return y.astype(np.int64)
    if task is None:
        return _to_targets(y, name, path)
    raise InvalidDataError(
        f"{path}: {name} is a number to predict, such as {y[~whole][0]:g}, which is no class; data.task = 'regression' "
        "predicts it; to classify, make classes of it, such as ranges"
    )


def _from_objects(y: Array, name: str, path: Path) -> Array:
    try:
        labels = [value.decode() if isinstance(value, bytes) else value for value in y.tolist()]
    except UnicodeDecodeError as error:
        raise InvalidDataError(f"{path}: {name} holds bytes that are not UTF-8 text; store labels as text") from error
    for label in labels:
        if not isinstance(label, str | int):
            raise InvalidDataError(f"{path}: {name} holds {type(label).__name__}, wanted text or whole numbers")
    return np.array(labels, dtype=str)


def looks_like_numbers(y: Array) -> bool:
    """Return whether labels are rather numbers to predict: whole ones, many of them, of which some stand alone."""
    if y.dtype.kind not in "iu":
        return False
    classes, sizes = np.unique(y, return_counts=True)
    return bool(sizes.min(initial=2) < 2 and len(classes) > min(len(y) / 3, MANY))
