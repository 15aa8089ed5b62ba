"""The column of a table that says which of its rows stay together when it is split, or which come last."""

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sweep.errors import InvalidDataError
from sweep.study.schema import Data, shorten

if TYPE_CHECKING:
    import pandas as pd

    from sweep.data.tables import Table

logger = logging.getLogger(__name__)


def read_groups(table: "Table", spec: Data) -> NDArray[np.int64] | None:
    """Return the number of each row's group, shape (n,); None where rows are drawn one by one. Raises InvalidDataError.

    Groups are numbered in the order of their names, or, where the study splits by order, in the order of time.
    """
    if spec.split_by is None:
        return None
    key, name = ("group" if spec.group is not None else "order"), spec.split_by
    if name not in table.names or name == spec.label or name in spec.drop:
        known = [known for known in table.names if known != spec.label and known not in spec.drop]
        raise InvalidDataError(
            f"{table.path}: data.{key} = {name!r} is not one of its columns beside the label: {', '.join(map(shorten, known[:8]))}"
        )
    position = table.names.index(name)
    # Only an empty cell has no group: `NA` may be a name.
    cells = table.load([position], position, ()).iloc[:, 0]
    absent = np.flatnonzero(cells.isna() | (cells.astype(str).str.strip() == ""))
    if len(absent):
        raise InvalidDataError(
            f"{table.path}: data.{key} = {name!r}: {len(absent)} rows have none, the first on {table.place(absent[0])}; fill "
            "it in, or leave these rows out"
        )
    values = _to_times(table, cells, name) if key == "order" else cells.astype(str).to_numpy(object)
    groups: NDArray[np.int64] = np.unique(values, return_inverse=True)[1].astype(np.int64)
    logger.info("%s: %s is how it is split, and no feature; it has %d values", table.path.name, name, groups.max() + 1)
    return groups


def _to_times(table: "Table", cells: "pd.Series[Any]", name: str) -> NDArray[Any]:
    """Return dates, times or numbers in a form that sorts. Raises InvalidDataError."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(cells.dtype):
        return cells.to_numpy(np.float64)
    numbers = pd.to_numeric(cells, errors="coerce")
    if not numbers.isna().any():
        return numbers.to_numpy(np.float64)
    times = pd.to_datetime(cells, errors="coerce", format="ISO8601", utc=True)
    wrong = np.flatnonzero(times.isna())
    if len(wrong):
        raise InvalidDataError(
            f"{table.path}: data.order = {name!r}: {shorten(cells.iloc[wrong[0]])} ({table.place(wrong[0])}) is no number and no "
            "date like 2026-11-27 or 2026-11-27T13:45; write it so"
        )
    return times.to_numpy()
