"""An executor that answers from learning curves that are known, on a virtual clock: a whole study takes seconds."""

import heapq
from collections.abc import Mapping
from pathlib import Path

from sweep.execute.fake import CLOCK_START, Curve, save_files
from sweep.study.training import Training
from sweep.train.course import Course
from sweep.trial import Event, State, Trial, TrialResult

EPOCH_S = 1.0


class VirtualClock:
    """Tells the time of a simulation, in UTC seconds since 1970. It moves when `now` is set."""

    def __init__(self) -> None:
        self.now = CLOCK_START

    def __call__(self) -> float:
        return self.now


class TabularExecutor:
    """See `Executor`. The loop, the sources, the record and the sampler around it are the real ones.

    Epochs of running trials end in the order of the virtual clock; early stopping and rungs are those of a real training.
    """

    def __init__(
        self,
        folder: Path,
        training: Training,
        curve: Curve,
        n_slots: int,
        clock: VirtualClock,
        files: Mapping[str, bytes] | None = None,
        is_cohort: bool = False,
    ) -> None:
        """Answer with `curve`, the logs of an epoch, which takes a second.

        folder: of result folders; files: content by name, saved beside the history of every result that did not fail.
        is_cohort: trials wait until none trains, then train together, as those of `CohortExecutor` do.
        """
        self._folder, self._training, self._curve = folder, training, curve
        self._n_slots, self._clock, self._files = n_slots, clock, files or {}
        self._is_cohort = is_cohort
        self._running: dict[str, Course] = {}
        self._waiting: list[Course] = []  # of those that run, the ones that do not train yet
        self._due: list[tuple[float, int, str]] = []  # a heap: when an epoch ends, trial number, key

    @property
    def n_running(self) -> int:
        return len(self._running)

    def takes(self, trial: Trial) -> bool:
        is_training = len(self._waiting) < len(self._running)
        return len(self._running) < self._n_slots and not (self._is_cohort and is_training)

    def submit(self, trial: Trial) -> None:
        assert self.takes(trial), "no slot is free"
        course = Course(trial, self._training, self._clock.now)
        self._running[trial.key] = course
        self._waiting.append(course)

    def wait(self, timeout_s: float) -> Event | None:
        """Return the next event, at once: its time passes on the virtual clock."""
        if timeout_s == 0:
            return None
        while self._waiting:
            self._go_on(self._waiting.pop())
        if not self._due:
            return None
        self._clock.now, _, key = heapq.heappop(self._due)
        course = self._running[key]
        if course.is_over:
            return self._end(course)
        config, epoch = course.trial.config, course.n_epochs + 1
        report = course.add(self._curve(config, course.trial.seed, epoch), self._clock.now)
        if not report.waits:
            self._go_on(course)
        return report

    def answer(self, key: str, goes_on: bool) -> None:
        course = self._running[key]
        if not goes_on:
            course.prune()
        self._go_on(course)

    def close(self) -> None:
        self._running.clear()
        self._waiting.clear()
        self._due.clear()

    def _go_on(self, course: Course) -> None:
        """Put the end of the next epoch on the clock, or that of the trial, which comes at once."""
        takes_s = 0.0 if course.is_over else EPOCH_S
        heapq.heappush(self._due, (self._clock.now + takes_s, course.trial.number, course.trial.key))

    def _end(self, course: Course) -> TrialResult:
        """Make the result durable, and free the slot. The metrics on training rows are those of the best epoch."""
        best = course.history[course.best_epoch - 1] if course.state == State.COMPLETE else {}
        result = course.make_result(
            {f"train_{name}": value for name, value in best.items() if not name.startswith("val_")},
            params_count=sum(course.trial.config.units),
            train_seconds=self._clock.now - course.started_at,
            ended_at=self._clock.now,
            provenance={},
        )
        del self._running[course.trial.key]
        return save_files(self._folder / course.trial.key, course.trial, result, self._files)
