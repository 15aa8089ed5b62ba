"""Rows and labels as people have them, arrays or a table of text, for `verify.py`, which loads this file.

It needs numpy alone. Tables, which the program reads with pandas, are read here a second time, and by other hands.
"""

import csv
import gzip
import io
import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_BYTES = 2**32  # unpacked
BOOLEANS = dict.fromkeys(("true", "t", "yes", "y", "1"), 1.0) | dict.fromkeys(("false", "f", "no", "n", "0"), 0.0)


def flat_rows(rows: NDArray[Any], wanted: dict[str, Any]) -> NDArray[Any]:
    """Rows as the model takes them, shape (n, n_features), from an array of rows flat or in their own shape.

    wanted: `input` of summary.json. Scaling is in the model, so pixels must come as they are in the data: uint8. What is not
    a number that such a model was trained on is refused rather than guessed around. Raises ValueError.
    """
    n_features, shape = wanted["features"], tuple(wanted["shape"])
    if rows.ndim < 2 or rows.shape[1:] not in ((n_features,), shape) or len(rows) == 0:
        raise ValueError(f"has shape {rows.shape}, wanted (n, {n_features}) or (n, {str(shape)[1:]}")
    if wanted["rows_dtype"] == "uint8" and rows.dtype != np.uint8:
        raise ValueError(
            f"holds {rows.dtype}, wanted uint8 from 0 to 255; the model divides by 255 itself, so give pixels as they are"
        )
    if wanted["rows_dtype"] != "uint8" and (rows.dtype == np.uint8 or rows.dtype.kind not in "biuf"):
        raise ValueError(
            f"holds {rows.dtype}, wanted numbers as in the data, {wanted['rows_dtype']}; the model scales them itself"
        )
    flat = rows.reshape(len(rows), n_features)
    if flat.dtype != np.uint8:
        with np.errstate(over="ignore"):  # checked right below
            flat = flat.astype(wanted["rows_dtype"])
        if not np.isfinite(flat).all():
            raise ValueError(f"holds values that are NaN, infinite, or too large for {flat.dtype}")
    return flat


def read_table(content: bytes, names: Sequence[str], separator: str | None) -> dict[str, list[str]]:
    """Read the cells of columns by their names. Raises ValueError where it is no such table."""
    if content.startswith(b"\x1f\x8b"):
        with gzip.open(io.BytesIO(content)) as unpacked:
            content = unpacked.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ValueError(f"unpacks to more than {MAX_BYTES} bytes")
    text = content.decode("utf-8-sig")
    for mark in separator or ",;\t|":
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark)
        header, *rows = [row for row in reader if len(row) > 1 or "".join(row).strip()] or [[]]
        if set(names) <= set(header):
            at = {name: header.index(name) for name in names}
            return {name: [row[i] for row in rows] for name, i in at.items()}
    raise ValueError(f"wanted a table of text with the columns {', '.join(names)[:200]}")


def read_cells(cells: Sequence[str], kind: str, missing: set[str]) -> NDArray[Any]:
    """Read the cells of a column as the model takes them, shape (n,). Raises ValueError for one that is not of its kind."""
    if kind == "category":
        return np.array(["" if cell in missing else cell for cell in cells], object)
    read: Callable[[str], float] = {"boolean": _to_boolean, "date": _to_days}.get(kind, float)
    return np.array([math.nan if cell in missing else read(cell) for cell in cells], np.float64)


def read_labels(cells: Sequence[str]) -> NDArray[Any]:
    """Read labels as they stand there, shape (n,): numbers or truth values where all are, else text."""
    if {cell.lower() for cell in cells} <= {"true", "false"}:
        return np.array([cell.capitalize() for cell in cells])
    try:
        return np.array([float(cell) for cell in cells])
    except ValueError:
        return np.array(cells)


def class_names(y: NDArray[Any]) -> list[str]:
    """Name the classes of labels as data files hold them: one a row, shape (n,) or (n, 1), or one-hot, (n, k)."""
    if y.ndim == 2:
        y = y[:, 0] if y.shape[1] == 1 else y.argmax(axis=1)
    if y.dtype.kind == "S":
        y = np.char.decode(y, "utf-8", "replace")
    return [str(int(label) if isinstance(label, float) and label.is_integer() else label) for label in y.tolist()]


def _to_boolean(cell: str) -> float:
    try:
        return BOOLEANS[cell.strip().lower().removesuffix(".0")]
    except KeyError as error:
        raise ValueError(f"{cell!r:.80} is no truth value") from error


def _to_days(cell: str) -> float:
    """Return days since 1970-01-01, in UTC where a zone is told."""
    moment = datetime.fromisoformat(cell.strip())
    return (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.fromtimestamp(0, UTC)) / timedelta(days=1)
