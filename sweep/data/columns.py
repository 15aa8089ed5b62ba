"""Columns of a table: how the cells of each kind are read, and as which features they are coded.

Text has no place in a net, so every column is coded as numbers, its features, by what was fitted to the training rows
(`data.coding`). This file needs numpy and pandas alone: a copy of it lies in each model of a table in MLflow, and
`_load_pyfunc` is how MLflow opens that.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["number", "boolean", "category", "date"]

YEAR, WEEK, DAY = 365.2425, 7.0, 1.0  # days
BOOLEANS = dict.fromkeys(("true", "t", "yes", "y", "1"), 1.0) | dict.fromkeys(("false", "f", "no", "n", "0"), 0.0)
MAX_NUMBER = 1e290  # sums over rows, and differences, stay below the largest float64
MODEL, COLUMNS = "model.keras", "columns.json"  # in a model of MLflow


@dataclass(frozen=True)
class Column:
    """A column of a table, and what was fitted to the training rows to code it."""

    name: str
    kind: Kind
    low: float | None = None  # the range of the training rows, dates in days since 1970-01-01; None for a category
    high: float | None = None
    fill: float = 0.0  # stands for a missing number: the median
    has_missing: bool = False  # some training row lacks its number: a feature of its own says which
    has_time: bool = False  # some training row has a date with a time of day
    values: tuple[str, ...] = ()  # of a category, each of which has a feature; "" is a missing one
    has_rare: bool = False  # some training row has another value: one feature stands for all of these

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features that it is coded as."""
        if self.kind == "category":
            named = [f"{self.name} = {value}" if value else f"{self.name} is missing" for value in self.values]
            return (*named, *[f"{self.name} is another"] * self.has_rare)
        cycles = [f"{self.name}: {wave} of the {cycle}" for cycle in self.cycles for wave in ("sine", "cosine")]
        return (self.name, *cycles, *[f"{self.name} is missing"] * self.has_missing)

    @property
    def cycles(self) -> dict[str, float]:
        """Lengths, in days, of the cycles that a date is a point of."""
        if self.kind != "date":
            return {}
        return {"year": YEAR, "week": WEEK} | ({"day": DAY} if self.has_time else {})

    @property
    def scaled(self) -> tuple[bool, ...]:
        """Whether each feature has a unit, and is scaled; the others lie between -1 and 1."""
        n = len(self.features)
        return (False,) * n if self.kind == "category" else (True, *(False,) * (n - 1))

    def check(self) -> None:
        """Raise ValueError for what `fit_columns` does not give: it may come from another hand."""
        texts, flags = (self.name, *self.values), (self.has_missing, self.has_time, self.has_rare)
        numbers = [n for n in (self.low, self.high, self.fill) if n is not None]
        is_good = (
            all(isinstance(text, str) for text in texts)
            and all(isinstance(flag, bool) for flag in flags)
            and all(isinstance(n, int | float) and math.isfinite(n) for n in numbers)
            and self.kind in ("number", "boolean", "category", "date")
            and len(set(self.values)) == len(self.values)
            and len(numbers) == (1 if self.kind == "category" else 3)
            and len(self.features) > 0
        )
        if not is_good:
            raise ValueError(f"holds a column that is none: {self.name!r:.100}")


def read_columns(listed: Sequence[dict[str, Any]]) -> tuple[Column, ...]:
    """Rebuild columns from `asdict`, as JSON keeps them. Raises TypeError or ValueError where they are none."""
    columns = tuple(Column(**{**values, "values": tuple(values.get("values", ()))}) for values in listed)
    for column in columns:
        column.check()
    return columns


def code(rows: NDArray[np.float64], columns: Sequence[Column]) -> NDArray[np.float64]:
    """Code rows, shape (n, n_columns), as features, shape (n, n_features).

    rows: numbers, NaN where they are missing; truth values as 0 and 1; dates in days since 1970-01-01; of a category, the
    place of the value in `values`, -1 for any other. `champion.conversion` writes the same for onnxruntime.
    """
    parts = [_code_column(rows[:, i : i + 1], column) for i, column in enumerate(columns)]
    return np.concatenate(parts, axis=1)


def _code_column(cells: NDArray[np.float64], column: Column) -> NDArray[np.float64]:
    if column.kind == "category":
        n_values = len(column.values)
        places = np.where((cells < 0) & column.has_rare, n_values, cells)
        return np.asarray(places == np.arange(n_values + column.has_rare), np.float64)
    is_missing = np.isnan(cells)
    filled = np.where(is_missing, column.fill, cells)
    angles = [filled * (2 * math.pi / days) for days in column.cycles.values()]
    waves = [wave(angle) for angle in angles for wave in (np.sin, np.cos)]
    return np.concatenate([filled, *waves, *[is_missing.astype(np.float64)] * column.has_missing], axis=1)


