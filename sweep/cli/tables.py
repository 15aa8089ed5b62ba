"""Tables on stdout."""

import sys

from rich.console import Console
from rich.table import Table


def open_console(width: int) -> Console:
    """Return a console on stdout: as wide as the terminal, or `width` columns where there is none."""
    return Console() if sys.stdout.isatty() else Console(width=width)


def make_table(title: str, rows: list[list[str]]) -> Table:
    """Return a table of `rows`, the first of which holds the headings."""
    table = Table(title=title, title_justify="left")
    for heading in rows[0]:
        table.add_column(heading)
    for row in rows[1:]:
        table.add_row(*row)
    return table
