"""Open the job of a study that a command is given."""

import argparse

from sweep.cli.arguments import locate_runs
from sweep.conduct.job import make_job, read_data
from sweep.coordinator import Job, check_recorded
from sweep.study.file import load_study


def open_job(arguments: argparse.Namespace) -> Job:
    """Return the job of a study that has been run before. Raises MissingRunsError if it has not."""
    study, table = load_study(arguments.study)
    runs = locate_runs(arguments)
    check_recorded(runs, study.name)
    return make_job(study, table, read_data(study, arguments.study.parent), runs)
