"""The trials that a sampler of Optuna learns from: of many, a bounded number, so that a proposal never costs more.

TPE takes time in proportion to the trials that it reads, a Gaussian process in proportion to their cube. What they are shown
once there are many: the best trials, a random sample of all that ended, and the newest of those that run. TPE builds its
model of good configs from 25 trials at most, all of them among the best, so that this model stays as it is; that of the
others is drawn from a sample. `python -m tests.bench.bounded_history` compares searches by both.
"""

import bisect
import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweep.record.optuna_terms import OPTUNA_STATES, to_params
from sweep.study.config import derive_seed
from sweep.study.objective import cost
from sweep.study.schema import Study
from sweep.trial import State, Trial

Rank = tuple[int, float, float]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The most trials that a sampler is shown."""

    best: int
    drawn: int
    running: int


LIMITS = {"tpe": Limits(best=50, drawn=200, running=50), "gp": Limits(best=50, drawn=100, running=50)}


class History:
    """Keeps what a sampler may still be shown of the trials of a search; forgets the rest.

    What is shown follows from the trials and the study's seed, not from the order in which trials ended: a sample of those
    whose hashes are the smallest (bottom-k: Cohen and Kaplan 2007, "Summarizing data using bottom-k sketches").
    """

    def __init__(self, study: Study, limits: Limits) -> None:
        self._study, self._limits = study, limits
        self._running: dict[str, tuple[Trial, FrozenTrial]] = {}  # by key, oldest first
        self._at_rungs: dict[str, dict[int, float]] = {}  # of those that run
        self._best: list[tuple[Rank, int, FrozenTrial]] = []  # sorted; the best first
        self._drawn: list[tuple[int, int, FrozenTrial]] = []  # a heap; the largest hash, negated, first

    def start(self, trial: Trial) -> None:
        """Learn of a trial that was just claimed."""
        self._running[trial.key] = trial, self._to_shown(trial, state=TrialState.RUNNING)

    def report(self, key: str, rung: int, value: float) -> None:
        """Learn the objective of a trial at a rung."""
        self._at_rungs.setdefault(key, {})[rung] = value

    def end(self, key: str, state: State, value: float | None) -> None:
        """Learn how a trial ended. Samplers ignore one that failed."""
        (trial, _), at_rungs = self._running.pop(key), self._at_rungs.pop(key, {})
        if state == State.FAILED:
            return
        ended = self._to_shown(
            trial,
            state=OPTUNA_STATES[state],
            intermediate_values=at_rungs,
            value=value if state == State.COMPLETE else None,
        )
        bisect.insort(self._best, (self._rank(state, value, at_rungs), trial.number, ended))
        del self._best[self._limits.best :]
        heapq.heappush(self._drawn, (-derive_seed(self._study.seed, "shown", trial.number), trial.number, ended))
        if len(self._drawn) > self._limits.drawn:
            heapq.heappop(self._drawn)

    def show(self) -> list[FrozenTrial]:
        """Return the trials to learn from, by number, which counts from 1 here: the trial that is asked for is number 0."""
        newest = islice(reversed(self._running.values()), self._limits.running)
        running = [trial for _, trial in newest]
        shown = {trial.number: trial for *_, trial in (*self._best, *self._drawn)}
        return [*(shown[number] for number in sorted(shown)), *reversed(running)]

    def _to_shown(self, trial: Trial, **how: Any) -> FrozenTrial:
        params, distributions = to_params(self._study, trial.config)
        shown = create_trial(params=params, distributions=distributions, **how)
        shown.number = trial.number + 1
        return shown

    def _rank(self, state: State, value: float | None, at_rungs: dict[int, float]) -> Rank:
        """Return what trials are sorted by, as TPE does: complete ones first, then those pruned last."""
        if state == State.COMPLETE and value is not None:
            return 0, 0.0, cost(self._study.objective, value)
        last = max(at_rungs, default=0)
        return 1, -last, cost(self._study.objective, at_rungs[last]) if at_rungs else 0.0


class ShownTrials(optuna.storages.InMemoryStorage):
    """A storage that holds the trial that is asked for, and shows a sampler others beside it."""

    def __init__(self, shown: Sequence[FrozenTrial]) -> None:
        super().__init__()
        self._shown = shown

    def get_all_trials(self, study_id: int, deepcopy: bool = True, states: Any = None) -> list[FrozenTrial]:
        """Return those that are shown and the one that is asked for. Copies none of those shown: samplers change none."""
        asked = super().get_all_trials(study_id, deepcopy, states)
        return [*asked, *(trial for trial in self._shown if states is None or trial.state in states)]
