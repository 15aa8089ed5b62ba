"""Tables: the label column and the features of a `.csv`, `.tsv` or `.parquet` file, every column checked."""

import json
import logging
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sweep.data.groups import read_groups
from sweep.data.labels import to_labels
from sweep.data.text_table import SUFFIXES as TEXT_SUFFIXES
from sweep.data.text_table import scan, suffix_of, to_number
from sweep.errors import InvalidDataError
from sweep.study.schema import Data, shorten

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

Array = NDArray[Any]
SUFFIXES = (*TEXT_SUFFIXES, ".parquet")
NAMELESS = re.compile(r"|Unnamed: \d+|__index_level_\d+__")  # as Excel, pandas and pyarrow call a column without a name
DECIMAL_COMMA = re.compile(r"\s*[+-]?\d*,\d+\s*")
KINDS = {
    "string": "text",
    "mixed": "lists or other objects",
    "categorical": "categories",
}  # pandas' words for types, and ours
MAX_SHOWN = 5  # columns in a message
MIN_COUNTED = 10  # rows from which on a column that counts them does so by intent


class Table(Protocol):
    """A file that was opened and whose columns are known by position."""

    @property
    def path(self) -> Path: ...
    @property
    def names(self) -> tuple[str, ...]: ...
    def place(self, row: int) -> str:
        """Say where in the file a row stands."""

    def load(self, features: Sequence[int], label: int, missing: Sequence[str] | None) -> "pd.DataFrame": ...


@dataclass(frozen=True)
class ParquetTable:
    path: Path
    names: tuple[str, ...]
    frame: "pd.DataFrame"

    def place(self, row: int) -> str:
        return f"row {row + 1}"

    def load(self, features: Sequence[int], label: int, missing: Sequence[str] | None) -> "pd.DataFrame":
        return self.frame[[*features, label]]


def read_table(path: Path, spec: Data) -> tuple[Array, Array, Array | None]:
    """Read the features, shape (n, n_features), float64, and the labels, shape (n,), of a table. Raises InvalidDataError.

    Third, if the study splits by a column, the number of each row's group, shape (n,).
    """
    if spec.label is None:
        raise InvalidDataError(f"{path}: name its label column with data.label")
    try:
        table: Table = _open_parquet(path, spec) if suffix_of(path) == ".parquet" else scan(path, spec.separator)
        groups = read_groups(table, spec)
        features, label = _choose(table, spec.label, spec.drop, spec.split_by)
        frame = table.load(features, label, spec.missing)
    except InvalidDataError:
        raise
    # OSError: gzip's too. ValueError: of pandas' parser, of arrow. NotImplementedError: of arrow, for types it does not read.
    except (OSError, EOFError, ValueError, NotImplementedError, MemoryError, zlib.error) as error:
        raise InvalidDataError(f"{path}: not a readable {suffix_of(path)} table: {error}") from error
    if frame.empty:
        raise InvalidDataError(f"{path}: has no rows")
    y = _take_labels(table, frame[label], spec)
    return _take_features(table, frame[features], [table.names[i] for i in features]), y, groups


def _open_parquet(path: Path, spec: Data) -> ParquetTable:
    import pandas as pd

    frame = pd.read_parquet(path)
    index = [str(name) for name in frame.index.names if name is not None]
    if spec.label in index:
        raise InvalidDataError(
            f"{path}: data.label = {spec.label!r} is its index; write it as a column (reset_index())"
        )
    if index:
        logger.info(
            "%s: its index, %s, is no feature; reset_index() before writing makes it one",
            path.name,
            _list(map(shorten, index)),
        )
    names = tuple(map(str, frame.columns))
    frame.columns = pd.RangeIndex(len(names))
    return ParquetTable(path, names, frame)


def _choose(table: Table, label: str, drop: Sequence[str], split_by: str | None = None) -> tuple[list[int], int]:
    """Return the positions of the features and of the label. Raises InvalidDataError.

    split_by: a column that is no feature, because it says how the table is split.
    """
    path, names = table.path, table.names
    if twice := sorted(name for name, n in Counter(names).items() if name and n > 1):
        raise InvalidDataError(
            f"{path}: has several columns named {_list(map(shorten, twice))}; give each its own name"
        )
    if label not in names:
        raise InvalidDataError(f"{path}: data.label = {label!r} is not one of its columns{_nearest(label, names)}")
    if label in drop:
        raise InvalidDataError(f"{path}: data.drop names the label column {label!r}; leave it out")
    aliases = [{name, f"Unnamed: {i}"} if name == "" else {name} for i, name in enumerate(names)]
    for name in drop:
        if not any(name in known for known in aliases):
            raise InvalidDataError(f"{path}: data.drop names {name!r}, not one of its columns{_nearest(name, names)}")
    kept = [i for i, known in enumerate(aliases) if not known & set(drop)]
    _check_have_names(path, [names[i] for i in kept], label)
    features = [i for i in kept if names[i] not in (label, split_by)]
    if not features:
        raise InvalidDataError(
            f"{path}: wanted at least one column beside {label!r}" + " that data.drop leaves" * bool(drop)
        )
    return features, names.index(label)


def _check_have_names(path: Path, names: Sequence[str], label: str) -> None:
    """Refuse columns without a name, which hold an index most often."""
    nameless = [name for name in dict.fromkeys(names) if NAMELESS.fullmatch(name) and name != label]
    if nameless:
        raise InvalidDataError(
            f"{path}: has a column without a name{f', {nameless[0]!r}' if nameless[0] else ''}: an index, most often; "
            f"leave it out with data.drop = {_to_toml(nameless)}, or name it"
        )


