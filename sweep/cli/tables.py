"""Tables on stdout."""

import sys

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sweep.cli.stdout import discard_stdout


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Go on without a word, as `say` does. Rich would end the program."""
        self.quiet = True
        discard_stdout()


def open_console(width: int) -> Console:
    """Return a console on stdout: as wide as the terminal, or `width` columns where there is none."""
    # Names and paths are text: `[b]` is not bold, `:cat:` no cat.
    return _Console(width=None if sys.stdout.isatty() else width, markup=False, emoji=False)


def make_table(title: str, rows: list[list[str]]) -> Table:
    """Return a table of `rows`, the first of which holds the headings."""
    table = Table(title=title, title_justify="left")
    for heading in rows[0]:
        table.add_column(heading)
    for row in rows[1:]:
        table.add_row(*map(Text, row))  # as it is: a class may be called "[b]"
    return table
