"""What every executor is, for the loop that drives it."""

from typing import Protocol

from sweep.trial import Event, Trial


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
