"""Take a trial, run it, follow it, record how it ended, track it, until no trial is left."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sweep.errors import Interrupted
from sweep.execute.executor import Executor
from sweep.trial import CohortReport, EpochReport, Event, Trial, TrialEvent, TrialResult, WorkerDied

POLL_S = 0.2  # how long an interruption can go unnoticed


class Source(Protocol):
    """Supplies trials, and records what happens to each before anyone else hears of it."""

    def next(self) -> Trial | None:
        """Claim and return the next trial to run; None if there is none."""

    def judge(self, reports: Sequence[EpochReport]) -> dict[str, bool]:
        """Decide which of the trials that reached a rung together go on: key -> whether it goes on."""

    def handle_death(self, death: WorkerDied) -> Trial | TrialResult:
        """Return the next attempt of a trial whose worker died, or its result if it has one or died too often."""

    def tell(self, result: TrialResult) -> Trial:
        """Record how a trial ended; return the trial."""


Watch = Callable[[Trial, TrialEvent | None], None]  # hears every event; None when a trial is submitted
Track = Callable[[Trial, TrialResult], None]


def run_trials(
    source: Source,
    start_executor: Callable[[], Executor],
    track: Track,
    watch: Watch,
    is_interrupted: Callable[[], bool] = lambda: False,
) -> None:
    """Keep every slot of the executor busy until `source` has no more trials and none is running.

    Starts no executor if there is no trial. Raises Interrupted between two events; running trials stay claimed.
    """
    first = source.next()
    if first is None:
        return
    executor = start_executor()
    slots = _Slots(source, executor, track, watch, is_interrupted, deque([first]))
    while slots.are_in_use:
        if is_interrupted():
            raise Interrupted
        if not slots.fill():
            slots.hear(executor.wait(POLL_S))


@dataclass
class _Slots:
    """The executor's slots. One trial is asked ahead, so that a free slot waits for no sampler and no database."""

    source: Source
    executor: Executor
    track: Track
    watch: Watch
    is_interrupted: Callable[[], bool]
    ahead: deque[Trial]  # claimed and not submitted: one, or two after a worker died
    running: dict[str, Trial] = field(default_factory=dict)

    @property
    def are_in_use(self) -> bool:
        """Tell whether a trial is running or waits to be submitted."""
        return bool(self.ahead or self.executor.n_running)

    def fill(self) -> bool:
        """Submit a trial and ask for the next, if a slot is free for it. Return whether one was."""
        is_submitted = self._submit()
        if is_submitted:
            self._ask()
        return is_submitted

    def hear(self, event: Event | None) -> None:
        """Act on an event, then ask for the next trial if none is waiting."""
        match event:
            case EpochReport():
                self._report([event])
            case CohortReport(reports):
                self._report(reports)
            case TrialResult():
                self._submit()  # first: the slot that became free does not wait for what is written below
                self._finish(event)
            case WorkerDied() if self.is_interrupted():
                pass  # the signal that stops the sweep reached its worker too
            case WorkerDied():
                self.watch(self.running[event.key], event)
                self._retry(event)
        self._ask()

    def _ask(self) -> None:
        if not self.ahead and (trial := self.source.next()) is not None:
            self.ahead.append(trial)

    def _submit(self) -> bool:
        if not self.ahead or not self.executor.takes(self.ahead[0]):
            return False
        trial = self.ahead.popleft()
        self.running[trial.key] = trial
        self.executor.submit(trial)
        self.watch(trial, None)
        return True

    def _report(self, reports: Sequence[EpochReport]) -> None:
        for key, goes_on in self.source.judge([report for report in reports if report.waits]).items():
            self.executor.answer(key, goes_on)  # before anything is shown: its worker waits
        for report in reports:
            self.watch(self.running[report.key], report)

    def _finish(self, result: TrialResult) -> None:
        self.track(self.source.tell(result), result)
        self.watch(self.running.pop(result.key), result)

    def _retry(self, death: WorkerDied) -> None:
        match self.source.handle_death(death):
            case Trial() as again:
                self.ahead.appendleft(again)  # its slot may have been given to the next trial in the meantime
            case TrialResult() as result:
                self._finish(result)
