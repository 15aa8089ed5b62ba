"""The writer thread: tracking off the critical path."""

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sweep.data import DataFacts
from sweep.errors import SweepError, TrackingError
from sweep.layout import RunsDir
from sweep.study import Study
from sweep.trial import Logs, Trial, TrialResult

logger = logging.getLogger(__name__)

Load = Callable[[], tuple[TrialResult, Logs]]  # a trial's result and, for a scored replicate, its test metrics


@dataclass(frozen=True)
class Tracked:
    """What is projected of one study, beside its trials."""

    study: Study
    table: dict[str, Any]  # the study file as typed
    facts: DataFacts
    provenance: dict[str, str]


class Tracker:
    """Projects what it is given, in order, on a thread of its own. Its trouble is told once, and never to training."""

    def __init__(self, runs: RunsDir, tracked: Tracked) -> None:
        self._runs = runs
        self._tracked = tracked
        self._queue: queue.SimpleQueue[tuple[Trial, Load] | None] = queue.SimpleQueue()
        self._trouble: SweepError | None = None
        self._n_waiting = 0
        self._closing_status = "FINISHED"
        self._thread = threading.Thread(target=self._run, name="sweep-tracker", daemon=True)
        self._thread.start()

    def track(self, trial: Trial, load: Load) -> None:
        """Project a trial that has ended, soon; nothing if that was done before. `load` is called if it was not."""
        self._n_waiting += 1
        self._queue.put((trial, load))

    def close(self, status: str) -> SweepError | None:
        """Write what is waiting and end the parent run as `status` (FINISHED or KILLED); the trouble, if there was any."""
        self._closing_status = status
        self._queue.put(None)
        self._thread.join()
        if self._trouble is None:
            return None
        return TrackingError(
            f"{self._trouble}; {self._n_waiting} runs are not tracked yet, nothing is lost: the same command tracks them"
        )

    def _run(self) -> None:
        # Imported here: MLflow takes seconds to load, and workers start in the meantime.
        from sweep.track import Projection

        try:
            projection = Projection(self._runs, self._tracked)
            while (item := self._queue.get()) is not None:
                projection.write(*item)
                self._n_waiting -= 1
            projection.close(self._closing_status)
        except SweepError as error:
            self._trouble = error
            logger.warning("tracking stopped, training goes on: %s", error)
