"""Tables as text, such as `.csv`: the header and every row's length are checked before pandas reads the columns.

pandas guesses where a table is not even: it makes an index of columns that the header does not name, and renames columns of
one name. So the file is read twice: here by Python's `csv`, which guesses nothing, then by pandas, which is fast.
"""

import csv
import gzip
import io
import itertools
import logging
import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import IO, TYPE_CHECKING, Any, cast

from sweep.data.columns import to_number
from sweep.errors import InvalidDataError
from sweep.study.schema import shorten

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}  # that are told apart by the first rows
N_FIRST = 20  # rows by which they are told apart
# Cells that stand for a missing value beside empty ones: those of pandas.
MISSING = (
    "NA", "N/A", "n/a", "<NA>", "#NA", "#N/A", "#N/A N/A", "NaN", "nan", "-NaN", "-nan", "NULL", "null", "None",
    "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN",
)  # fmt: skip


def suffix_of(path: PurePath) -> str:
    """Return the suffix of a data file in small letters, with the one before `.gz`."""
    n = 2 if path.suffix.lower() == ".gz" else 1
    return "".join(path.suffixes[-n:]).lower()


@dataclass(frozen=True)
class TextTable:
    """A table whose rows all have as many values as its header has names."""

    path: Path
    separator: str
    names: tuple[str, ...]  # of columns, in their order
    lines: "array[int]"  # on which each row starts, the first line being 1

    def place(self, row: int) -> str:
        return f"line {self.lines[row]}"

    def load(
        self, features: Sequence[int], label: int | None, missing: Sequence[str] | None, as_text: Sequence[int] = ()
    ) -> "pd.DataFrame":
        """Read the columns at these positions, by which the frame names them. Raises InvalidDataError.

        missing: cells of features that stand for a missing value, beside empty ones. Only an empty label is none.
        as_text: features whose cells stay as they stand, such as codes with zeros before them.
        """
        import pandas as pd

        absent = ["", *(MISSING if missing is None else missing)]
        na_values: dict[Any, list[str]] = dict.fromkeys(features, absent)
        if label is not None:
            na_values[label] = [""]
        with _open(self.path) as file:
            frame = pd.read_csv(
                file,
                sep=self.separator,
                header=0,
                names=range(len(self.names)),
                usecols=list(na_values),
                dtype=dict.fromkeys(as_text, str),
                index_col=False,
                keep_default_na=False,
                na_values=na_values,
                low_memory=False,  # else each chunk of a column has a type of its own
            )
        if len(frame) != len(self.lines):
            raise InvalidDataError(
                f"{self.path}: has {len(self.lines)} rows or {len(frame)}, by how its quotes are read; write it anew with quotes closed"
            )
        return frame


def scan(path: Path, separator: str | None) -> TextTable:
    """Check the header and the length of every row. separator: None to find it out. Raises InvalidDataError, OSError."""
    try:
        separator = separator or _find_separator(path)
        with _open(path) as file:
            rows = _read_rows(file, separator, path)
            _, names = next(rows, (0, []))
            lines = array("q", _check_lengths(rows, len(names), path))
    except UnicodeDecodeError as error:
        raise InvalidDataError(f"{path}: not UTF-8 text: {_find_undecodable(path)}; save it as UTF-8") from error
    _check_header(names, path)
    return TextTable(path, separator, tuple(names), lines)


def _open(path: Path) -> IO[str]:
    """Open a file of text, unpacked. Line ends stay as they are, for the parsers to see, a byte order mark is left out."""
    return io.TextIOWrapper(_open_bytes(path), encoding="utf-8-sig", newline="")


def _open_bytes(path: Path) -> IO[bytes]:
    if path.suffix.lower() == ".gz":
        return cast(IO[bytes], gzip.open(path, "rb"))
    return path.open("rb")


def _read_rows(file: IO[str], separator: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield each row that is not blank, with the line on which it starts."""
    reader, start = csv.reader(_without_zeros(file, path), delimiter=separator), 1
    try:
        for row in reader:
            if len(row) > 1 or "".join(row).strip():
                yield start, row
            start = reader.line_num + 1
    except csv.Error as error:
        raise InvalidDataError(f"{path}: line {start}: {error}; is a quote not closed?") from error


def _without_zeros(file: IO[str], path: Path) -> Iterator[str]:
    for number, line in enumerate(file, 1):
        if "\0" in line:
            raise InvalidDataError(
                f"{path}: line {number} holds a zero byte, so it is not UTF-8 text; save it as UTF-8"
            )
        yield line


def _check_lengths(rows: Iterator[tuple[int, list[str]]], n_columns: int, path: Path) -> Iterator[int]:
    for start, row in rows:
        if len(row) != n_columns:
            is_open = any("\n" in cell for cell in row)
            raise InvalidDataError(
                f"{path}: the header names {n_columns} column{'s' * (n_columns != 1)}, line {start} has {len(row)} value"
                f"{'s' * (len(row) != 1)}" + ("; is a quote not closed?" if is_open else "")
            )
        yield start


def _check_header(names: Sequence[str], path: Path) -> None:
    if not names:
        raise InvalidDataError(f"{path}: empty; wanted a line of column names, then rows")
    numbers = [n for n in map(to_number, names) if n is not None and math.isfinite(n)]
    if 2 * len(numbers) >= len(names) and not _count_up(numbers):
        raise InvalidDataError(
            f"{path}: line 1 looks like data ({shorten(', '.join(names))[1:-1]}); put a line of column names above it"
        )


def _count_up(numbers: Sequence[float]) -> bool:
    """Return whether columns with these names are numbered ones; a lone number may as well be a value."""
    is_rising = all(b == a + 1 for a, b in itertools.pairwise(numbers)) and all(n.is_integer() for n in numbers)
    return is_rising and (len(numbers) > 1 or numbers[0] in (0, 1))


def _find_separator(path: Path) -> str:
    """Find the separator by which the first rows have as many values as the header, of several that with the most columns."""
    order = sorted(SEPARATORS, key=lambda separator: separator != _usual_separator(path))
    found = max(order, key=lambda separator: _count_columns(path, separator))
    if found != _usual_separator(path):
        logger.info("%s: its columns are separated by %s; data.separator sets another", path.name, SEPARATORS[found])
    return found


def _usual_separator(path: Path) -> str:
    return "\t" if suffix_of(path).startswith(".tsv") else ","


def _count_columns(path: Path, separator: str) -> tuple[bool, int]:
    """Return whether the first rows are even and of several columns, and how many the header names."""
    with _open(path) as file:
        lengths = [len(row) for _, row in itertools.islice(_read_rows(file, separator, path), N_FIRST)]
    return len(set(lengths)) == 1 and lengths[0] > 1, max(lengths[:1], default=0)


def _find_undecodable(path: Path) -> str:
    with _open_bytes(path) as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                return f"byte 0x{line[error.start]:02x} on line {number}"
    return "it ends within a letter"
