"""The protocol that every executor follows, for the loop that drives it."""

import signal
from typing import Protocol

from sweep.errors import ResultsError
from sweep.trial import CannotStore, Event, Trial

MAX_FAILED_STARTS = 3  # of a training process, in a row: then it cannot start at all, and trying again would not help


class Executor(Protocol):
    """Runs trials and reports how they go. tests/execute/test_contract.py holds every executor to this."""

    @property
    def n_running(self) -> int:
        """Count the trials submitted whose end `wait` has not returned yet."""

    def takes(self, trial: Trial) -> bool:
        """Return whether `trial` can be submitted now."""

    def submit(self, trial: Trial) -> None:
        """Run a trial. Only where `takes` allows it."""

    def wait(self, timeout_s: float) -> Event | None:
        """Return the next event, in the order they happened; None if there is none within `timeout_s`.

        With a timeout of 0, return only what has happened already. On a virtual clock nothing has: every event is a
        moment of its own.
        A trial ends with one TrialResult or one WorkerDied. Its result is durable before `wait` returns it.
        Raises ResultsError if a result cannot be written, WorkersError if the processes that train do not start.
        """

    def answer(self, key: str, goes_on: bool) -> None:
        """Send the verdict to a trial whose report waits for one."""

    def close(self) -> None:
        """Stop all that runs, at once, and return when it has stopped."""


def to_error(unsaved: CannotStore) -> ResultsError:
    """Build the error of a result that could not be written."""
    return ResultsError(
        f"cannot write the result of {unsaved.key}: {unsaved.reason}; make room, and the same command continues"
    )


def describe_death(exit_code: int | None) -> str:
    """Describe in words why a training process ended, by its exit code."""
    if exit_code == -signal.SIGKILL:
        return "its worker was killed by signal 9, as the kernel does when memory runs out"
    if exit_code is not None and exit_code < 0:
        return f"its worker was killed by signal {-exit_code}"
    return f"its worker ended with exit code {exit_code}"
