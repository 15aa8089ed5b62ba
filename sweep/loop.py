"""The loop: take a trial, run it, hear how it goes, record it, track it, until there is no more to do."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from sweep.errors import Interrupted
from sweep.execute.executor import Executor
from sweep.trial import CohortReport, EpochReport, Trial, TrialEvent, TrialResult, WorkerDied

POLL_S = 0.2  # how long an interruption can go unnoticed


class Source(Protocol):
    """Where trials come from, and who must hear of them first."""

    def next(self) -> Trial | None:
        """The next trial to run, claimed; None when there is none."""

    def judge(self, reports: Sequence[EpochReport]) -> dict[str, bool]:
        """Who goes on of the trials that have reached a rung together, by key."""

    def handle_death(self, death: WorkerDied) -> Trial | TrialResult:
        """The next attempt of a trial whose worker died, or its result if there is one or it died too often."""

    def tell(self, result: TrialResult) -> Trial:
        """Record how a trial ended; the trial."""


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

    No executor is started where there is no trial. One trial is asked ahead, so that a free slot waits for no sampler
    and no database. Raises Interrupted between two events; what runs then stays claimed.
    """
    running: dict[str, Trial] = {}
    ahead: deque[Trial] = deque()

    def ask() -> None:
        if not ahead and (trial := source.next()) is not None:
            ahead.append(trial)

    def submit() -> None:
        trial = ahead.popleft()
        running[trial.key] = trial
        executor.submit(trial)
        watch(trial, None)

    def hear(reports: Sequence[EpochReport]) -> None:
        for key, goes_on in source.judge([report for report in reports if report.waits]).items():
            executor.answer(key, goes_on)
        for report in reports:
            watch(running[report.key], report)

    def finish(result: TrialResult) -> None:
        track(source.tell(result), result)
        watch(running.pop(result.key), result)

    ask()
    if not ahead:
        return
    executor = start_executor()
    while ahead or executor.n_running:
        if is_interrupted():
            raise Interrupted
        if ahead and executor.takes(ahead[0]):
            submit()
            ask()
            continue
        event = executor.wait(POLL_S)
        if isinstance(event, TrialResult) and ahead and executor.takes(ahead[0]):  # before anything is written
            submit()
        match event:
            case EpochReport():
                hear([event])
            case CohortReport(reports):
                hear(reports)
            case TrialResult():
                finish(event)
            case WorkerDied() if is_interrupted():
                pass  # the signal that stops the sweep reached its worker too
            case WorkerDied():
                watch(running[event.key], event)
                match source.handle_death(event):
                    case Trial() as again:
                        ahead.appendleft(again)  # its slot may have been given to the next trial in the meantime
                    case TrialResult() as result:
                        finish(result)
        ask()
