"""Hand over what a study found: the report on disk and in MLflow, and the champion."""

from collections.abc import Callable
from pathlib import Path

from sweep.layout import RunsDir
from sweep.report.conclusion import Conclusion, conclude
from sweep.report.files import publish
from sweep.report.upload import upload
from sweep.track.runs import read_study


def read_conclusion(runs: RunsDir, study: str) -> Conclusion:
    """Conclude a study from its runs in MLflow. Raises MissingRunsError, TrackingError."""
    return conclude(read_study(runs, study))


def deliver(
    runs: RunsDir,
    study: str,
    typed: str | None,
    show: Callable[[Conclusion, list[Path]], None],
    say: Callable[[str], None],
) -> Conclusion:
    """Write a study's report, show it here and in MLflow, and return what it concludes.

    typed: the study file as it was typed; if given, the champion, if there is one, is exported with it and registered.
    show: is given the conclusion and the files of the report. say: hears a line for each thing more that is done.
    """
    conclusion = read_conclusion(runs, study)
    files = publish(conclusion)
    show(conclusion, files)
    if typed is not None and conclusion.champion is not None:
        # Imported here, not above: what it loads would come on top of the report's peak of memory, 14 MB.
        from sweep.champion.release import release

        release(conclusion, typed, say)
    upload(conclusion)
    return conclusion


def refresh_report(runs: RunsDir, study: str) -> None:
    """Write a study's report and show it in MLflow, without a word."""
    conclusion = read_conclusion(runs, study)
    publish(conclusion)
    upload(conclusion)
