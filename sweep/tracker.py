"""The writer thread: tracking off the critical path."""

import logging
import queue
import threading
from collections.abc import Callable
from typing import Protocol

from sweep.errors import SweepError, TrackingError
from sweep.trial import Logs, Trial, TrialResult

logger = logging.getLogger(__name__)

Load = Callable[[], tuple[TrialResult, Logs]]  # a trial's result and, for a scored replicate, its test metrics


class Projection(Protocol):
    """Where runs are written; see `track.Projection`."""

    def write(self, trial: Trial, load: Load) -> None:
        """Write the run of a trial that ended, unless it is there."""

    def close(self, status: str) -> None:
        """End the parent run as `status`."""


class Tracker:
    """Projects what it is given, in order, on a thread of its own. Its trouble is told once, and never to training."""

    def __init__(self, open_projection: Callable[[], Projection]) -> None:
        self._open_projection = open_projection
        self._queue: queue.SimpleQueue[tuple[Trial, Load] | None] = queue.SimpleQueue()
        self._trouble: Exception | None = None
        self._closing_status = "FINISHED"
        self._thread = threading.Thread(target=self._run, name="sweep-tracker", daemon=True)
        self._thread.start()

    def track(self, trial: Trial, load: Load) -> None:
        """Project a trial that has ended, soon; nothing if that was done before. `load` is called if it was not."""
        self._queue.put((trial, load))

    def close(self, status: str) -> SweepError | None:
        """Write what is waiting and end the parent run as `status` (FINISHED, KILLED or FAILED); the trouble, if there was any."""
        self._closing_status = status
        self._queue.put(None)
        self._thread.join()
        if self._trouble is None:
            return None
        if not isinstance(self._trouble, SweepError):  # our own mistake, to be seen in full
            raise self._trouble
        return TrackingError(
            f"{self._trouble}; not every run is tracked yet, nothing is lost: the same command tracks the rest"
        )

    def _run(self) -> None:
        try:
            projection = self._open_projection()  # takes seconds: MLflow is loaded, its database created
            while (item := self._queue.get()) is not None:
                projection.write(*item)
            projection.close(self._closing_status)
        except Exception as error:  # whatever it is, it must not end unseen with this thread
            self._trouble = error
            logger.warning("tracking stopped, training goes on: %s", error)
