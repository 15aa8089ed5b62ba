"""What a search may spend: trials, epochs, minutes; whichever is spent first ends it."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sweep.record.trials import Course, Record
from sweep.study.schema import PROBE_EPOCHS, Study
from sweep.trial import Phase, Trial

Clock = Callable[[], float]  # UTC seconds since 1970


@dataclass(frozen=True)
class Left:
    """What may still be spent; infinite where nothing limits it."""

    trials: float = math.inf
    epochs: float = math.inf
    epochs_in_time: float = math.inf  # about so many will have ended when the minutes are over, as fast as it goes now


UNBOUNDED = Left()


class Budget:
    """Counts what the trials of the search have spent, those of earlier commands too. Baselines are not counted."""

    def __init__(self, study: Study, record: Record, clock: Clock) -> None:
        self._study, self._clock = study, clock
        self._n_trials = 0
        self._n_epochs = 0  # of trials that run, as many as they may take
        self._n_ended = 0  # epochs of trials that have ended
        self._began_at: float | None = None  # the first trial of this command
        ended = []
        for recorded in record.trials.values():
            if recorded.trial.phase == Phase.SEARCH:
                self._count(recorded.trial)
                if course := record.course_of(recorded.trial.key):
                    self.end(recorded.trial, course)
                    ended.append((course.started_at, course.ended_at))
        self._earlier_s = measure_union(ended)

    @property
    def left(self) -> Left:
        trials, epochs, minutes = self._study.search.trials, self._study.search.epochs, self._study.search.minutes
        n_epochs = math.inf if epochs is None else epochs - self._n_epochs
        n_trials = math.inf if trials is None else trials - self._n_trials
        if minutes is None or not self._n_ended:
            return Left(n_trials, n_epochs)
        return Left(n_trials, n_epochs, (minutes * 60 - self._spent_s) * self._n_ended / max(self._spent_s, 1e-9))

    @property
    def is_spent(self) -> bool:
        """Return whether no trial may start, whatever it takes. A search that nothing bounds is none."""
        left, minutes = self.left, self._study.search.minutes
        is_late = minutes is not None and self._spent_s >= minutes * 60
        return not self._study.search.is_asked_for or left.trials <= 0 or left.epochs <= 0 or is_late

    @property
    def _spent_s(self) -> float:
        return self._earlier_s + (0.0 if self._began_at is None else self._clock() - self._began_at)

    def start(self, trial: Trial) -> None:
        """Count a trial that was just claimed, with the most that it may take."""
        self._count(trial)
        if self._began_at is None:
            self._began_at = self._clock()

    def end(self, trial: Trial, course: Course) -> None:
        """Count what a trial has taken."""
        self._n_epochs += course.n_epochs - most_epochs(self._study, trial)
        self._n_ended += course.n_epochs

    def _count(self, trial: Trial) -> None:
        self._n_trials += 1
        self._n_epochs += most_epochs(self._study, trial)


def most_epochs(study: Study, trial: Trial) -> int:
    """Return the most epochs that a trial may take."""
    return PROBE_EPOCHS if study.probes and trial.rungs else study.training.max_epochs


def measure_union(intervals: Iterable[tuple[float, float]]) -> float:
    """Return the length of the union of intervals: the time in which any of them was."""
    total, until = 0.0, -math.inf
    for start, end in sorted(intervals):
        total += max(end - max(start, until), 0.0)
        until = max(until, end)
    return total
