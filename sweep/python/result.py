"""What a study came to, for Python: tables as DataFrames, the champion, and a view for notebooks."""

from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from sweep.overview import Overview, to_row
from sweep.plain_text import to_line
from sweep.python.champion import Champion
from sweep.report.conclusion import Conclusion
from sweep.report.text import build_tables, champion_line, list_figures
from sweep.track.names import REPORT_PAGE

if TYPE_CHECKING:
    import pandas as pd


class Result:
    """A finished study. In a notebook it shows its tables and its champion."""

    def __init__(self, conclusion: Conclusion, overview: Overview, classes: NDArray[Any]) -> None:
        self._conclusion, self._overview, self._classes = conclusion, overview, classes

    @cached_property
    def table(self) -> "pd.DataFrame":
        """The conclusion: a row for each finalist and metric, over its replicates, as `conclusion.csv` has it."""
        import pandas as pd

        head, *rows = list_figures(self._conclusion)
        return pd.DataFrame(rows, columns=list(map(str, head)))

    @cached_property
    def trials(self) -> "pd.DataFrame":
        """The trials of the search and the baselines, the best first, a column for each value of a config."""
        import pandas as pd

        return pd.DataFrame([to_row(one, self._overview.objective) for one in self._overview.ranked])

    @property
    def report(self) -> Path:
        """The page of the report."""
        return self._conclusion.tracked.runs.reports(self._overview.name) / REPORT_PAGE

    @cached_property
    def champion(self) -> Champion | None:
        """The champion; None where the study has none, as one without a confirmation."""
        if self._conclusion.champion is None:
            return None
        return Champion(self._conclusion.tracked.runs.exports(self._overview.name), self._classes)

    def __repr__(self) -> str:
        return (
            f"Study {self._overview.name}. Champion: {to_line(champion_line(self._conclusion))} Report: {self.report}"
        )

    def _repr_html_(self) -> str:
        """Show the tables, the champion and where the report is. All text is shown as it is."""
        tables = "".join(f"<h4>{_show(title)}</h4>{_to_html(rows)}" for title, rows in build_tables(self._conclusion))
        champion = f"<p>Champion: {_show(champion_line(self._conclusion))}</p>"
        return f"{tables}{champion}<p>Report: {_show(str(self.report))}</p>"


def _to_html(rows: list[list[str]]) -> str:
    head, *body = rows
    return f"<table>{_to_html_row(head, 'th')}{''.join(_to_html_row(row, 'td') for row in body)}</table>"


def _to_html_row(cells: list[str], tag: str) -> str:
    return f"<tr>{''.join(f'<{tag}>{_show(cell)}</{tag}>' for cell in cells)}</tr>"


def _show(text: str) -> str:
    return escape(to_line(text))