def _take_labels(table: Table, column: "pd.Series[Any]", spec: Data) -> Array:
    label, absent = spec.label, np.flatnonzero(column.isna())
    if len(absent):
        raise InvalidDataError(
            f"{table.path}: column {label!r} has {len(absent)} rows without a label, the first on "
            f"{table.place(absent[0])}; leave these rows out"
        )
    return to_labels(column.to_numpy(), f"column {label!r}", table.path, spec.task)


def _take_features(table: Table, frame: "pd.DataFrame", names: Sequence[str]) -> Array:
    x, faults = np.empty(frame.shape, order="F"), _Faults(table)
    for j, name in enumerate(names):
        x[:, j] = faults.take(name, frame.iloc[:, j])
    faults.tell()
    if counting := [name for name, column in zip(names, x.T, strict=True) if _counts_rows(column)]:
        raise InvalidDataError(
            f"{table.path}: column {_list(map(shorten, counting))} is the row number, from which a net learns the order of the "
            f"file; leave it out with data.drop = {_to_toml(counting)}"
        )
    return x


def _counts_rows(column: Array) -> bool:
    return len(column) >= MIN_COUNTED and column[0] in (0, 1) and bool((np.diff(column) == 1).all())


# What can be wrong with a column of features, and what to do about it.
WAYS_OUT = {
    "not all numbers": "encode it as numbers, or say in data.missing which cells are missing values",
    "decimal commas": "write these numbers with a point",
    "infinite or too large": "mend these cells",
    "missing values": "fill them in, or leave out their rows",
}


class _Faults:
    """What is wrong with the features of a table, gathered to be told all at once."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.found: dict[str, dict[str, str]] = {kind: {} for kind in WAYS_OUT}  # kind -> column -> where

    def take(self, name: str, cells: "pd.Series[Any]") -> Array:
        """Return a column as float64, shape (n,); what is no number becomes NaN, and is noted."""
        import pandas as pd

        absent = cells.isna().to_numpy()
        self._note("missing values", name, absent)
        if pd.api.types.is_numeric_dtype(cells.dtype):
            x = cells.to_numpy(np.float64, na_value=np.nan)
        elif (kind := pd.api.types.infer_dtype(cells, skipna=True)) in ("boolean", "empty"):  # with missing values
            x = np.where(absent, np.nan, np.equal(cells.to_numpy(), True).astype(np.float64))
        elif isinstance(self.table, ParquetTable):
            self._note("not all numbers", name, ~absent, f"holds {KINDS.get(kind, kind)} ")
            return np.full(len(cells), np.nan)
        else:
            x = self._read_text(name, cells.astype(str).to_numpy(object), absent)
        self._note("infinite or too large", name, np.isinf(x))
        return x

    def _read_text(self, name: str, cells: Array, absent: Array) -> Array:
        """Read cells that pandas took for text, such as whole numbers of more than 64 bits."""
        numbers = {cell: to_number(cell) for cell in set(cells[~absent])}
        is_wrong = np.array(
            [not is_absent and numbers[cell] is None for cell, is_absent in zip(cells, absent, strict=True)]
        )
        if is_wrong.any():
            have_commas = all(DECIMAL_COMMA.fullmatch(cell) for cell, number in numbers.items() if number is None)
            kind = "decimal commas" if have_commas else "not all numbers"
            self._note(kind, name, is_wrong, f"has {shorten(cells[is_wrong][0])} ")
        return np.array([numbers.get(cell) for cell in cells], dtype=np.float64)  # None becomes NaN

    def _note(self, kind: str, name: str, is_it: Array, said: str = "") -> None:
        if is_it.any():
            n, first = int(is_it.sum()), self.table.place(int(is_it.argmax()))
            where = f"({n} of {len(is_it)} cells, the first on {first})" if n > 1 else f"({first})"
            self.found[kind][name] = f"column {shorten(name)} {said}{where}"

    def tell(self) -> None:
        """Raise InvalidDataError if any column is at fault: one line for all of them."""
        told = [f"{kind}: {_list(found.values())}: {WAYS_OUT[kind]}" for kind, found in self.found.items() if found]
        if told:
            names = dict.fromkeys(name for found in self.found.values() for name in found)
            drop = _to_toml(names, MAX_SHOWN)
            raise InvalidDataError(
                f"{self.table.path}: {'; '.join(told)}; or leave the columns out with data.drop = {drop}"
            )


def _list(texts: Iterable[str]) -> str:
    shown = list(texts)
    return ", ".join(shown[:MAX_SHOWN]) + (f" and {len(shown) - MAX_SHOWN} more" if len(shown) > MAX_SHOWN else "")


def _nearest(name: str, names: Sequence[str]) -> str:
    found = get_close_matches(name, names, n=1)
    if len(names) == 1:
        return f": it has one, {shorten(names[0])}; data.separator says what stands between several"
    return f", nearest is {found[0]!r}" if found else f": {_list(map(shorten, names))}"


def _to_toml(names: Iterable[str], n_most: int | None = None) -> str:
    """Return names as a list in a study file."""
    listed = list(names)
    shown = [json.dumps(name, ensure_ascii=False) for name in listed[:n_most]]
    return f"[{', '.join(shown + ['...'] * (len(shown) < len(listed)))}]"
