"""Print what a study found."""

from pathlib import Path

from sweep.cli.tables import make_table, open_console
from sweep.plain_text import to_line
from sweep.report.conclusion import Conclusion
from sweep.report.notes import list_notes
from sweep.report.text import build_tables, champion_line, verdict_lines


def print_conclusion(conclusion: Conclusion, files: list[Path]) -> None:
    """Print tables, notes, verdicts and the champion of a study, and where its report is. files: of the report."""
    console = open_console(width=120)
    for title, rows in build_tables(conclusion):
        console.print(make_table(f"{conclusion.tracked.study.name}: {title.lower()}", rows))
    for note in list_notes(conclusion):
        console.print(note, highlight=False, soft_wrap=True)
    for line in verdict_lines(conclusion):
        console.print(f"- {line}", highlight=False, soft_wrap=True)
    console.print(f"Champion: {champion_line(conclusion)}", highlight=False, soft_wrap=True)
    console.print(f"Report: {to_line(', '.join(map(str, files)))}", highlight=False, soft_wrap=True)
