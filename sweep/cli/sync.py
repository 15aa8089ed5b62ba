"""`sync`: track the ended trials that MLflow lacks, and bring the report up to date."""

import argparse

from sweep.cli.jobs import open_job
from sweep.cli.stdout import say
from sweep.conduct.log import set_up_logging
from sweep.conduct.outcome import refresh_report
from sweep.coordinator import sync_study


def run(arguments: argparse.Namespace) -> None:
    set_up_logging()
    job = open_job(arguments)
    name = job.study.name
    sync_study(job)
    if job.runs.reports(name).exists():  # made from fewer runs, or never shown in MLflow
        refresh_report(job.runs, name)
    say(f"All ended trials of {name} are tracked: {job.runs.mlflow_name}")
