"""Search by probes of one epoch and a model of learning curves that says which of them are worth the rest.

Every config is first trained for `PROBE_EPOCHS`. A Gaussian process over hyperparameters and epochs (`curve_model.py`) then
weighs all at once: to train a probed config to its end, as a new trial with the same seed, or to probe a fresh one. The
largest expected improvement over the best posterior mean wins. Trials in training are taken to bring what is expected of
them (kriging believer: Ginsbourger et al. 2010, "Kriging is well-suited to parallelize optimization"), so that several at a
time spread out. What is proposed follows from the record and the study's seed alone.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from scipy.stats import norm
from threadpoolctl import ThreadpoolController

from sweep.record.optuna_terms import to_params
from sweep.record.trials import Record
from sweep.search.budget import UNBOUNDED, Left
from sweep.search.curve_model import CurveModel, Forecast
from sweep.search.defaults import default_config
from sweep.search.encoding import Encoder
from sweep.search.tried import Group, Tried, TriedConfigs, curves_of
from sweep.study.config import Config, derive_seed, derive_training_seed
from sweep.study.schema import PROBE_EPOCHS, Study
from sweep.trial import Phase, Trial, TrialResult

N_FIRST = 6  # configs tried before the model is asked; 12, or 3, reach a quality later in `search_quality`
N_FRESH = 400  # untried configs that it is shown


class FreezeThaw:
    """See `sampler.Suggester`. Proposes probes, and promotes them to whole trainings."""

    def __init__(self, study: Study, record: Record) -> None:
        assert study.space is not None
        self._study, self._record = study, record
        self._encoder = Encoder(study.space)
        self._spaces = study.subspaces()
        self._defaults = {group: default_config(space) for group, space in self._spaces.items()}
        self._n_first = N_FIRST if study.search.trials is None else min(N_FIRST, study.search.trials // 3)
        self._threads = ThreadpoolController()
        self._tried = TriedConfigs(study, record.unit)
        for recorded in record.trials.values():
            self._tried.start(recorded.trial)
            course = record.course_of(recorded.trial.key)
            if course is not None:
                self._tried.end(recorded, course)

    def claim(self, config: Config, phase: Phase, name: str = "", promoted_from: int | None = None) -> Trial:
        """Claim a given config. The search learns from it if it lies in the space."""
        params, distributions = to_params(self._study, config)
        seed = derive_training_seed(self._study.seed, config, 0)
        trial = self._record.claim(
            phase, config, seed, name=name, promoted_from=promoted_from, params=params, distributions=distributions
        )
        self._tried.start(trial)
        return trial

    def suggest(self, within: Left = UNBOUNDED) -> Trial | None:
        """Claim what is worth training next. Return None where nothing new is left that fits in the budget.

        Probes leave enough of the budget to train a config of every group to its end.
        """
        may_promote = within.epochs >= self._study.training.max_epochs
        may_probe = may_promote and self._may_probe(within)
        fresh_in = {g for g, space in self._spaces.items() if may_probe and self._tried.n_tried[g] < space.n_configs()}
        open_in = {g for g in self._spaces if may_promote and self._tried.has_open(g)}
        groups = [group for group in self._spaces if group in fresh_in | open_in]
        if not groups:
            return None
        group = min(groups, key=self._tried.n_epochs.__getitem__)
        rng = np.random.default_rng(derive_seed(self._study.seed, "freeze_thaw", len(self._record.trials)))
        fresh = self._draw(group, rng) if group in fresh_in else []
        # The matrices are small: more threads would wait for each other, on cores that train.
        with self._threads.limit(limits=1, user_api="blas"):
            chosen = self._choose(group, fresh, group in open_in)
        if isinstance(chosen, Config):
            return self.claim(chosen, Phase.SEARCH)
        return self.claim(chosen.config, Phase.SEARCH, promoted_from=chosen.number)

    def report(self, key: str, rung: int, value: float) -> None:
        """Do nothing: the curve of a trial comes with its result."""

    def tell(self, result: TrialResult) -> None:
        """Learn from a result that the record has already."""
        course = self._record.course_of(result.key)
        assert course is not None, result.key
        self._tried.end(self._record.trials[result.key], course)

    def _may_probe(self, within: Left) -> bool:
        if not self._study.probes:
            return True
        whole = self._study.training.max_epochs
        lacking = sorted(not self._tried.is_probed(g) for g in self._spaces if not self._tried.n_whole[g])
        epochs = min(within.epochs, within.epochs_in_time)
        return may_probe(within.trials, 1, 1, lacking) and may_probe(epochs, PROBE_EPOCHS, whole, lacking)

    def _draw(self, group: Group, rng: np.random.Generator) -> list[Config]:
        """Draw untried configs of a group that has some; the study's defaults come first."""
        space = self._spaces[group]
        if self._defaults[group] not in self._tried:
            return [self._defaults[group]]
        drawn = [config for config in space.draw(N_FRESH, rng) if config not in self._tried]
        # Chance finds the last ones of many too rarely.
        return drawn or [next(config for config in space.grid() if config not in self._tried)]

    def _choose(self, group: Group, fresh: list[Config], may_promote: bool) -> Config | Tried:
        """Return the config to probe, or the probe to promote."""
        seen = self._tried.select_seen()
        if fresh and (len(self._tried) < self._n_first or len(fresh) == 1 or not seen):
            return fresh[0]
        believed = [one for one in self._tried.running.values() if one.curve is None]
        candidates = [*seen, *believed]
        points = self._encoder.encode([*(one.config for one in candidates), *fresh])
        own = np.where(np.arange(len(points)) < len(seen), np.arange(len(points)), -1)
        model = CurveModel(points[: len(seen)], curves_of(seen), self._study.training.max_epochs)
        forecast = model.forecast(points, own)
        is_open = [may_promote and one.is_open and one.group == group for one in candidates] + [True] * len(fresh)
        is_rival = [one.group == group for one in seen]
        best = forecast.mean[: len(seen)][is_rival].min() if any(is_rival) else math.inf
        running = [i for i, one in enumerate(candidates) if one.is_running]
        chosen = choose(forecast, np.array(is_open), running, best)
        return candidates[chosen] if chosen < len(candidates) else fresh[chosen - len(candidates)]


def choose(forecast: Forecast, is_open: NDArray[np.bool_], running: list[int], best: float) -> int:
    """Return the open candidate of the largest expected improvement over `best`, the least cost that is expected so far.

    running: candidates in training. What each will show is taken to be what is expected of it: only the doubt shrinks.
    """
    variance = forecast.variance
    if running:
        covariance = forecast.covariance_with(running)
        low = cholesky(covariance[:, running] + np.diag(forecast.noise[running]), lower=True)
        variance = variance - (solve_triangular(low, covariance, lower=True) ** 2).sum(axis=0)
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
