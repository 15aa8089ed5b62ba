"""Make a study's Job: its data read, checked and prepared, its runs in the directory that the user chose."""

import argparse
from pathlib import Path
from typing import Any

from sweep.cli.arguments import locate_runs
from sweep.coordinator import Job, check_recorded
from sweep.data.files import check_images, check_rows, read
from sweep.data.prepared import PreparedData, prepare
from sweep.layout import RunsDir
from sweep.study.file import load_study, parse_study
from sweep.study.schema import Study


def open_job(arguments: argparse.Namespace) -> Job:
    """Return the job of a study that has been run before. Raises MissingRunsError if it has not."""
    study, table = load_study(arguments.study)
    runs = locate_runs(arguments)
    check_recorded(runs, study.name)
    return make_job(study, table, arguments.study.parent, runs)


def make_job(study: Study, table: dict[str, Any], base: Path, runs: RunsDir) -> Job:
    """Return the job of a study. table: the study file as typed; base: the folder that its data is relative to."""
    data = prepare_data(study, base, runs)
    return Job(study=settle_task(study, table, data), table=table, data=data, runs=runs)


def settle_task(study: Study, table: dict[str, Any], data: PreparedData) -> Study:
    """Return the study as its labels make it: of the task that they are for. Raises InvalidStudyError if its keys are of another."""
    if study.task == data.facts.task:
        return study
    return parse_study(table, f"{data.facts.name}: its labels are a number to predict", data.facts.task)


def prepare_data(study: Study, base: Path, runs: RunsDir) -> PreparedData:
    """Read, check and split the study's data. Raises InvalidDataError."""
    data = read(study.data, base)
    check_rows(data, study.data)
    if study.augmenting_key is not None:
        check_images(data, study.augmenting_key)
    return prepare(data, study.data, study.seed, runs.data_cache)
