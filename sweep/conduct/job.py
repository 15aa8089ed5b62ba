"""Make a study's Job: its data read, checked and prepared, its runs in the directory that the user chose."""

from pathlib import Path
from typing import Any

from sweep.coordinator import Job
from sweep.data.files import DataSet, check_images, check_rows, read
from sweep.data.prepared import PreparedData, prepare
from sweep.layout import RunsDir
from sweep.study.file import parse_study
from sweep.study.schema import Study


def read_data(study: Study, base: Path) -> DataSet:
    """Read the study's data, and check that a study can be made of them. Raises InvalidDataError.

    base: the folder that its data is relative to.
    """
    data = read(study.data, base)
    check_rows(data, study.data)
    if study.augmenting_key is not None:
        check_images(data, study.augmenting_key)
    return data


def prepare_data(study: Study, base: Path, runs: RunsDir) -> PreparedData:
    """Read, check and split the study's data. Raises InvalidDataError."""
    return prepare(read_data(study, base), study.data, study.seed, runs.data_cache)


def make_job(study: Study, table: dict[str, Any], data: DataSet, runs: RunsDir) -> Job:
    """Return the job of a study. table: the study file as typed."""
    prepared = prepare(data, study.data, study.seed, runs.data_cache)
    return Job(study=settle_task(study, table, prepared), table=table, data=prepared, runs=runs)


def settle_task(study: Study, table: dict[str, Any], data: PreparedData) -> Study:
    """Return the study as its labels make it: of the task that they are for. Raises InvalidStudyError if its keys are of another."""
    if study.task == data.facts.task:
        return study
    return parse_study(table, f"{data.facts.name}: its labels are a number to predict", data.facts.task)
