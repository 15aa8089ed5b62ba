"""The columns of a table as a report shows them: what each was taken for, and what its training rows hold."""

from collections.abc import Callable

import numpy as np

from sweep.data.columns import Column
from sweep.data.facts import DataFacts
from sweep.plain_text import to_code, to_line

COLUMNS = "What the columns were taken for"  # the title
MAX_COLUMNS = 100
MAX_VALUES = 8  # of a category


def build_columns_table(
    facts: DataFacts, show: Callable[[str], str] = to_line, n_most: int = MAX_COLUMNS
) -> list[list[str]]:
    """Build a table with a row for each column, the head first; empty where rows are arrays. show: of names and values."""
    if not facts.columns:
        return []
    rows = [[show(column.name), column.kind, _describe(column, show)] for column in facts.columns[:n_most]]
    if (n_more := len(facts.columns) - n_most) > 0:
        rows.append([f"and {n_more} more", "", ""])
    return [["Column", "Kind", "In the training rows"], *rows]


def to_cell(text: str) -> str:
    """Show text as code in a table of Markdown."""
    return to_code(text).replace("|", "\\|")


def _describe(column: Column, show: Callable[[str], str]) -> str:
    missing = ["some missing"] * (column.has_missing or "" in column.values)
    if column.kind == "category":
        values = [show(value) for value in column.values if value]
        shown = values[:MAX_VALUES] + [f"{len(values) - MAX_VALUES} more"] * (len(values) > MAX_VALUES)
        return ", ".join(shown + ["rare ones"] * column.has_rare + missing)
    ends = [column.low or 0.0, column.high or 0.0]
    words = [str(np.datetime64(int(end), "D")) if column.kind == "date" else f"{end:.6g}" for end in ends]
    return ", ".join([" to ".join(words), *missing])
