"""Rows of a table that a bundle's model is asked about: its columns found by name, whatever their order."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sweep.data.columns import Column, read_cells, read_columns
from sweep.data.files import read_arrays
from sweep.data.tables import FrameTable, Table, open_table, translate_table_errors
from sweep.data.wording import list_some
from sweep.errors import InvalidDataError
from sweep.study.schema import shorten

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)


def read_file(path: Path, wanted: dict[str, Any], id_column: str | None) -> tuple[list[NDArray[Any]], list[str]]:
    """Read the rows of a file as `read_table` does. Raises InvalidDataError."""
    with translate_table_errors(path):
        return read_table(_open(path, wanted["separator"]), wanted, id_column)


def read_frame(frame: "pd.DataFrame", wanted: dict[str, Any]) -> list[NDArray[Any]]:
    """Read the rows of a frame as those of a file. Raises InvalidDataError."""
    names = tuple(map(str, frame.columns))
    table = FrameTable(Path("X"), names, frame.set_axis(range(len(names)), axis="columns"))
    with translate_table_errors(table.path):
        return read_table(table, wanted, None)[0]


def read_table(table: Table, wanted: dict[str, Any], id_column: str | None) -> tuple[list[NDArray[Any]], list[str]]:
    """Read the cells of each column that a model wants, shape (n,) each, and what names the rows. Raises InvalidDataError.

    wanted: `input` of summary.json. id_column: whose cells name the rows; without it, their numbers from 0 do. Columns that
    the model does not know are left aside, with a line.
    """
    columns = read_columns([{n: v for n, v in c.items() if n != "features"} for c in wanted["columns"]])
    _check_names(table, [column.name for column in columns], wanted["label"], id_column)
    at = {column.name: table.names.index(column.name) for column in columns}
    as_text = [at[column.name] for column in columns if column.kind == "category"]
    frame = table.load(list(at.values()), None, wanted["missing"], as_text)
    ids = None if id_column is None else _load_ids(table, id_column)
    if frame.empty:
        raise InvalidDataError(f"{table.path}: has no rows")
    cells = [_read(table, frame[at[column.name]], column) for column in columns]
    return cells, list(map(str, range(len(frame)))) if ids is None else ids


def _open(path: Path, separator: str | None) -> Table:
    if path.suffix.lower() != ".npz":
        return open_table(path, separator)
    import pandas as pd

    arrays = {name: cells for name, cells in read_arrays(path, list).items() if cells.ndim == 1}
    if len({len(cells) for cells in arrays.values()}) > 1 or not arrays:
        raise InvalidDataError(f"{path}: wanted an array for each column, by its name, all of one length, shape (n,)")
    return FrameTable(path, tuple(arrays), pd.DataFrame(dict(enumerate(arrays.values()))))


def _check_names(table: Table, names: Sequence[str], label: str, id_column: str | None) -> None:
    wanted = [*names, *[id_column] * (id_column is not None)]
    if absent := [name for name in wanted if name not in table.names]:
        raise InvalidDataError(
            f"{table.path}: has no column {list_some(map(shorten, absent))}, which the model takes; it has "
            f"{list_some(map(shorten, table.names))}"
        )
    if twice := [name for name in wanted if table.names.count(name) > 1]:
        raise InvalidDataError(f"{table.path}: has several columns named {shorten(twice[0])}; give each its own name")
    if extra := [name for name in table.names if name not in (*wanted, label)]:
        logger.info("%s: the model takes no column %s; left aside", table.path.name, list_some(map(shorten, extra)))


def _load_ids(table: Table, name: str) -> list[str]:
    at = table.names.index(name)
    return ["" if cell != cell else str(cell) for cell in table.load([at], None, (), [at]).iloc[:, 0]]


def _read(table: Table, cells: Any, column: Column) -> NDArray[Any]:
    found, is_wrong = read_cells(cells, column.kind)
    if is_wrong.any():
        row = int(np.argmax(is_wrong))
        raise InvalidDataError(
            f"{table.path}: column {shorten(column.name)} has {shorten(cells.iloc[row])} ({table.place(row)}), which is no "
            f"{column.kind}; leave the cell empty if it is missing"
        )
    return found
