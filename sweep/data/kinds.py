"""The kinds of a table's columns: which each column is of, and what is wrong with those that are of none."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sweep.data.coding import RawColumn
from sweep.data.columns import MAX_NUMBER, Kind, read_cells, to_number
from sweep.data.wording import list_some, to_toml
from sweep.errors import UnfitColumnsError
from sweep.study.schema import shorten

if TYPE_CHECKING:
    import pandas as pd

    from sweep.data.tables import Table

Array = NDArray[Any]
DECIMAL_COMMA = re.compile(r"\s*[+-]?\d*,\d+\s*")
MIN_TEXTS = 20  # different cells beyond which text that hardly repeats is no category
MIN_COUNTED = 10  # rows from which on a column that counts them, or never repeats a text, does so by intent
MAX_NAMED = 5  # columns in a way out
NO_TEXT = {"mixed": "lists or other objects", "bytes": "bytes"}  # pandas' words for types, and ours

# What can be wrong with a column of features, and what to do about it.
WAYS_OUT = {
    "not all numbers": "say in data.missing which cells are missing values, or in data.columns that it is a category",
    "not of its kind": "mend these cells, or set another kind in data.columns",
    "decimal commas": "write these numbers with a point",
    "infinite or too large": "mend these cells",
    "no values": "it tells nothing",
    "free text": "it says little of another row; if it is a category, data.columns says so",
}


def read_features(
    table: "Table", frame: "pd.DataFrame", names: Sequence[str], given: Mapping[str, Kind]
) -> tuple[Array, tuple[RawColumn, ...]]:
    """Read the columns of features, shape (n, n_columns), float64, and of which kind each is. Raises UnfitColumnsError.

    names: of the frame's columns; given: kinds that the study sets. One error tells of every column at fault.
    """
    x, columns, faults = np.empty(frame.shape, order="F"), [], Faults(table)
    for j, name in enumerate(names):
        cells = frame.iloc[:, j]
        kind = given.get(name) or find_kind(cells, name, faults)
        if kind is not None:
            x[:, j], column = _read(cells, name, kind, faults)
            columns.append(column)
    faults.tell()
    counting = [c.name for c, cells in zip(columns, x.T, strict=True) if c.is_plain and _counts_rows(cells)]
    if counting:
        raise UnfitColumnsError(
            f"{table.path}: column {list_some(map(shorten, counting))} is the row number, from which a net learns the order of the "
            f"file; leave it out with data.drop = {to_toml(counting)}",
            dict.fromkeys(counting, "row number"),
        )
    return x, tuple(columns)


def _read(cells: "pd.Series[Any]", name: str, kind: Kind, faults: "Faults") -> tuple[Array, RawColumn]:
    found, is_wrong = read_cells(cells, kind)
    if kind == "category":
        levels, places = np.unique(found.astype(str), return_inverse=True)
        return places.astype(np.float64), RawColumn(name, kind, tuple(levels.tolist()))
    if is_wrong.any():
        if kind == "number" and (np.abs(found[is_wrong]) > MAX_NUMBER).all():
            faults.note("infinite or too large", name, is_wrong)
        else:
            faults.note("not of its kind", name, is_wrong, f"has {_show(cells, is_wrong)}, which is no {kind} ")
    elif np.isnan(found).all():
        faults.note("no values", name, np.isnan(found))
    return found, RawColumn(name, kind)


def _show(cells: "pd.Series[Any]", is_it: Array) -> str:
    return shorten(cells.iloc[int(is_it.argmax())])


def find_kind(cells: "pd.Series[Any]", name: str, faults: "Faults") -> Kind | None:
    """Return the kind that a column looks like; None, and the fault noted, where it is none of them."""
    import pandas as pd

    told = pd.api.types.infer_dtype(cells, skipna=True)
    match told:
        case "boolean":
            return "boolean"
        case "integer" | "floating" | "mixed-integer-float" | "decimal" | "empty":
            return "number"
        case "categorical":
            return "category"
        case "datetime64" | "datetime" | "date":
            return "date"
        case "string":
            return _find_kind_of_text(cells, name, faults)
    faults.note("not of its kind", name, ~cells.isna().to_numpy(np.bool_), f"holds {NO_TEXT.get(told, told)} ")
    return None


def _find_kind_of_text(cells: "pd.Series[Any]", name: str, faults: "Faults") -> Kind | None:
    """Return the kind of a column that holds text; a number among these, such as one of more than 64 bits, is text too."""
    present = cells.dropna().astype(str)
    different = set(present)
    is_number = {cell: to_number(cell) is not None for cell in different}
    if all(is_number.values()):
        return "number"
    n_commas = sum(bool(DECIMAL_COMMA.fullmatch(cell)) for cell in different)
    if 2 * (n_commas + sum(is_number.values())) >= len(different):
        is_wrong = np.array([not is_number.get(cell, True) for cell in cells.astype(object)])
        have_commas = n_commas + sum(is_number.values()) == len(different)
        kind = "decimal commas" if have_commas else "not all numbers"
        faults.note(kind, name, is_wrong, f"has {_show(cells, is_wrong)} ")
        faults.cells |= {cell for cell, is_good in is_number.items() if not is_good}
        return None
    if not read_cells(present, "date")[1].any():
        return "date"
    never_repeats = len(different) == len(present) >= MIN_COUNTED
    if never_repeats or len(different) > max(MIN_TEXTS, len(present) / 2):
        faults.note("free text", name, cells.notna().to_numpy(np.bool_), f"has {len(different)} different values ")
        return None
    return "category"


def _counts_rows(column: Array) -> bool:
    return len(column) >= MIN_COUNTED and column[0] in (0, 1) and bool((np.diff(column) == 1).all())


class Faults:
    """What is wrong with the features of a table, gathered to be told all at once."""

    def __init__(self, table: "Table") -> None:
        self.table = table
        self.found: dict[str, dict[str, str]] = {kind: {} for kind in WAYS_OUT}  # kind -> column -> where
        self.cells: set[str] = set()  # that are no numbers, among numbers

    def note(self, kind: str, name: str, is_it: Array, said: str = "") -> None:
        """Note that the cells where `is_it`, shape (n,), are at fault."""
        n, first = int(is_it.sum()), self.table.place(int(is_it.argmax()))
        where = f"({n} of {len(is_it)} cells, the first on {first})" if n > 1 else f"({first})"
        self.found[kind][name] = f"column {shorten(name)} {said}{where}"

    def tell(self) -> None:
        """Raise UnfitColumnsError if any column is at fault: one line for all of them."""
        told = [f"{kind}: {list_some(found.values())}: {WAYS_OUT[kind]}" for kind, found in self.found.items() if found]
        if told:
            names = dict.fromkeys(name for found in self.found.values() for name in found)
            drop = to_toml(names, MAX_NAMED)
            raise UnfitColumnsError(
                f"{self.table.path}: {'; '.join(told)}; or leave the columns out with data.drop = {drop}",
                {name: kind for kind, found in self.found.items() for name in found},
                self.cells,
            )
