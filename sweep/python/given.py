"""Rows that a program holds in memory, written as a file that the study's `[data]` names: all that follows reads files."""

import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sweep.durable.files import make_folder, write_durably
from sweep.errors import InvalidDataError, translate

if TYPE_CHECKING:
    import pandas as pd

LABEL = "label"  # what the label column of (X, y) is called where y has no name


def write_rows(data: Any, label: str | None, folder: Path) -> dict[str, str]:
    """Write rows into `folder`, unless they are there; return the keys of `[data]` that name them, relative to `folder`.

    data: a DataFrame, or features and labels, (X, y), X a DataFrame or an array of shape (n, ...). label: the label column.
    The name of the file follows from the rows alone, so that the same rows make the same study, and other rows another one.
    Raises InvalidDataError, OSError.
    """
    import pandas as pd

    named = {} if label is None else {"label": label}
    if isinstance(data, pd.DataFrame):
        return {"source": _write_table(data, folder), **named}
    if not isinstance(data, Sequence) or len(data) != 2:
        raise InvalidDataError(f"data: wanted a DataFrame, or features and labels, (X, y); got {type(data).__name__}")
    features, labels = data
    if isinstance(features, pd.DataFrame):
        frame, name = _join(features, labels, label)
        return {"source": _write_table(frame, folder), "label": name}
    return {"source": _write_arrays(_to_array(features, "X"), _to_array(labels, "y"), folder), **named}


def _join(features: "pd.DataFrame", labels: Any, label: str | None) -> tuple["pd.DataFrame", str]:
    """Return features and labels as one table, row by row, and the name of the label column."""
    import pandas as pd

    if np.ndim(labels) != 1 or len(labels) != len(features):
        raise InvalidDataError(f"data: wanted a label for each of {len(features)} rows; y has shape {np.shape(labels)}")
    column = pd.Series(labels).reset_index(drop=True)
    name = str(label or column.name or LABEL)
    if name in map(str, features.columns):
        raise InvalidDataError(f"data: X has a column {name!r} itself; name that of y otherwise with label")
    return features.reset_index(drop=True).assign(**{name: column}), name


def _write_table(frame: "pd.DataFrame", folder: Path) -> str:
    """Write a frame as .parquet, which keeps the types of columns; its index is no feature. Return the name of the file."""
    import pandas as pd

    frame = frame.set_axis(list(map(str, frame.columns)), axis="columns")
    content = io.BytesIO()
    with translate(ValueError, TypeError, NotImplementedError, into=_refuse_table):
        frame.to_parquet(content, index=False)
        # Not of the file, whose bytes are others with another version of pyarrow.
        rows = pd.util.hash_pandas_object(frame, index=False).to_numpy()
    types = [[name, str(dtype)] for name, dtype in zip(frame.columns, frame.dtypes, strict=True)]
    return _write(content.getvalue(), json.dumps(types).encode(), rows.tobytes(), folder=folder, suffix=".parquet")


def _refuse_table(error: Exception) -> InvalidDataError:
    return InvalidDataError(f"data: a DataFrame that cannot be written as a table: {error}")


def _write_arrays(x: NDArray[Any], y: NDArray[Any], folder: Path) -> str:
    content = io.BytesIO()
    np.savez(content, x_train=x, y_train=y)
    parts = [part for array in (x, y) for part in (f"{array.dtype.str}{array.shape}".encode(), array.tobytes())]
    return _write(content.getvalue(), *parts, folder=folder, suffix=".npz")


def _to_array(values: Any, name: str) -> NDArray[Any]:
    """Return values as an array that a file holds without pickling; texts, which pandas has as objects, as such."""
    array = np.asarray(values)
    if array.dtype.kind == "O" and len({type(value) for value in array.flat}) == 1:
        array = np.array(array.tolist())
    if array.dtype.kind == "O":
        raise InvalidDataError(
            f"data: {name} holds objects; wanted values of one type, or a DataFrame for columns of several"
        )
    return array


def _write(content: bytes, *parts: bytes, folder: Path, suffix: str) -> str:
    """Write a file named by the sha256 of `parts`, unless it is there; return its name."""
    path = folder / f"{hashlib.sha256(b''.join(parts)).hexdigest()[:16]}{suffix}"
    if not path.exists():
        make_folder(folder)
        write_durably(path, content)
    return path.name
