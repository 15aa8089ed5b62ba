"""Tables: the label column and the features of a `.csv`, `.tsv` or `.parquet` file, every column checked."""

import logging
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sweep.data.coding import RawColumn
from sweep.data.groups import read_groups
from sweep.data.kinds import read_features
from sweep.data.labels import to_labels
from sweep.data.text_table import SUFFIXES as TEXT_SUFFIXES
from sweep.data.text_table import scan, suffix_of
from sweep.data.wording import list_some, to_toml
from sweep.errors import InvalidDataError, UnfitColumnsError
from sweep.study.schema import Data, shorten

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

Array = NDArray[Any]
SUFFIXES = (*TEXT_SUFFIXES, ".parquet")
NAMELESS = re.compile(r"|Unnamed: \d+|__index_level_\d+__")  # as Excel, pandas and pyarrow call a column without a name


class Table(Protocol):
    """A file that was opened and whose columns are known by position."""

    @property
    def path(self) -> Path: ...
    @property
    def names(self) -> tuple[str, ...]: ...
    def place(self, row: int) -> str:
        """Say where in the file a row stands."""

    def load(
        self, features: Sequence[int], label: int | None, missing: Sequence[str] | None, as_text: Sequence[int] = ()
    ) -> "pd.DataFrame": ...


@dataclass(frozen=True)
class FrameTable:
    """A table that is in memory; the frame names its columns by position."""

    path: Path
    names: tuple[str, ...]
    frame: "pd.DataFrame"

    def place(self, row: int) -> str:
        return f"row {row + 1}"

    def load(
        self, features: Sequence[int], label: int | None, missing: Sequence[str] | None, as_text: Sequence[int] = ()
    ) -> "pd.DataFrame":
        return self.frame[[*features] if label is None else [*features, label]]


@dataclass(frozen=True)
class Rows:
    """The rows of a table, read."""

    x: Array  # (n, n_columns), float64: numbers, NaN where missing, or the places of a category's values in its levels
    columns: tuple[RawColumn, ...]
    labels: Array  # (n,)
    groups: Array | None  # (n,), the number of each row's group, if the study splits by a column


def read_table(path: Path, spec: Data) -> Rows:
    """Read the features and the labels of a table, every column by its kind. Raises InvalidDataError."""
    if spec.label is None:
        raise InvalidDataError(f"{path}: name its label column with data.label")
    with translate_table_errors(path):
        table = open_table(path, spec.separator, spec.label)
        groups = read_groups(table, spec)
        features, label = _choose(table, spec)
        as_text = [i for i in features if spec.columns.get(table.names[i]) == "category"]
        frame = table.load(features, label, spec.missing, as_text)
    if frame.empty:
        raise InvalidDataError(f"{path}: has no rows")
    labels = _take_labels(table, frame[label], spec)
    x, columns = read_features(table, frame[features], [table.names[i] for i in features], spec.columns)
    return Rows(x, columns, labels, groups)


def open_table(path: Path, separator: str | None, label: str | None = None) -> Table:
    """Open a table and find its columns. label: the column that must not be an index. Raises InvalidDataError, OSError."""
    return _open_parquet(path, label) if suffix_of(path) == ".parquet" else scan(path, separator)


@contextmanager
def translate_table_errors(path: Path) -> Iterator[None]:
    """Raise what a file is that is no table as InvalidDataError."""
    try:
        yield
    except InvalidDataError:
        raise
    # OSError: gzip's too. ValueError: of pandas' parser, of arrow. NotImplementedError: of arrow, for types it does not read.
    except (OSError, EOFError, ValueError, NotImplementedError, MemoryError, zlib.error) as error:
        raise InvalidDataError(f"{path}: not a readable {suffix_of(path)} table: {error}") from error


def _open_parquet(path: Path, label: str | None) -> FrameTable:
    import pandas as pd

    frame = pd.read_parquet(path)
    index = [str(name) for name in frame.index.names if name is not None]
    if label in index:
        raise InvalidDataError(f"{path}: data.label = {label!r} is its index; write it as a column (reset_index())")
    if index:
        logger.info(
            "%s: its index, %s, is no feature; reset_index() before writing makes it one",
            path.name,
            list_some(map(shorten, index)),
        )
    names = tuple(map(str, frame.columns))
    frame.columns = pd.RangeIndex(len(names))
    return FrameTable(path, names, frame)


def _choose(table: Table, spec: Data) -> tuple[list[int], int]:
    """Return the positions of the features and of the label. Raises InvalidDataError.

    The column that says how the table is split is no feature.
    """
    path, names, drop, label = table.path, table.names, spec.drop, str(spec.label)
    if twice := sorted(name for name, n in Counter(names).items() if name and n > 1):
        raise InvalidDataError(
            f"{path}: has several columns named {list_some(map(shorten, twice))}; give each its own name"
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
    features = [i for i in kept if names[i] not in (label, spec.split_by)]
    if not features:
        raise InvalidDataError(
            f"{path}: wanted at least one column beside {label!r}" + " that data.drop leaves" * bool(drop)
        )
    for name in spec.columns:
        if name not in [names[i] for i in features]:
            why = (
                _nearest(name, names) if name not in names else "; it is the label, dropped, or how the table is split"
            )
            raise InvalidDataError(f"{path}: data.columns names {name!r}, which is no feature{why}")
    return features, names.index(label)


def _check_have_names(path: Path, names: Sequence[str], label: str) -> None:
    """Refuse columns without a name, which hold an index most often."""
    nameless = [name for name in dict.fromkeys(names) if NAMELESS.fullmatch(name) and name != label]
    if nameless:
        raise UnfitColumnsError(
            f"{path}: has a column without a name{f', {nameless[0]!r}' if nameless[0] else ''}: an index, most often; "
            f"leave it out with data.drop = {to_toml(nameless)}, or name it",
            dict.fromkeys(nameless, "no name"),
        )


def _take_labels(table: Table, column: "pd.Series[Any]", spec: Data) -> Array:
    label, absent = spec.label, np.flatnonzero(column.isna())
    if len(absent):
        raise InvalidDataError(
            f"{table.path}: column {label!r} has {len(absent)} rows without a label, the first on "
            f"{table.place(absent[0])}; leave these rows out"
        )
    return to_labels(column.to_numpy(), f"column {label!r}", table.path, spec.task)


def _nearest(name: str, names: Sequence[str]) -> str:
    found = get_close_matches(name, names, n=1)
    if len(names) == 1:
        return f": it has one, {shorten(names[0])}; data.separator says what stands between several"
    return f", nearest is {found[0]!r}" if found else f": {list_some(map(shorten, names))}"
