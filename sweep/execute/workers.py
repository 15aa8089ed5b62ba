"""The executor on worker processes: one per core, one thread each, each started once for many trials."""

import os
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from sweep.errors import WorkersError
from sweep.execute.executor import MAX_FAILED_STARTS, describe_death, to_error
from sweep.execute.process import start_process
from sweep.execute.worker import WorkerOptions, work
from sweep.trial import CannotStore, EpochReport, Event, Trial, TrialResult, WorkerDied

# After this many trials a fresh process takes over. A start costs seconds, and other versions of TensorFlow leak. This
# one does not grow by then (tests/bench/worker_memory.py): 502 MB after 10 trials, 568 after 100, 567 after 200.
TRIALS_PER_WORKER = 200


def list_cores() -> list[int]:
    """List the numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


@dataclass(eq=False)
class _Worker:
    process: BaseProcess
    connection: Connection
    slot: int
    log: Path
    trial: Trial | None = None
    is_ready: bool = False
    n_trials: int = 0  # finished so far


class WorkerExecutor:
    """See `Executor`. Starts `n_workers` processes at once; replaces a dead one, and one that has trained its share."""

    def __init__(self, options: WorkerOptions, n_workers: int, trials_per_worker: int = TRIALS_PER_WORKER) -> None:
        self._options = options
        self._trials_per_worker = trials_per_worker
        self._cores = list_cores()
        self._n_workers = n_workers
        self._failed_starts = 0
        self._events: deque[Event] = deque()
        self.bell: Connection | None = None  # ends a wait early when it has something to read
        options.results.mkdir(parents=True, exist_ok=True)
        self._workers = [self._start(slot) for slot in range(n_workers)]

    @property
    def n_running(self) -> int:
        n_ended = sum(not isinstance(event, EpochReport) for event in self._events)
        return sum(worker.trial is not None for worker in self._workers) + n_ended

    @property
    def pids(self) -> list[int]:
        """List the process ids of the workers."""
        return [worker.process.pid for worker in self._workers if worker.process.pid is not None]

    def takes(self, trial: Trial) -> bool:
        return any(worker.trial is None for worker in self._workers)

    def submit(self, trial: Trial) -> None:
        free = [worker for worker in self._workers if worker.trial is None]
        worker = min(free, key=lambda w: not w.is_ready)  # a ready one first
        if worker.n_trials >= self._trials_per_worker:
            worker.process.kill()  # it is idle, so nothing is lost
            worker = self._replace(worker)
        worker.trial = trial
        with suppress(OSError):  # it has just died: `wait` will notice and report this trial's worker dead
            worker.connection.send(trial)  # a worker still starting reads it when it is ready

    def answer(self, key: str, goes_on: bool) -> None:
        for worker in self._workers:
            if worker.trial is not None and worker.trial.key == key:
                with suppress(OSError):  # as above
                    worker.connection.send(goes_on)

    def wait(self, timeout_s: float) -> Event | None:
        if not self._events:
            bells = [] if self.bell is None else [self.bell]
            ready = wait([*bells, *(worker.connection for worker in self._workers)], timeout_s)
            for worker in [w for w in self._workers if w.connection in ready]:
                self._receive(worker)
        return self._events.popleft() if self._events else None

    def kill(self, key: str) -> None:
        """Kill the worker that trains a trial; `wait` then reports its death."""
        for worker in self._workers:
            if worker.trial is not None and worker.trial.key == key:
                worker.process.kill()

    def close(self) -> None:
        for worker in self._workers:
            worker.process.kill()  # no result is lost: a trial without a result folder is trained again
        for worker in self._workers:
            worker.process.join()
            worker.connection.close()
        self._workers = []

    def _receive(self, worker: _Worker) -> None:
        try:
            message = worker.connection.recv()
        except (EOFError, OSError):
            self._handle_death(worker)
            return
        match message:
            case None:
                worker.is_ready = True
                self._failed_starts = 0
            case EpochReport():
                self._events.append(message)
            case TrialResult():
                worker.trial = None
                worker.n_trials += 1
                self._events.append(message)
            case CannotStore():
                raise to_error(message)

    def _handle_death(self, worker: _Worker) -> None:
        worker.process.join()
        reason = describe_death(worker.process.exitcode)
        if not worker.is_ready:
            self._failed_starts += 1
        if self._failed_starts >= MAX_FAILED_STARTS:
            raise WorkersError(f"workers do not start ({reason}); see {worker.log}")
        self._replace(worker)
        if worker.trial is not None:
            self._events.append(WorkerDied(worker.trial.key, reason))

    def _replace(self, worker: _Worker) -> _Worker:
        """Start a worker in the slot of one that has ended or is ending; return the new one."""
        worker.process.join()
        worker.connection.close()
        fresh = self._start(worker.slot)
        self._workers[self._workers.index(worker)] = fresh
        return fresh

    def _start(self, slot: int) -> _Worker:
        pinned = self._cores[slot] if self._n_workers == len(self._cores) else None
        options = replace(self._options, slot=slot, core=pinned)
        process, connection = start_process(work, options, name=f"sweep-worker-{slot}")
        return _Worker(process, connection, slot, options.log)
