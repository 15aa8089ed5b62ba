"""Cohorts on one device: a process that trains many trials in one program each."""

import multiprocessing
import os
import signal
from collections import deque
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from sweep.errors import WorkersError
from sweep.execute.cohort_process import CohortOptions, train_cohorts
from sweep.execute.executor import MAX_FAILED_STARTS, cannot_store, death
from sweep.execute.process import deaf_to_ctrl_c
from sweep.trial import CannotStore, CohortReport, Event, Phase, Trial, TrialResult, WorkerDied


class CohortExecutor:
    """See `Executor`. Trains what it was given once nobody gives it more, all together; then takes the next.

    n_searched: how many trials of the search it takes at a time. The sampler learns nothing in between, so this bounds how
    much of a search is blind. What was settled beforehand, baselines and replicates, it takes without bound.
    """

    def __init__(self, options: CohortOptions, n_searched: int) -> None:
        self._options = options
        self._n_searched = n_searched
        self._context = multiprocessing.get_context("spawn")
        self._waiting: list[Trial] = []
        self._training: dict[str, Trial] = {}
        self._suspects: set[str] = set()  # keys of trials with which the process died: the next time, each trains alone
        self._events: deque[Event] = deque()
        self._failed_starts = 0
        options.results.mkdir(parents=True, exist_ok=True)
        self._process, self._connection = self._start()
        self._is_ready = False

    @property
    def n_running(self) -> int:
        return len(self._waiting) + len(self._training) + len(self._events)

    @property
    def pids(self) -> list[int]:
        """Process id of the process that trains."""
        return [self._process.pid] if self._process.pid is not None else []

    def takes(self, trial: Trial) -> bool:
        taken = [*self._waiting, *self._training.values()]
        return trial.phase != Phase.SEARCH or sum(t.phase == Phase.SEARCH for t in taken) < self._n_searched

    def submit(self, trial: Trial) -> None:
        self._waiting.append(trial)

    def answer(self, key: str, goes_on: bool) -> None:
        with suppress(OSError):  # it has just died: `wait` sees that, and says so of all its trials
            self._connection.send((key, goes_on))

    def wait(self, timeout_s: float) -> Event | None:
        if not self._events:
            if self._waiting and not self._training:
                self._send()
            if self._connection.poll(timeout_s):
                self._hear()
        return self._events.popleft() if self._events else None

    def close(self) -> None:
        self._kill()
        self._connection.close()

    def _send(self) -> None:
        suspects = [trial for trial in self._waiting if trial.key in self._suspects]
        batch = suspects[:1] or self._waiting
        self._training = {trial.key: trial for trial in batch}
        self._waiting = [trial for trial in self._waiting if trial.key not in self._training]
        with suppress(OSError):  # as above
            self._connection.send(batch)  # while it is starting, it finds them when it is ready

    def _hear(self) -> None:
        try:
            message = self._connection.recv()
        except (EOFError, OSError):
            self._replace()
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
            case CannotStore(key, reason):
                raise cannot_store(key, reason)

    def _replace(self) -> None:
        self._kill()
        reason = death(self._process.exitcode)
        if not self._is_ready:
            self._failed_starts += 1
        if self._failed_starts >= MAX_FAILED_STARTS:
            raise WorkersError(f"the process that trains cohorts does not start ({reason}); see {self._options.log}")
        self._events += [WorkerDied(key, reason) for key in self._training]
        self._suspects |= self._training.keys()
        self._training = {}
        self._connection.close()
        self._process, self._connection = self._start()
        self._is_ready = False

    def _kill(self) -> None:
        """End the process and those that write for it; nothing is lost: what is no result folder is trained again."""
        assert self._process.pid
        with suppress(OSError):  # it is gone, or has not yet made a group of its own
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.join()

    def _start(self) -> tuple[BaseProcess, Connection]:
        ours, theirs = self._context.Pipe()
        # No daemon, for those may start no processes; it ends with its parent all the same, see `settle_in`.
        process = self._context.Process(target=train_cohorts, args=(theirs, self._options), name="sweep-cohort")
        with deaf_to_ctrl_c():
            process.start()
        theirs.close()
        return process, ours
