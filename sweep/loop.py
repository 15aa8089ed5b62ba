"""Take a trial, run it, follow it, record how it ended, track it, until no trial is left."""

import itertools
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from sweep.errors import Interrupted
from sweep.execute.executor import Executor
from sweep.trial import CohortReport, EpochReport, Event, Trial, TrialEvent, TrialResult, WorkerDied

POLL_S = 0.2  # how long an interruption can go unnoticed
MAX_TOGETHER = 64  # events: other studies of the same record wait while those of this one are written


class Source(Protocol):
    """Supplies trials, and records what happens to each before anyone else hears of it."""

    def write_together(self) -> AbstractContextManager[None]:
        """Make all that is recorded within durable at its end, at once."""

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
            slots.hear(_list_events(executor))


def _list_events(executor: Executor) -> list[Event]:
    """Wait for an event. Return it with those that have happened by then, in order."""
    events = []
    event = executor.wait(POLL_S)
    while event is not None:
        events.append(event)
        event = executor.wait(0) if len(events) < MAX_TOGETHER else None
    return events


@dataclass
class _Slots:
    """The executor's slots. One trial is asked ahead, so that a free slot waits for no sampler and no database."""

    source: Source
    executor: Executor
    track: Track
    watch: Watch
    is_interrupted: Callable[[], bool]
    ahead: deque[Trial]  # claimed and not submitted: one, and one for each slot that is known to be free
    running: dict[str, Trial] = field(default_factory=dict)

    @property
    def are_in_use(self) -> bool:
        """Tell whether a trial is running or waits to be submitted."""
        return bool(self.ahead or self.executor.n_running)

    def fill(self) -> bool:
        """Submit a trial and ask for the next, if a slot is free for it. Return whether one was."""
        is_submitted = self._submit()
        if is_submitted and not self.ahead:
            self._ask()
        return is_submitted

    def hear(self, events: Sequence[Event]) -> None:
        """Act on events that have happened together: record them and claim what comes next, in one go; then answer and show them."""
        results = [event for event in events if isinstance(event, TrialResult)]
        verdicts: dict[str, bool] = {}  # trial key -> whether it goes on
        n_free = len(results)
        while n_free and self._submit():  # first: a slot that became free does not wait for what is written below
            n_free -= 1
        with self.source.write_together():
            for event in events:
                verdicts |= self._judge(event)
                results += self._retry(event)
            ended = [(self.source.tell(result), result) for result in results]
            self._ask(1 + n_free)
        dead = {event.key for event in events if isinstance(event, WorkerDied)}  # after their reports
        for key in verdicts.keys() - dead:
            self.executor.answer(key, verdicts[key])  # before anything is shown: its worker waits
        for report in itertools.chain.from_iterable(map(_list_reports, events)):
            self.watch(self.running[report.key], report)
        for trial, result in ended:
            self.track(trial, result)
            self.watch(self.running.pop(result.key), result)

    def _judge(self, event: Event) -> dict[str, bool]:
        """Decide which of the trials that wait for a verdict go on."""
        return self.source.judge([report for report in _list_reports(event) if report.waits])

    def _retry(self, event: Event) -> list[TrialResult]:
        """Try a trial again whose worker died; return its result if it died too often."""
        if not isinstance(event, WorkerDied) or self.is_interrupted():  # the signal that stops the sweep reached it too
            return []
        self.watch(self.running[event.key], event)
        match self.source.handle_death(event):
            case Trial() as again:
                self.ahead.appendleft(again)  # its slot may have been given to the next trial in the meantime
                return []
            case TrialResult() as result:
                return [result]

    def _ask(self, n: int = 1) -> None:
        """Ask ahead: for a trial, or for up to `n` where the executor takes them."""
        while not self.ahead or (len(self.ahead) < n and self.executor.takes(self.ahead[0])):
            trial = self.source.next()
            if trial is None:
                return
            self.ahead.append(trial)

    def _submit(self) -> bool:
        if not self.ahead or not self.executor.takes(self.ahead[0]):
            return False
        trial = self.ahead.popleft()
        self.running[trial.key] = trial
        self.executor.submit(trial)
        self.watch(trial, None)
        return True


def _list_reports(event: Event) -> Sequence[EpochReport]:
    """List the reports that an event brings."""
    match event:
        case EpochReport():
            return [event]
        case CohortReport(reports):
            return reports
        case _:
            return []
