"""How the columns of a table are coded, fitted to its training rows alone. scikit-learn counts and measures."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweep.data.columns import Column, Kind

MAX_VALUES = 100  # of a category, the most frequent ones, have features of their own
MIN_ROWS = 5  # that a value must have, or a twentieth of few rows
MAX_SHOWN = 8  # columns of a kind in a line


@dataclass(frozen=True)
class RawColumn:
    """A column of a table as it was read: its cells are numbers, or the places of a category's values in `levels`."""

    name: str
    kind: Kind
    levels: tuple[str, ...] = ()  # sorted; "" is a missing value

    @property
    def is_plain(self) -> bool:
        """Whether its cells were numbers to begin with."""
        return self.kind in ("number", "boolean")


def fit_columns(raw: Sequence[RawColumn], train: NDArray[np.float64]) -> tuple[Column, ...]:
    """Fit the coding of each column to the training rows, shape (n, n_columns), as they were read."""
    return tuple(
        _fit_category(r, x) if r.kind == "category" else _fit_number(r, x) for r, x in zip(raw, train.T, strict=True)
    )


def place_levels(rows: NDArray[np.float64], raw: Sequence[RawColumn], fitted: Sequence[Column]) -> NDArray[np.float64]:
    """Return rows as they were read with the places that `columns.code` wants: those in `values`, not those in `levels`."""
    placed = rows.copy()
    for i, (before, column) in enumerate(zip(raw, fitted, strict=True)):
        if column.kind == "category":
            places = {value: number for number, value in enumerate(column.values)}
            by_level = np.array([places.get(level, -1) for level in before.levels], np.float64)
            placed[:, i] = by_level[rows[:, i].astype(np.int64)]
    return placed


def _fit_category(raw: RawColumn, levels: NDArray[np.float64]) -> Column:
    from sklearn.preprocessing import OneHotEncoder

    few = min(MIN_ROWS, max(1, len(levels) // 20))
    # Of as many values as may have a feature, one is that of all rare ones.
    encoder = OneHotEncoder(min_frequency=few, max_categories=MAX_VALUES + 1, handle_unknown="infrequent_if_exist")
    encoder.fit(levels[:, np.newaxis])
    [known], [rare] = encoder.categories_, encoder.infrequent_categories_
    kept = known if rare is None else np.setdiff1d(known, rare)
    values = tuple(raw.levels[int(level)] for level in kept)
    return Column(raw.name, "category", values=values, has_rare=rare is not None)


def _fit_number(raw: RawColumn, cells: NDArray[np.float64]) -> Column:
    from sklearn.impute import SimpleImputer

    is_missing = np.isnan(cells)
    if is_missing.all():  # other parts of the table may have some
        return Column(raw.name, raw.kind, low=0.0, high=0.0, has_missing=True)
    [fill] = SimpleImputer(strategy="median").fit(cells[:, np.newaxis]).statistics_.tolist()
    return Column(
        raw.name,
        raw.kind,
        low=float(np.nanmin(cells)),
        high=float(np.nanmax(cells)),
        fill=fill,
        has_missing=bool(is_missing.any()),
        has_time=raw.kind == "date" and bool((cells[~is_missing] % 1 != 0).any()),
    )


def word_kinds(raw: Sequence[RawColumn], rows: NDArray[np.float64]) -> str:
    """Write what the columns of a table were taken for, with how many values each category has and how many are missing."""
    said = []
    for kind, plural in (
        ("number", "numbers"),
        ("boolean", "booleans"),
        ("category", "categories"),
        ("date", "dates"),
    ):
        mine = [_word(column, rows[:, i]) for i, column in enumerate(raw) if column.kind == kind]
        if mine:
            shown = ", ".join(mine[:MAX_SHOWN]) + f" and {len(mine) - MAX_SHOWN} more" * (len(mine) > MAX_SHOWN)
            said.append(f"{plural} {shown}")
    return "; ".join(said)


def _word(column: RawColumn, cells: NDArray[Any]) -> str:
    if column.kind == "category":
        n_missing = int((cells == column.levels.index("")).sum()) if "" in column.levels else 0
        notes = [f"{len(column.levels) - bool(n_missing)} values"]
    else:
        n_missing, notes = int(np.isnan(cells).sum()), []
    notes += [f"{n_missing} missing"] * bool(n_missing)
    return f"{column.name}" + (f" ({', '.join(notes)})" if notes else "")


def draw_rows(columns: Sequence[Column], n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw n rows for `columns.code`, shape (n, n_columns), in and somewhat beyond the range of the training rows."""
    rows = np.empty((n, len(columns)))
    for i, column in enumerate(columns):
        if column.kind == "category":
            rows[:, i] = rng.integers(-1, len(column.values), n)
            continue
        low, high = column.low or 0.0, column.high or 0.0
        margin = (high - low) / 4 if column.kind != "boolean" else 0.0
        drawn = rng.uniform(low - margin, high + margin, n)
        rows[:, i] = np.where(rng.random(n) < 0.05, math.nan, np.round(drawn) if column.kind == "boolean" else drawn)
    return rows
