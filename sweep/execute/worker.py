"""The worker process: it trains the trials sent to it, one after another, and opens no database.

It imports TensorFlow only after its environment is set, because TensorFlow reads thread counts once, at import.
"""

import ctypes
import gc
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Protocol

from sweep.data.prepared import PreparedData
from sweep.durable.failpoint import failpoint
from sweep.execute.attempt import attempt
from sweep.execute.process import set_up_process
from sweep.study.training import Training
from sweep.trial import CannotStore, EpochReport, GoesOn, Trial, TrialResult


class Engine(Protocol):
    """Trains trials in a worker; see `train.graph.fitter.Fitter`."""

    def warm_up(self) -> None:
        """Load in advance what the first training would load."""

    def fit(self, trial: Trial, goes_on: GoesOn, folder: Path) -> TrialResult:
        """Train a trial, make its result durable as `folder`, and return it."""


def start_tensorflow_engine(options: "WorkerOptions") -> Engine:
    from sweep.train.graph.fitter import Fitter  # imports TensorFlow, so only once the environment is set

    return Fitter(options.data, options.training, options.provenance, ranked=options.ranked)


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """Options of a worker, the same for all its trials."""

    data: PreparedData
    training: Training
    results: Path  # folder for result folders
    logs: Path  # folder for what TensorFlow and crashes write
    provenance: dict[str, str]  # goes into every result
    ranked: tuple[str, ...] = ()  # metrics to measure after every epoch by predictions, see `Study.ranked_metrics`
    start_engine: Callable[["WorkerOptions"], Engine] = start_tensorflow_engine  # called in the worker
    slot: int = 0  # index of the worker
    core: int | None = None  # the core it is pinned to; None unless there is one worker for each core

    @property
    def log(self) -> Path:
        return self.logs / f"worker-{self.slot}.log"


def work(connection: Connection, options: WorkerOptions) -> None:
    """Train every trial received, until None is received. Send `None` once, when ready."""
    set_up_process(options.log, options.core)
    engine = options.start_engine(options)
    engine.warm_up()
    failpoint("worker.ready")
    connection.send(None)

    def report(epoch: EpochReport) -> bool:
        failpoint("worker.epoch")
        connection.send(epoch)
        return bool(connection.recv()) if epoch.waits else True

    while (trial := connection.recv()) is not None:
        failpoint("worker.trial")
        connection.send(_train(engine, trial, report, options))
        failpoint("worker.sent")
        _release_memory()


def _train(engine: Engine, trial: Trial, report: GoesOn, options: WorkerOptions) -> TrialResult | CannotStore:
    folder = options.results / trial.key
    return attempt(trial, folder, options.provenance, lambda: engine.fit(trial, report, folder))


def _release_memory() -> None:
    """Free what a trial leaves: cycles in Keras models, and blocks that glibc keeps. 100 MB in all after 30 trials."""
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL("libc.so.6").malloc_trim(0)
