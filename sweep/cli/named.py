"""Studies that a command finds in a runs directory: given by name or by file, and described."""

import argparse
import re
from pathlib import Path

from sweep.errors import InvalidSettingError
from sweep.overview import Overview
from sweep.record.trials import RecordedTrial
from sweep.study.file import load_study
from sweep.study.objective import format_metric
from sweep.study.table import STUDY_NAME


def read_study_name(arguments: argparse.Namespace) -> str:
    """Return the name of the study that was given. Raises InvalidSettingError, and InvalidStudyError for a faulty file."""
    given = arguments.name
    if given.endswith(".toml") and Path(given).exists():
        return load_study(Path(given))[0].name
    if not re.fullmatch(STUDY_NAME.pattern, given):
        raise InvalidSettingError(
            f"{arguments.command} {given}: no name of a study ({STUDY_NAME.wanted}), and no study file"
        )
    return str(given)


def describe_value(study: Overview, one: RecordedTrial | None) -> str:
    """Return the value that a trial is ranked by, or a dash."""
    return "-" if one is None or one.value is None else format_metric(study.objective, one.value)


def describe_seconds(seconds: float) -> str:
    """Return a duration as hours, minutes and seconds, such as `1:02:03` or `2:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
