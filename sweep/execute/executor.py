"""What every executor is, for the loop that drives it."""

import signal
from typing import Protocol

from sweep.errors import ResultsError
from sweep.trial import Event, Trial

MAX_FAILED_STARTS = 3  # of a process that trains, in a row: then it cannot start at all, and more would not help


class Executor(Protocol):
    """Runs trials and tells how they go."""

    @property
    def n_running(self) -> int:
        """How many it has taken and not ended."""

    def takes(self, trial: Trial) -> bool:
        """Whether it takes `trial` now."""

    def submit(self, trial: Trial) -> None:
        """Take a trial. Only where `takes` says so."""

    def wait(self, timeout_s: float) -> Event | None:
        """The next event, in the order they happened; None after `timeout_s` without one.

        A trial ends with one TrialResult or one WorkerDied; its result is durable before the event is given.
        """

    def answer(self, key: str, goes_on: bool) -> None:
        """The verdict for a trial whose report waits for one."""

    def close(self) -> None:
        """Stop all that runs, at once, and wait until it has stopped."""


def cannot_store(key: str, reason: str) -> ResultsError:
    """The error of a result that could not be written."""
    return ResultsError(f"cannot write the result of {key}: {reason}; make room, and the same command continues")


def death(exit_code: int | None) -> str:
    """Why a process that trained is gone, in words."""
    if exit_code == -signal.SIGKILL:
        return "its worker was killed by signal 9, as the kernel does when memory runs out"
    if exit_code is not None and exit_code < 0:
        return f"its worker was killed by signal {-exit_code}"
    return f"its worker ended with exit code {exit_code}"
