"""Hand over what a study found: the report on disk, on stdout and in MLflow, and the champion."""

from pathlib import Path

from sweep.cli.stdout import say
from sweep.cli.tables import make_table, open_console
from sweep.layout import RunsDir
from sweep.plain_text import to_line
from sweep.report.conclusion import Conclusion, conclude
from sweep.report.files import publish
from sweep.report.notes import list_notes
from sweep.report.text import build_tables, champion_line, verdict_lines
from sweep.report.upload import upload
from sweep.track.runs import read_study


def read_conclusion(runs: RunsDir, study: str) -> Conclusion:
    """Conclude a study from its runs in MLflow. Raises MissingRunsError, TrackingError."""
    return conclude(read_study(runs, study))


def deliver(runs: RunsDir, study: str, study_file: Path | None = None) -> None:
    """Write a study's report, print it and show it in MLflow.

    study_file: if given, the champion, if there is one, is exported with this file and registered.
    """
    conclusion = read_conclusion(runs, study)
    files = publish(conclusion)
    _print_report(conclusion, files)
    if study_file is not None and conclusion.champion is not None:
        # Imported here, not above: what it loads would come on top of the report's peak of memory, 14 MB.
        from sweep.champion.release import release

        release(conclusion, study_file, say)
    upload(conclusion)


def refresh_report(runs: RunsDir, study: str) -> None:
    """Write a study's report and show it in MLflow, without a word."""
    conclusion = read_conclusion(runs, study)
    publish(conclusion)
    upload(conclusion)


def _print_report(conclusion: Conclusion, files: list[Path]) -> None:
    console = open_console(width=120)
    for title, rows in build_tables(conclusion):
        console.print(make_table(f"{conclusion.tracked.study.name}: {title.lower()}", rows))
    for note in list_notes(conclusion):
        console.print(note, highlight=False, soft_wrap=True)
    for line in verdict_lines(conclusion):
        console.print(f"- {line}", highlight=False, soft_wrap=True)
    console.print(f"Champion: {champion_line(conclusion)}", highlight=False, soft_wrap=True)
    console.print(f"Report: {to_line(', '.join(map(str, files)))}", highlight=False, soft_wrap=True)
