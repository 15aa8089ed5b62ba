"""The executor on one device: one process trains cohorts, many trials in one program."""

import os
import signal
from collections import deque
from contextlib import suppress
from multiprocessing.connection import Connection, wait

from sweep.errors import WorkersError
from sweep.execute.cohort_process import CohortOptions, train_cohorts
from sweep.execute.executor import MAX_FAILED_STARTS, describe_death, to_error
from sweep.execute.process import start_process
from sweep.trial import CannotStore, CohortReport, Event, Phase, Trial, TrialResult, WorkerDied


class CohortExecutor:
    """See `Executor`. Trains all submitted trials together, from the first `wait` on; later ones train next.

    n_searched: the most trials of the search in training or waiting. The sampler learns nothing while they train, so
    this bounds how much of a search is blind, and none is taken meanwhile: it would wait, and be chosen without what they
    bring. Baselines and replicates were settled beforehand and have no bound.
    """

    def __init__(self, options: CohortOptions, n_searched: int) -> None:
        self._options = options
        self._n_searched = n_searched
        self._waiting: list[Trial] = []
        self._training: dict[str, Trial] = {}
        self._suspects: set[str] = set()  # keys of trials the process died with: each trains alone the next time
        self._events: deque[Event] = deque()
        self._failed_starts = 0
        self.bell: Connection | None = None  # ends a wait early when it has something to read
        options.results.mkdir(parents=True, exist_ok=True)
        self._start()

    @property
    def n_running(self) -> int:
        n_ended = sum(not isinstance(event, CohortReport) for event in self._events)
        return len(self._waiting) + len(self._training) + n_ended

    @property
    def pids(self) -> list[int]:
        """List the id of the process that trains, without its writers."""
        return [self._process.pid] if self._process.pid is not None else []

    def takes(self, trial: Trial) -> bool:
        if trial.phase != Phase.SEARCH:
            return True
        return not self._training and sum(t.phase == Phase.SEARCH for t in self._waiting) < self._n_searched

    def submit(self, trial: Trial) -> None:
        self._waiting.append(trial)

    def answer(self, key: str, goes_on: bool) -> None:
        with suppress(OSError):  # it has just died: `wait` will notice and report it for all its trials
            self._connection.send((key, goes_on))

    def wait(self, timeout_s: float) -> Event | None:
        if not self._events:
            if self._waiting and not self._training:
                self._send()
            bells = [] if self.bell is None else [self.bell]
            if self._connection in wait([self._connection, *bells], timeout_s):
                self._receive()
        return self._events.popleft() if self._events else None

    def kill(self, key: str) -> None:
        """Kill the process if it trains this trial; `wait` then reports the death of all that it trains."""
        if key in self._training:
            self._process.kill()

    def close(self) -> None:
        self._kill()
        self._connection.close()

    def _send(self) -> None:
        suspects = [trial for trial in self._waiting if trial.key in self._suspects]
        batch = suspects[:1] or self._waiting
        self._training = {trial.key: trial for trial in batch}
        self._waiting = [trial for trial in self._waiting if trial.key not in self._training]
        with suppress(OSError):  # as above
            self._connection.send(batch)  # a process still starting reads them when it is ready

    def _receive(self) -> None:
        try:
            message = self._connection.recv()
        except (EOFError, OSError):
            self._handle_death()
            return
        match message:
            case None:
                self._is_ready = True
                self._failed_starts = 0
            case CohortReport():
                self._events.append(message)
            case TrialResult():
                del self._training[message.key]
                self._events.append(message)
            case CannotStore():
                raise to_error(message)

    def _handle_death(self) -> None:
        self._kill()
        reason = describe_death(self._process.exitcode)
        if not self._is_ready:
            self._failed_starts += 1
        if self._failed_starts >= MAX_FAILED_STARTS:
            raise WorkersError(f"the process that trains cohorts does not start ({reason}); see {self._options.log}")
        self._events += [WorkerDied(key, reason) for key in self._training]
        self._suspects |= self._training.keys()
        self._training = {}
        self._connection.close()
        self._start()

    def _kill(self) -> None:
        """Kill the process and its writers. No result is lost: a trial without a result folder is trained again."""
        assert self._process.pid
        with suppress(OSError):  # it is gone, or is not yet the leader of its own process group
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.join()

    def _start(self) -> None:
        # Not a daemon: daemons may not start processes. It dies with its parent all the same, see `set_up_process`.
        self._process, self._connection = start_process(train_cohorts, self._options, name="sweep-cohort", daemon=False)
        self._is_ready = False
