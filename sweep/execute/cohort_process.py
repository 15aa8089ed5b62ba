"""The process that trains cohorts: it owns the device, opens no database, and hands results to writers.

Drawing curves and saving a model takes longer than training it, so a few writer processes do that in parallel. Their
Keras runs on numpy, where building a model takes milliseconds; JAX would compile it anew for every width.
"""

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from sweep.data.prepared import PreparedData
from sweep.durable.failpoint import failpoint
from sweep.execute.attempt import attempt
from sweep.execute.process import ONE_THREAD, set_up_process
from sweep.study.training import Training
from sweep.trial import CannotStore, CohortReport, EpochReport, Judge, Trial, TrialResult

MAX_WRITERS = 8
ON_JAX = {"KERAS_BACKEND": "jax", "TF_CPP_MIN_LOG_LEVEL": "3"}
ON_NUMPY = ONE_THREAD | {"KERAS_BACKEND": "numpy"}

Save = Callable[[Path], TrialResult]  # makes a result durable as a folder
OnResult = Callable[[Trial, TrialResult, Any], None]  # receives each result, and what the engine trained for it


class CohortEngine(Protocol):
    """Trains trials in the process; see `train.cohort.fitter.CohortFitter`."""

    def fit(self, trials: Sequence[Trial], judge: Judge, on_result: OnResult) -> None:
        """Train all of `trials`. Ask `judge` after each epoch; call `on_result` as each trial ends."""

    def make_save(self, trial: Trial, result: TrialResult, trained: Any) -> Save:
        """Build the function that makes a result of `fit` durable. It is pickled and called in another process."""


def start_jax_engine(options: "CohortOptions") -> CohortEngine:
    # These import JAX, so only once the environment is set.
    from sweep.train.cohort.fitter import CohortFitter
    from sweep.train.cohort.program import describe_device, use_device

    use_device(options.training.precision, options.programs)
    return CohortFitter(options.data, options.training, options.provenance | describe_device(), ranked=options.ranked)


@dataclass(frozen=True, kw_only=True)
class CohortOptions:
    """Options of the process, the same for all its trials."""

    data: PreparedData
    training: Training
    results: Path  # folder for result folders
    logs: Path  # folder for what JAX and crashes write
    programs: Path  # folder of compiled programs, for later runs of the command to reuse
    provenance: dict[str, str]  # goes into every result
    ranked: tuple[str, ...] = ()  # metrics to measure after every epoch by predictions, see `Study.ranked_metrics`
    start_engine: Callable[["CohortOptions"], CohortEngine] = start_jax_engine  # called in the process

    @property
    def log(self) -> Path:
        return self.logs / "cohort.log"


def train_cohorts(connection: Connection, options: CohortOptions) -> None:
    """Train every list of trials received. Send `None` once, when ready. Never returns: its parent kills it."""
    os.setpgrp()  # one group with its writers, so that they are killed together
    set_up_process(options.log, None, ON_JAX)
    engine = options.start_engine(options)
    coordinator = _Coordinator(connection)
    n_writers = min(MAX_WRITERS, os.cpu_count() or 1)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(n_writers, spawn, _set_up_writer, (options.log,)) as writers:

        def submit_write(trial: Trial, result: TrialResult, trained: Any) -> None:
            save = engine.make_save(trial, result, trained)
            written = writers.submit(_write, options.results / trial.key, trial, result.provenance, save)
            written.add_done_callback(coordinator.send_written)

        failpoint("cohort.ready")
        coordinator.send(None)
        while True:
            trials = connection.recv()
            failpoint("cohort.trials")
            engine.fit(trials, coordinator.judge, submit_write)


def _set_up_writer(log: Path) -> None:
    set_up_process(log, None, ON_NUMPY)
    # To save a model Keras imports TensorFlow, only to recognize its types. That import costs each writer seconds.
    sys.modules["tensorflow"] = None  # type: ignore[assignment]


class _Coordinator:
    """The coordinator, at the other end of `connection`. Threads may send to it at the same time."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def send(self, message: CohortReport | TrialResult | CannotStore | None) -> None:
        with self._lock:
            self._connection.send(message)

    def judge(self, reports: list[EpochReport]) -> dict[str, bool]:
        """Send the reports of an epoch; return the verdicts on those that wait, by key."""
        failpoint("cohort.epoch")
        self.send(CohortReport(tuple(reports)))
        waiting = {report.key for report in reports if report.waits}
        verdicts: dict[str, bool] = {}
        while len(verdicts) < len(waiting):
            key, goes_on = self._connection.recv()
            verdicts[key] = goes_on
        return verdicts

    def send_written(self, written: "Future[TrialResult | CannotStore]") -> None:
        """Send a result that was written. If its writer died the result is lost, so end this process too."""
        if written.exception() is not None:
            os._exit(1)
        self.send(written.result())
        failpoint("cohort.sent")


def _write(folder: Path, trial: Trial, provenance: dict[str, str], save: Save) -> TrialResult | CannotStore:
    return attempt(trial, folder, provenance, partial(save, folder))
