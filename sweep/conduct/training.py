"""Train a study in full view: its progress shown, and signals taken as a request to stop."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweep.conduct.display import Display
from sweep.conduct.job import make_job, read_data
from sweep.conduct.signals import collect_signals
from sweep.coordinator import Job, Runtime, run_study
from sweep.data.files import DataSet
from sweep.errors import Interrupted
from sweep.execute import scoring
from sweep.execute.start import start_executor
from sweep.layout import RunsDir
from sweep.study.schema import Study


def train_study(
    study: Study,
    table: dict[str, Any],
    base: Path,
    runs: RunsDir,
    open_display: Callable[[Study], Display],
    fork: str | None = None,
) -> NDArray[Any]:
    """Train, score and track what a study lacks. Return its classes as the data have them; none of a regression.

    table: the study file as typed. base: the folder that its data is relative to. fork: see `run_study`. Raises Interrupted,
    with the exit code of the signal.
    """
    with collect_signals() as arrived:
        data = read_data(study, base)
        job, classes = make_job(study, table, data, runs), _list_classes(data)
        del data  # what trains has its own, prepared
        display = open_display(job.study)
        try:
            with display.live():
                run_study(job, _make_runtime(job, display, lambda: bool(arrived)), fork)
        except Interrupted as error:
            error.exit_code = 128 + arrived[0]
            raise
    return classes


def _list_classes(data: DataSet) -> NDArray[Any]:
    """Return the classes of the labels in the order of a model's outputs, shape (n_classes,); none of a regression."""
    return np.unique(data.y_train) if data.task == "classification" else np.array([])


def _make_runtime(job: Job, display: Display, is_interrupted: Callable[[], bool]) -> Runtime:
    log = job.runs.logs(job.study.name) / "scoring.log"
    return Runtime(
        start_executor=partial(start_executor, job.study, job.data, job.runs),
        score=partial(scoring.score_in_processes, data=job.data, log=log, is_interrupted=is_interrupted),
        watch=display.watch,
        remember=display.remember,
        is_interrupted=is_interrupted,
    )
