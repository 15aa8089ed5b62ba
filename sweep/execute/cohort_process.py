"""The process that trains cohorts: it has the device to itself, opens no database, and lets others write what it trains.

Drawing curves and saving a model takes longer than training it, so a few processes do that beside it. Their Keras runs on
numpy, where a model costs milliseconds; on JAX it would be compiled anew for every width.
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
from sweep.execute.process import ONE_THREAD, settle_in
from sweep.execute.worker import attempt
from sweep.study.schema import Training
from sweep.trial import CannotStore, CohortReport, EpochReport, Judge, Trial, TrialResult

MAX_WRITERS = 8  # of results
ON_JAX = {"KERAS_BACKEND": "jax", "TF_CPP_MIN_LOG_LEVEL": "3"}
ON_NUMPY = ONE_THREAD | {"KERAS_BACKEND": "numpy"}

Save = Callable[[Path], TrialResult]  # makes a result durable as a folder


class CohortEngine(Protocol):
    """What trains in the process; see `train.cohort.fitter.CohortFitter`."""

    def fit(self, trials: Sequence[Trial], judge: Judge, ended: Callable[[Trial, TrialResult, Any], None]) -> None:
        """Train all of `trials`. Calls `ended` with each result and what the engine has trained for it."""

    def saving(self, trial: Trial, result: TrialResult, trained: Any) -> Save:
        """What makes that durable, in a process that it is sent to."""


def jax_engine(options: "CohortOptions") -> CohortEngine:
    from sweep.train.cohort.fitter import CohortFitter
    from sweep.train.cohort.program import device_tags, use_device  # here, after the environment is set

    use_device(options.training.precision, options.programs)
    return CohortFitter(options.data, options.training, options.provenance | device_tags())


@dataclass(frozen=True, kw_only=True)
class CohortOptions:
    """What the process needs for all its trials."""

    data: PreparedData
    training: Training
    results: Path  # where result folders go
    logs: Path  # folder for what JAX and crashes write
    programs: Path  # folder of compiled programs, which later runs of the command find there
    provenance: dict[str, str]  # goes into every result
    start_engine: Callable[["CohortOptions"], CohortEngine] = jax_engine  # called in the process

    @property
    def log(self) -> Path:
        return self.logs / "cohort.log"


def train_cohorts(connection: Connection, options: CohortOptions) -> None:
    """Train every list of trials that arrives. Says `None` itself once, when it is ready."""
    os.setpgrp()  # ended together with those that write
    settle_in(options.log, None, ON_JAX)
    engine = options.start_engine(options)
    voice = _Voice(connection)
    n_writers = min(MAX_WRITERS, os.cpu_count() or 1)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(n_writers, spawn, _settle_in_to_write, (options.log,)) as writers:

        def ended(trial: Trial, result: TrialResult, trained: Any) -> None:
            save = engine.saving(trial, result, trained)
            written = writers.submit(_write, options.results / trial.key, trial, result.provenance, save)
            written.add_done_callback(voice.pass_on)

        failpoint("cohort.ready")
        voice.say(None)
        while True:
            trials = connection.recv()
            failpoint("cohort.trials")
            engine.fit(trials, voice.judge, ended)


def _settle_in_to_write(log: Path) -> None:
    settle_in(log, None, ON_NUMPY)
    # Keras asks for TensorFlow where it saves a model, only to know its types: to load it takes each writer seconds.
    sys.modules["tensorflow"] = None  # type: ignore[assignment]


class _Voice:
    """What the coordinator hears: one message at a time, whichever thread has it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def say(self, message: CohortReport | TrialResult | CannotStore | None) -> None:
        with self._lock:
            self._connection.send(message)

    def judge(self, reports: list[EpochReport]) -> dict[str, bool]:
        """Report an epoch; the verdicts on those that wait."""
        failpoint("cohort.epoch")
        self.say(CohortReport(tuple(reports)))
        waiting = {report.key for report in reports if report.waits}
        verdicts: dict[str, bool] = {}
        while len(verdicts) < len(waiting):
            key, goes_on = self._connection.recv()
            verdicts[key] = goes_on
        return verdicts

    def pass_on(self, written: "Future[TrialResult | CannotStore]") -> None:
        """Tell of a result that was written. One whose writer died is lost, and this process ends with it."""
        if written.exception() is not None:
            os._exit(1)
        self.say(written.result())
        failpoint("cohort.sent")


def _write(folder: Path, trial: Trial, provenance: dict[str, str], save: Save) -> TrialResult | CannotStore:
    return attempt(trial, folder, provenance, partial(save, folder))
