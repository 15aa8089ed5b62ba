"""The writer thread: tracking off the critical path."""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from sweep.errors import DamagedResultError, LostStudyError, SweepError, TrackingError
from sweep.track.names import FINISHED
from sweep.trial import Ended, Score, Trial, TrialResult

logger = logging.getLogger(__name__)

POLL_S = 0.2  # how long an interruption can go unnoticed
RETRY_S = 10.0  # between attempts while MLflow cannot be written
BEHIND_S = 60.0  # that a trial waited before it is said how far MLflow is behind, and between two times of saying so

Load = Callable[[], tuple[TrialResult, Score | None]]  # loads a trial's result and, for a scored replicate, its score


class Projection(Protocol):
    """Writes runs; see `projection.Projection`."""

    @property
    def at_once(self) -> int:
        """Number of runs that are best written together."""

    def lacks(self, trial: Trial) -> bool:
        """Return whether a trial has no whole run. Raises TrackingError where a run of another config has its key."""

    def write(self, ended: Sequence[Ended]) -> None:
        """Write the runs of trials that it lacks. Raises TrackingError."""

    def close(self, status: str) -> None:
        """End the parent run as `status`."""


@dataclass(frozen=True)
class _Waiting:
    """A trial that is to be projected, handed over at `since`, seconds of the tracker's clock."""

    trial: Trial
    load: Load
    since: float


class Tracker:
    """Projects what it is given, in order, on a thread of its own. Its trouble is told once, and never to training.

    While MLflow cannot be written, trials wait here; it is tried again every `retry_s` seconds, and once more at the end.
    """

    def __init__(
        self,
        open_projection: Callable[[], Projection],
        check_hold: Callable[[], object] = lambda: None,
        retry_s: float = RETRY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start the thread. check_hold: is called before each write; raises LostStudyError if there must be none."""
        self._open_projection = open_projection
        self._check_hold = check_hold
        self._retry_s = retry_s
        self._clock = clock
        self._said_at = -math.inf  # when it was last said how far MLflow is behind
        self._waiting: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._closing_status: str | None = None
        self._trouble: TrackingError | None = None  # MLflow's, since the last write that succeeded
        self._damage: DamagedResultError | None = None  # the first result that could not be read
        self._mistake: Exception | None = None  # a bug of ours, or the study is lost
        self._thread = threading.Thread(target=self._run, name="sweep-tracker", daemon=True)
        self._thread.start()

    def track(self, trial: Trial, load: Load) -> None:
        """Project a trial that has ended, soon; nothing if that was done before. `load` is called if it was not."""
        with self._changed:
            self._waiting.append(_Waiting(trial, load, self._clock()))
            self._changed.notify()

    def close(self, status: str, gives_up: Callable[[], bool] = lambda: False) -> SweepError | None:
        """Write what is waiting, until `gives_up` says so, and end the parent run as `status`; what is wrong, if anything.

        status: FINISHED, KILLED or FAILED.
        """
        with self._changed:
            self._closing_status = status
            self._changed.notify()
        while self._thread.is_alive() and not gives_up():
            self._thread.join(POLL_S)
        if self._mistake is not None:  # with its traceback
            raise self._mistake
        if self._trouble is not None:
            return TrackingError(
                f"{len(self._waiting)} runs are not tracked yet: {self._trouble}; nothing is lost: "
                "`python -m sweep sync`, or the same command, tracks them"
            )
        return self._damage

    def _run(self) -> None:
        while True:
            is_last = self._closing_status is not None
            try:
                self._project()
                return
            except TrackingError as error:
                if self._trouble is None:
                    logger.warning("MLflow cannot be written, training goes on: %s", error)
                self._trouble = error
            except LostStudyError as error:  # the coordinator stops too
                self._mistake = error
                return
            except Exception as error:  # a bug must not end unseen with this thread
                self._mistake = error
                logger.warning("tracking stopped, training goes on: %s", error)
                return
            if is_last:
                return
            with self._changed:
                self._changed.wait_for(lambda: self._closing_status is not None, self._retry_s)

    def _project(self) -> None:
        """Write what is waiting and what still comes, until this is closed."""
        self._check_hold()
        projection = self._open_projection()  # takes seconds: MLflow is loaded, its database created
        while waiting := self._next(projection.at_once):
            ended = [ended for one in waiting if (ended := self._load(projection, one)) is not None]
            self._check_hold()
            projection.write(ended)
            for _ in waiting:
                self._waiting.popleft()
            self._say_if_behind(waiting[0])
            self._recovered()
        self._check_hold()
        projection.close(self._closing_status or FINISHED)
        self._recovered()

    def _say_if_behind(self, written: _Waiting) -> None:
        now = self._clock()
        if now - max(written.since, self._said_at) >= BEHIND_S:
            n_waiting = f"{len(self._waiting):,}"
            logger.info("MLflow is %.0f s behind; trials without a run so far: %s", now - written.since, n_waiting)
            self._said_at = now

    def _load(self, projection: Projection, one: _Waiting) -> Ended | None:
        """Load what is to be written of a trial; None where it was written before, or cannot be read."""
        if not projection.lacks(one.trial):
            return None
        try:
            return Ended(one.trial, *one.load())
        except DamagedResultError as error:
            logger.warning("not tracked: %s", error)
            self._damage = self._damage or error
            return None

    def _next(self, n: int) -> list[_Waiting]:
        """Wait for the next trials to write, `n` at most; return none once this is closed and all are written."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._waiting) or self._closing_status is not None)
            return list(islice(self._waiting, n))

    def _recovered(self) -> None:
        if self._trouble is not None:
            logger.info("MLflow can be written again")
            self._trouble = None