def to_rows(frame: "pd.DataFrame", columns: Sequence[Column], missing: Sequence[str]) -> NDArray[np.float64]:
    """Read the columns of a frame, found by name, as rows for `code`, shape (n, n_columns).

    missing: cells that stand for a missing value. Raises ValueError that names a cell that is not of its column's kind.
    """
    rows = np.empty((len(frame), len(columns)))
    for i, column in enumerate(columns):
        cells = frame[column.name]
        found, is_wrong = read_cells(cells.mask(cells.isin(list(missing))), column.kind)
        if is_wrong.any():
            row = int(is_wrong.argmax())
            raise ValueError(f"column {column.name!r}, row {row}: {cells.iloc[row]!r:.80} is no {column.kind}")
        rows[:, i] = place(found, column)
    return rows


def place(cells: NDArray[Any], column: Column) -> NDArray[np.float64]:
    """Turn the values of a category into their places, shape (n,), -1 for any without one; other cells stay as they are."""
    if column.kind != "category":
        return np.asarray(cells, np.float64)
    places = {value: number for number, value in enumerate(column.values)}
    return np.array([places.get(cell, -1) for cell in cells], np.float64)


def read_cells(cells: "pd.Series[Any]", kind: Kind) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Read cells of a column, shape (n,): text of a category, "" where it is missing; else float64, NaN where it is missing.

    Second, which cells are not of this kind.
    """
    import pandas as pd

    if kind == "category":
        return _to_texts(cells), np.zeros(len(cells), np.bool_)
    is_missing = cells.isna().to_numpy(np.bool_)
    if kind == "date":
        found = _to_days(cells)
    elif pd.api.types.is_numeric_dtype(cells.dtype) and not isinstance(cells.dtype, pd.CategoricalDtype):
        found = cells.to_numpy(np.float64, na_value=np.nan)
    else:
        read = _to_boolean if kind == "boolean" else to_number
        known = {cell: read(cell) for cell in set(cells[~is_missing])}
        found = np.array([known.get(cell) for cell in cells], np.float64)  # None becomes NaN
    is_wrong = np.isnan(found) & ~is_missing | (np.abs(found) > MAX_NUMBER)
    return found, is_wrong | (kind == "boolean") & ~np.isin(found, (0, 1)) & ~is_missing


def to_number(cell: Any) -> float | None:
    """Return the number that a cell holds, None if it holds none. `nan` is none, `inf` is infinite."""
    try:
        number = float(cell) if "_" not in str(cell) else None
    except (TypeError, ValueError):
        return None
    return number if number == number else None


def _to_boolean(cell: Any) -> float | None:
    return BOOLEANS.get(str(cell).strip().lower().removesuffix(".0"))


def _to_texts(cells: "pd.Series[Any]") -> NDArray[Any]:
    known = {cell: _to_text(cell) for cell in set(cells.dropna())}
    return np.array([known.get(cell, "") for cell in cells.astype(object)], object)


def _to_text(cell: Any) -> str:
    if isinstance(cell, bytes):
        return cell.decode("utf-8", "replace")
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def _to_days(cells: "pd.Series[Any]") -> NDArray[np.float64]:
    """Return days since 1970-01-01, in UTC where a zone is told; NaN for what is no date as ISO 8601 writes it."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(cells.dtype):
        return np.full(len(cells), np.nan)
    times = pd.to_datetime(cells, errors="coerce", utc=True, format=None if cells.dtype.kind == "M" else "ISO8601")
    # Not in nanoseconds, which end in 2262.
    moments = times.dt.tz_localize(None).to_numpy("datetime64[us]")
    return np.asarray((moments - np.datetime64(0, "us")) / np.timedelta64(1, "D"), np.float64)


class _TableModel:
    """A model of a table as MLflow serves it: it takes a frame with the columns of the table by name."""

    def __init__(self, folder: Path) -> None:
        import keras

        described = json.loads((folder / COLUMNS).read_text(encoding="utf-8"))
        self._columns, self._missing = read_columns(described["columns"]), described["missing"]
        self._classes = described["classes"]  # none for regression
        self._label = described["label"]
        self._model = keras.saving.load_model(folder / MODEL, compile=False)

    def predict(self, frame: "pd.DataFrame", params: Any = None) -> "pd.DataFrame":
        """Return the class of each row, its probability and that of every class; or the number that is predicted."""
        import pandas as pd

        rows = to_rows(frame, self._columns, self._missing)
        said = np.asarray(self._model(code(rows, self._columns)))
        if not self._classes:
            return pd.DataFrame({self._label: said[:, 0]}, index=frame.index)
        answers = {"class": [self._classes[i] for i in said.argmax(axis=1)], "certainty": said.max(axis=1)}
        of_each = {f"probability of {name}": said[:, i] for i, name in enumerate(self._classes)}
        return pd.DataFrame(answers | of_each, index=frame.index)


def describe(columns: Sequence[Column], missing: Sequence[str], classes: Sequence[str], label: str | None) -> str:
    """Write what a model of a table in MLflow needs to know beside its weights."""
    listed = [asdict(column) for column in columns]
    return json.dumps({"label": label, "classes": list(classes), "missing": list(missing), "columns": listed})


def _load_pyfunc(path: str) -> _TableModel:
    return _TableModel(Path(path))
