"""Hand over what a study found: the report on disk, on stdout and in MLflow, and the champion."""

from collections.abc import Callable
from pathlib import Path

from sweep.champion.release import hand_on
from sweep.cli.tables import make_table, open_console
from sweep.layout import RunsDir
from sweep.report.conclusion import Conclusion, conclude
from sweep.report.files import publish
from sweep.report.text import champion_line, tables, verdict_lines
from sweep.report.upload import announce
from sweep.track.runs import read_runs


def read_conclusion(runs: RunsDir, study: str) -> Conclusion:
    """Conclude a study from its runs in MLflow. Raises MissingRunsError, TrackingError."""
    return conclude(read_runs(runs, study))


def deliver(runs: RunsDir, study: str, study_file: Path | None = None) -> None:
    """Write a study's report, print it and show it in MLflow.

    study_file: if given, the champion, if there is one, is exported with this file and registered.
    """
    conclusion = read_conclusion(runs, study)
    files = publish(conclusion, runs)
    _print_report(conclusion, files)
    if study_file is not None and conclusion.champion is not None:
        hand_on_champion(conclusion, runs, study_file)
    announce(conclusion, runs)


def refresh_report(runs: RunsDir, study: str) -> None:
    """Write a study's report and show it in MLflow, without a word."""
    conclusion = read_conclusion(runs, study)
    publish(conclusion, runs)
    announce(conclusion, runs)


def hand_on_champion(
    conclusion: Conclusion, runs: RunsDir, study_file: Path, say: Callable[[str], None] = print
) -> None:
    """Export the champion and register it; say each once it is done. Raises TrackingError if it cannot be registered."""
    for line in hand_on(conclusion, runs, study_file):
        say(line)


def _print_report(conclusion: Conclusion, files: list[Path]) -> None:
    console = open_console(width=120)
    for title, rows in tables(conclusion):
        console.print(make_table(f"{conclusion.runs.study.name}: {title.lower()}", rows))
    for line in verdict_lines(conclusion):
        console.print(f"- {line}", highlight=False, soft_wrap=True)
    console.print(f"Champion: {champion_line(conclusion)}", highlight=False, soft_wrap=True)
    console.print(f"Report: {', '.join(map(str, files))}", highlight=False, soft_wrap=True)
