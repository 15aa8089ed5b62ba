"""Labels as people have them, brought into one form: a whole number, truth value or text a row."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweep.errors import InvalidDataError

logger = logging.getLogger(__name__)

Array = NDArray[Any]
EXACT = 2.0**53  # up to here a float64 holds every whole number
WAY_OUT = "this version classifies: make classes of it, such as ranges"


def to_labels(y: Array, name: str, path: Path) -> Array:
    """Return labels of shape (n,), whole numbers, truth values or text. Raises InvalidDataError.

    y: shape (n,), (n, 1) or one-hot (n, k), whose class numbers are taken; whole floats become whole numbers, bytes text.
    name: of the array or column, for messages.
    """
    if y.ndim == 2:
        y = y[:, 0] if y.shape[1] == 1 else _from_one_hot(y, name, path)
    if y.ndim == 1 and y.dtype.kind == "f":
        return _from_floats(y, name, path)
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


def _from_floats(y: Array, name: str, path: Path) -> Array:
    if n := int(np.isnan(y).sum()):
        raise InvalidDataError(f"{path}: {name} has {n} rows without a label (NaN); leave them out")
    y = y.astype(np.float64)
    whole = np.isfinite(y) & (np.abs(y) < EXACT) & (y == np.round(y))
    if not whole.all():
        raise InvalidDataError(
            f"{path}: {name} looks like a number to predict (regression), such as {y[~whole][0]:g}; {WAY_OUT}"
        )
    return y.astype(np.int64)


def _from_objects(y: Array, name: str, path: Path) -> Array:
    try:
        labels = [value.decode() if isinstance(value, bytes) else value for value in y.tolist()]
    except UnicodeDecodeError as error:
        raise InvalidDataError(f"{path}: {name} holds bytes that are not UTF-8 text; store labels as text") from error
    for label in labels:
        if not isinstance(label, str | int):
            raise InvalidDataError(f"{path}: {name} holds {type(label).__name__}, wanted text or whole numbers")
    return np.array(labels, dtype=str)


def looks_like_numbers(classes: Array, sizes: Array) -> bool:
    """Return whether classes with these many rows are rather values of a number to predict: whole numbers, most of them rare."""
    return classes.dtype.kind in "iu" and len(classes) > sizes.sum() / 3
