"""The worker process: trains the trials it is sent, one after another, and opens no database.

It imports TensorFlow only after its environment is set: thread counts are read once, at import.
"""

import ctypes
import gc
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Protocol

from sweep.data.prepared import PreparedData
from sweep.durable.failpoint import failpoint
from sweep.execute.process import settle_in
from sweep.record import results
from sweep.study.schema import Training
from sweep.trial import CannotStore, EpochReport, GoesOn, Trial, TrialResult


class Engine(Protocol):
    """What trains in a worker; see `train.graph.fitter.Fitter`."""

    def warm_up(self) -> None:
        """Load what the first training would load."""

    def fit(self, trial: Trial, goes_on: GoesOn, folder: Path) -> TrialResult:
        """Train a trial and make its result durable as `folder`."""


def tensorflow_engine(options: "WorkerOptions") -> Engine:
    from sweep.train.graph.fitter import Fitter  # here, after the environment is set

    return Fitter(options.data, options.training, options.provenance)


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """What a worker needs for all its trials."""

    data: PreparedData
    training: Training
    results: Path  # where result folders go
    logs: Path  # folder for what TensorFlow and crashes write
    provenance: dict[str, str]  # goes into every result
    start_engine: Callable[["WorkerOptions"], Engine] = tensorflow_engine  # called in the worker
    slot: int = 0  # which of the workers it is
    core: int | None = None  # the core it is pinned to; None unless there is one worker for each core

    @property
    def log(self) -> Path:
        return self.logs / f"worker-{self.slot}.log"


def work(connection: Connection, options: WorkerOptions) -> None:
    """Train every trial that arrives until None does. Says `None` itself once, when it is ready."""
    settle_in(options.log, options.core)
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
        _give_back_memory()


def _train(engine: Engine, trial: Trial, report: GoesOn, options: WorkerOptions) -> TrialResult | CannotStore:
    folder = options.results / trial.key
    return attempt(trial, folder, options.provenance, lambda: engine.fit(trial, report, folder))


def attempt(
    trial: Trial, folder: Path, provenance: dict[str, str], train: Callable[[], TrialResult]
) -> TrialResult | CannotStore:
    """What `train` gives, which leaves it as `folder`; a failed result where it cannot."""
    began = time.time()
    try:
        return train()
    except (ConnectionError, EOFError):  # the coordinator is gone
        raise
    except OSError as error:
        return CannotStore(trial.key, str(error))
    except Exception as error:  # a trial that cannot be trained is a failed result; the sweep goes on
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        failed = TrialResult.failed(trial.key, reason, started_at=began, ended_at=time.time(), provenance=provenance)
        return results.save(folder, failed, lambda draft: None)


def _give_back_memory() -> None:
    """What a trial leaves: cycles in Keras models, and freed blocks that glibc keeps; 100 MB in all after 30 trials."""
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL("libc.so.6").malloc_trim(0)
