"""The process that trains cohorts: it has the device to itself, opens no database, and lets others write what it trains.

Drawing curves and saving a model takes longer than training it, so a few processes do that beside it. Their Keras runs on
numpy, where a model costs milliseconds; on JAX it would be compiled anew for every width.
"""

import multiprocessing
import os
import threading
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from sweep.data import DataFacts, PreparedData
from sweep.execute.worker import ONE_THREAD, attempt, settle_in
from sweep.failpoint import failpoint
from sweep.study import Training
from sweep.trial import CannotStore, CohortReport, EpochReport, Trial, TrialResult

if TYPE_CHECKING:
    from sweep.model import Moments, Weights

MAX_WRITERS = 8  # of results
ON_JAX = {"KERAS_BACKEND": "jax", "TF_CPP_MIN_LOG_LEVEL": "3"}
ON_NUMPY = ONE_THREAD | {"KERAS_BACKEND": "numpy"}


@dataclass(frozen=True, kw_only=True)
class CohortOptions:
    """What the process needs for all its trials."""

    data: PreparedData
    training: Training
    results: Path  # where result folders go
    logs: Path  # folder for what JAX and crashes write
    programs: Path  # folder of compiled programs, which later runs of the command find there
    provenance: dict[str, str]  # goes into every result

    @property
    def log(self) -> Path:
        return self.logs / "cohort.log"


def train_cohorts(connection: Connection, options: CohortOptions) -> None:
    """Train every list of trials that arrives. Says `None` itself once, when it is ready."""
    os.setpgrp()  # ended together with those that write
    settle_in(options.log, None, ON_JAX)
    from sweep.train.cohort import device_tags, use_device
    from sweep.train.cohort_fit import CohortFitter

    use_device(options.training.precision, options.programs)
    provenance = options.provenance | device_tags()
    fitter = CohortFitter(options.data, options.training, provenance)
    voice = _Voice(connection)
    n_writers = min(MAX_WRITERS, os.cpu_count() or 1)
    start = partial(settle_in, options.log, None, ON_NUMPY)
    with ProcessPoolExecutor(n_writers, multiprocessing.get_context("spawn"), start) as writers:

        def ended(trial: Trial, result: TrialResult, weights: "Weights | None") -> None:
            folder = options.results / trial.key
            kept = writers.submit(_write, folder, trial, result, weights, options.data.facts, fitter.rows.moments)
            kept.add_done_callback(voice.pass_on)

        failpoint("cohort.ready")
        voice.say(None)
        while True:
            trials = connection.recv()
            failpoint("cohort.trials")
            fitter.fit(trials, voice.judge, ended)


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

    def pass_on(self, kept: "Future[TrialResult | CannotStore]") -> None:
        """Tell of a result that was written. One whose writer died is lost, and this process ends with it."""
        if kept.exception() is not None:
            os._exit(1)
        self.say(kept.result())
        failpoint("cohort.sent")


def _write(
    folder: Path,
    trial: Trial,
    result: TrialResult,
    weights: "Weights | None",
    facts: DataFacts,
    moments: "Moments | None",
) -> TrialResult | CannotStore:
    from sweep.train.leave import save_weights  # here, after the environment is set

    save = partial(save_weights, folder, trial, result, weights, facts, moments)
    return attempt(trial, folder, result.provenance, save)
