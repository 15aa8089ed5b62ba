"""The configs that a search has tried, as a model of learning curves sees them: what a proposal looks at stays bounded."""

import bisect
import math
from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np

from sweep.record.trials import Course, RecordedTrial
from sweep.search.budget import most_epochs
from sweep.search.curve_model import Array
from sweep.study.config import Config
from sweep.study.objective import is_gain
from sweep.study.schema import Study
from sweep.study.space import Scalar
from sweep.trial import State, Trial

Group = Scalar | None
MAX_SEEN = 200  # curves that the model is shown, which bounds what a proposal costs
LEAST_ERROR = 1e-4  # a lower share of wrong rows, or loss, counts as this
LARGEST_LOSS = 10.0  # a larger one counts as this: how badly a net fails is no matter


@dataclass
class Tried:
    """A config that was tried, as a probe, to its end, or both."""

    config: Config
    number: int  # of its first trial
    group: Group
    curve: Array | None = None  # log of its cost after each epoch; None before it has one
    is_running: bool = True
    is_open: bool = False  # a probe that may be promoted
    is_failed: bool = False

    @property
    def rank(self) -> tuple[float, int]:
        """Its last cost, and its number to tell equals apart."""
        return math.inf if self.curve is None or self.is_failed else float(self.curve[-1]), self.number


class TriedConfigs:
    """Remembers every config of the space that was tried, and counts what each group of them has."""

    def __init__(self, study: Study, unit: float = 1.0) -> None:
        """unit: what an error in the unit of the label is measured in, see `Record.unit`."""
        self._study, self._unit = study, unit
        self._by_config: dict[Config, Tried] = {}
        self._by_number: dict[int, Tried] = {}
        self._ranked: defaultdict[tuple[Group, bool], list[tuple[float, int]]] = defaultdict(list)  # by group, is_open
        self.running: dict[Config, Tried] = {}
        self.n_tried: Counter[Group] = Counter()  # configs
        self.n_whole: Counter[Group] = Counter()  # trials that run to their end, or have
        self.n_epochs: Counter[Group] = Counter()  # spent; of running trials, those that they may take

    def __len__(self) -> int:
        return len(self._by_config)

    def __contains__(self, config: Config) -> bool:
        return config in self._by_config

    def has_open(self, group: Group) -> bool:
        """Return whether a probe of the group may be promoted."""
        return bool(self._ranked[group, True])

    def is_probed(self, group: Group) -> bool:
        """Return whether the group has a probe that may be promoted, or one that runs."""
        return self.has_open(group) or any(one.group == group for one in self.running.values())

    def start(self, trial: Trial) -> None:
        """Learn of a trial that was just claimed. One that lies outside the space says nothing."""
        if not self._study.in_space(trial.config):
            return
        group = self._study.group_of(trial.config)
        self.n_epochs[group] += most_epochs(self._study, trial)
        self.n_whole[group] += not trial.rungs
        one = self._by_config.get(trial.config)
        if one is None:
            one = Tried(trial.config, trial.number, group)
            self._by_config[trial.config] = self._by_number[trial.number] = one
            self.n_tried[group] += 1
        else:
            self._unrank(one)
        one.is_running, one.is_open = True, False
        self.running[trial.config] = one

    def end(self, recorded: RecordedTrial, course: Course) -> None:
        """Learn how a trial has ended."""
        one = self.running.pop(recorded.trial.config, None)
        if one is None:
            return
        self.n_epochs[one.group] += course.n_epochs - most_epochs(self._study, recorded.trial)
        self.n_whole[one.group] += (recorded.state == State.COMPLETE) - (not recorded.trial.rungs)
        one.is_running, one.is_open = False, recorded.state == State.PRUNED
        one.is_failed = recorded.state == State.FAILED
        if course.curve and not one.is_failed:
            one.curve = to_log_cost(self._study.objective, np.array(course.curve), self._unit)
        bisect.insort(self._ranked[one.group, one.is_open], one.rank)

    def select_seen(self) -> list[Tried]:
        """Select what the model is shown: every curve, or of a bounded number, those that run, the best, and a spread.

        Empty as long as there is no curve.
        """
        n_ranked = sum(map(len, self._ranked.values()))
        share = MAX_SEEN // max(len(self._ranked), 1)
        selected = [
            self._by_number[number]
            for ranked in self._ranked.values()
            for _, number in (ranked if n_ranked <= MAX_SEEN else _thin(ranked, share))
        ]
        seen = [one for one in (*selected, *self.running.values()) if one.curve is not None or not one.is_running]
        return seen if any(one.curve is not None for one in seen) else []

    def _unrank(self, one: Tried) -> None:
        ranked = self._ranked[one.group, one.is_open]
        at = bisect.bisect_left(ranked, one.rank)
        if at < len(ranked) and ranked[at] == one.rank:
            del ranked[at]


def _thin(ranked: list[tuple[float, int]], n: int) -> list[tuple[float, int]]:
    """Return n of a longer list: the best half, and a spread of the others."""
    if len(ranked) <= n:
        return ranked
    return ranked[: n // 2] + [ranked[i] for i in np.linspace(n // 2, len(ranked) - 1, n - n // 2).astype(int)]


def curves_of(seen: list[Tried]) -> list[Array]:
    """Return their curves; one that failed counts as a first epoch as bad as the worst."""
    worst = max(float(one.curve[0]) for one in seen if one.curve is not None)
    return [np.array([worst]) if one.curve is None or one.is_failed else one.curve for one in seen]


def to_log_cost(objective: str, curve: Array, unit: float = 1.0) -> Array:
    """Return the log of the share of wrong rows, or of the loss, within bounds; of an error, as a share of `unit`."""
    cost = 1 - curve if is_gain(objective) else curve / unit
    logarithm: Array = np.log(cost.clip(LEAST_ERROR, LARGEST_LOSS))
    return logarithm
