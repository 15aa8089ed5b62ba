"""Search by probes of one epoch and a model of learning curves that says which of them are worth the rest.

Every config is first trained for `PROBE_EPOCHS`. A Gaussian process over hyperparameters and epochs (`curve_model.py`) then
weighs all at once: to train a probed config to its end, as a new trial with the same seed, or to probe a fresh one. The
largest expected improvement over the best posterior mean wins. Trials in training are taken to bring what is expected of
them (kriging believer: Ginsbourger et al. 2010, "Kriging is well-suited to parallelize optimization"), so that several at a
time spread out. What is proposed follows from the record and the study's seed alone.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from sweep.record.optuna_terms import to_params
from sweep.record.trials import Record, RecordedTrial
from sweep.search.budget import UNBOUNDED, Left, most_epochs
from sweep.search.curve_model import Array, CurveModel, Forecast
from sweep.search.defaults import default_config
from sweep.search.encoding import Encoder
from sweep.study.config import Config, derive_seed, derive_training_seed
from sweep.study.schema import PROBE_EPOCHS, Study
from sweep.study.space import Scalar
from sweep.trial import Phase, State, Trial, TrialResult

N_FIRST = 12  # configs tried before the model is asked
N_FRESH = 400  # untried configs that it is shown
MAX_SEEN = 300  # curves that it is shown, which bounds what a proposal costs
LEAST_ERROR = 1e-4  # a lower share of wrong rows, or loss, counts as this
LARGEST_LOSS = 10.0  # a larger one counts as this: how badly a net fails is no matter


@dataclass
class _Tried:
    """A config that was tried, as a probe, to its end, or both."""

    config: Config
    number: int  # of its first trial
    point: Array  # (coordinates,)
    group: Scalar | None
    curve: Array | None = None  # log of its cost after each epoch; None before it has one
    is_running: bool = True
    is_open: bool = False  # a probe that may be promoted
    is_failed: bool = False


class FreezeThaw:
    """See `sampler.Suggester`. Proposes probes, and promotes them to whole trainings."""

    def __init__(self, study: Study, record: Record) -> None:
        assert study.space is not None
        self._study, self._record = study, record
        self._encoder = Encoder(study.space)
        self._spaces = study.subspaces()
        self._n_first = N_FIRST if study.search.trials is None else min(N_FIRST, study.search.trials // 3)
        self._tried: dict[Config, _Tried] = {}
        self._n_tried: Counter[Scalar | None] = Counter()  # group -> configs
        self._n_whole: Counter[Scalar | None] = Counter()  # group -> trials that run or ran to their end
        self._spent: Counter[Scalar | None] = Counter()  # group -> epochs; of running trials, those that they may take
        for recorded in record.trials.values():
            self._start(recorded.trial)
            if recorded.state is not None:
                self._end(recorded)

    def claim(self, config: Config, phase: Phase, name: str = "", promoted_from: int | None = None) -> Trial:
        """Claim a given config. The search learns from it if it lies in the space."""
        params, distributions = to_params(self._study, config)
        seed = derive_training_seed(self._study.seed, config, 0)
        trial = self._record.claim(
            phase, config, seed, name=name, promoted_from=promoted_from, params=params, distributions=distributions
        )
        self._start(trial)
        return trial

    def suggest(self, within: Left = UNBOUNDED) -> Trial | None:
        """Claim what is worth training next. Return None where nothing new is left that fits in the budget.

        Probes leave enough of the budget to train a config of every group to its end.
        """
        may_promote = within.epochs >= self._study.training.max_epochs
        may_probe = may_promote and self._may_probe(within)
        open_in = {one.group for one in self._tried.values() if one.is_open} if may_promote else set()
        groups = [
            group
            for group, space in self._spaces.items()
            if group in open_in or (may_probe and self._n_tried[group] < space.n_configs())
        ]
        if not groups:
            return None
        group = min(groups, key=self._spent.__getitem__)
        rng = np.random.default_rng(derive_seed(self._study.seed, "freeze_thaw", len(self._record.trials)))
        fresh = self._draw(group, rng) if may_probe else []
        chosen = self._choose(group, fresh, group in open_in)
        if isinstance(chosen, Config):
            return self.claim(chosen, Phase.SEARCH)
        return self.claim(chosen.config, Phase.SEARCH, promoted_from=chosen.number)

    def _may_probe(self, within: Left) -> bool:
        if not self._study.probes:
            return True
        whole, is_open = self._study.training.max_epochs, {one.group for one in self._tried.values() if one.is_open}
        lacking = sorted(group not in is_open for group in self._spaces if not self._n_whole[group])
        epochs = min(within.epochs, within.epochs_in_time)
        return may_probe(within.trials, 1, 1, lacking) and may_probe(epochs, PROBE_EPOCHS, whole, lacking)

    def report(self, key: str, rung: int, value: float) -> None:
        """Do nothing: the curve of a trial comes with its result."""

    def tell(self, result: TrialResult) -> None:
        """Learn from a result that the record has already."""
        self._end(self._record.trials[result.key])

    def _start(self, trial: Trial) -> None:
        group = self._study.group_of(trial.config)
        if not self._study.in_space(trial.config):
            return
        self._spent[group] += most_epochs(self._study, trial)
        self._n_whole[group] += not trial.rungs
        if trial.config not in self._tried:
            point = self._encoder.encode([trial.config])[0]
            self._tried[trial.config] = _Tried(trial.config, trial.number, point, group)
            self._n_tried[group] += 1
        one = self._tried[trial.config]
        one.is_running, one.is_open = True, False

    def _end(self, recorded: RecordedTrial) -> None:
        one = self._tried.get(recorded.trial.config)
        if one is None:
            return
        course = self._record.course_of(recorded.trial.key)
        assert course is not None, recorded.trial.key
        self._spent[one.group] += course.n_epochs - most_epochs(self._study, recorded.trial)
        self._n_whole[one.group] += (recorded.state == State.COMPLETE) - (not recorded.trial.rungs)
        one.is_running, one.is_open = False, recorded.state == State.PRUNED
        one.is_failed = recorded.state == State.FAILED
        if course.curve and not one.is_failed:
            one.curve = _to_log_cost(self._study.objective, np.array(course.curve))

    def _draw(self, group: Scalar | None, rng: np.random.Generator) -> list[Config]:
        """Draw untried configs of a group; the study's defaults come first."""
        space = self._spaces[group]
        if self._n_tried[group] >= space.n_configs():
            return []
        first = default_config(space)
        if first not in self._tried:
            return [first]
        drawn = [config for config in space.draw(N_FRESH, rng) if config not in self._tried]
        # Chance finds the last ones of many too rarely.
        return drawn or [next(config for config in space.grid() if config not in self._tried)]

    def _choose(self, group: Scalar | None, fresh: list[Config], may_promote: bool) -> Config | _Tried:
        """Return the config to probe, or the probe to promote."""
        seen = self._select_seen()
        if fresh and (len(self._tried) < self._n_first or len(fresh) == 1 or not seen):
            return fresh[0]
        believed = [one for one in self._tried.values() if one.is_running and one.curve is None and not one.is_failed]
        candidates = [*seen, *believed]
        points = np.array([*(one.point for one in candidates), *self._encoder.encode(fresh)])
        own = np.where(np.arange(len(points)) < len(seen), np.arange(len(points)), -1)
        forecast = CurveModel(points[: len(seen)], self._curves_of(seen), self._study.training.max_epochs).forecast(
            points, own
        )
        is_open = [may_promote and one.is_open and one.group == group for one in candidates] + [True] * len(fresh)
        is_rival = [one.group == group for one in seen]
        best = forecast.mean[: len(seen)][is_rival].min() if any(is_rival) else math.inf
        running = [i for i, one in enumerate(candidates) if one.is_running]
        chosen = choose(forecast, np.array(is_open), running, best)
        return candidates[chosen] if chosen < len(candidates) else fresh[chosen - len(candidates)]

    def _select_seen(self) -> list[_Tried]:
        """Select what the model is shown: everything, or the best half of a bounded number and a spread of the others."""
        seen = [one for one in self._tried.values() if one.curve is not None or one.is_failed]
        if len(seen) <= MAX_SEEN:
            return seen if any(one.curve is not None for one in seen) else []
        costs = np.array([math.inf if one.curve is None else one.curve[-1] for one in seen])
        order = np.argsort(costs, kind="stable")
        spread = np.linspace(MAX_SEEN // 2, len(seen) - 1, MAX_SEEN - MAX_SEEN // 2).astype(int)
        return [seen[i] for i in [*order[: MAX_SEEN // 2], *order[spread]]]

    def _curves_of(self, seen: list[_Tried]) -> list[Array]:
        """Return their curves; one that failed counts as a first epoch as bad as the worst."""
        worst = max(float(one.curve[0]) for one in seen if one.curve is not None)
        return [np.array([worst]) if one.curve is None or one.is_failed else one.curve for one in seen]


def choose(forecast: Forecast, is_open: NDArray[np.bool_], running: list[int], best: float) -> int:
    """Return the open candidate of the largest expected improvement over `best`, the least cost that is expected so far.

    running: candidates in training. What each will show is taken to be what is expected of it: only the doubt shrinks.
    """
    variance, believed = forecast.variance.copy(), list[Array]()
    for j in running:
        covariance = forecast.covariance_with(j) - sum((step * step[j] for step in believed), np.zeros(len(variance)))
        believed.append(covariance / math.sqrt(max(covariance[j], 0) + forecast.noise[j]))
        variance -= believed[-1] ** 2
    deviation = np.sqrt(np.maximum(variance, 1e-12))
    if math.isinf(best):
        return int(np.where(is_open, forecast.mean, math.inf).argmin())
    ahead = (best - forecast.mean) / deviation
    gain = deviation * (ahead * norm.cdf(ahead) + norm.pdf(ahead))
    return int(np.where(is_open, gain, -1.0).argmax())


def may_probe(left: float, probe: int, whole: int, is_unprobed: Sequence[bool]) -> bool:
    """Return whether a probe leaves enough for a whole training of every group that lacks one, or of as many as fit.

    left: of a budget; probe, whole: what they take of it; is_unprobed: of every group that lacks one, whether it has no
    probe to promote either, those that have one first.
    """
    n, needed = 0, 0
    for unprobed in is_unprobed:
        if needed + whole + probe * unprobed > left:
            break
        n, needed = n + 1, needed + whole + probe * unprobed
    n_unprobed = sum(is_unprobed[:n])
    return left - probe >= max(n, 1) * whole + max(n_unprobed - 1, 0) * probe


def _to_log_cost(objective: str, curve: Array) -> Array:
    cost = 1 - curve if objective.endswith("accuracy") else curve
    logarithm: Array = np.log(cost.clip(LEAST_ERROR, LARGEST_LOSS))
    return logarithm
