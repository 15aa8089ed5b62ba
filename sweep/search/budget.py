"""What a search may spend: trials, epochs, minutes; whichever is spent first ends it."""

import math
from collections.abc import Callable, Iterable

from sweep.record.trials import Course, Record
from sweep.study.schema import PROBE_EPOCHS, Study
from sweep.trial import Phase, Trial

Clock = Callable[[], float]  # UTC seconds since 1970


class Budget:
    """Counts what the trials of the search have spent, those of earlier commands too. Baselines are not counted."""

    def __init__(self, study: Study, record: Record, clock: Clock) -> None:
        self._study, self._clock = study, clock
        self._n_trials = 0
        self._n_epochs = 0  # of trials that run, as many as they may take
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
    def n_trials_left(self) -> float:
        limit = self._study.search.trials
        return math.inf if limit is None else limit - self._n_trials

    @property
    def n_epochs_left(self) -> float:
        limit = self._study.search.epochs
        return math.inf if limit is None else limit - self._n_epochs

    @property
    def seconds_left(self) -> float:
        limit = self._study.search.minutes
        now = 0.0 if self._began_at is None else self._clock() - self._began_at
        return math.inf if limit is None else limit * 60 - self._earlier_s - now

    @property
    def is_spent(self) -> bool:
        """Return whether no trial may start, whatever it takes. A search that nothing bounds is none."""
        is_bounded = self._study.search.is_asked_for
        return not is_bounded or self.n_trials_left <= 0 or self.n_epochs_left <= 0 or self.seconds_left <= 0

    def start(self, trial: Trial) -> None:
        """Count a trial that was just claimed, with the most that it may take."""
        self._count(trial)
        if self._began_at is None:
            self._began_at = self._clock()

    def end(self, trial: Trial, course: Course) -> None:
        """Count what a trial has taken."""
        self._n_epochs += course.n_epochs - most_epochs(self._study, trial)

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
