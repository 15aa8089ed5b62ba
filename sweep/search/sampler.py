"""Propose configs with Optuna's samplers, and claim them in the record.

A sampler draws from what `history.py` keeps in memory: a draw from the database costs a transaction for every parameter.
"""

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

from sweep.record.optuna_terms import to_direction, to_distribution, to_params
from sweep.record.trials import Record, RecordedTrial
from sweep.search import faster_tpe
from sweep.search.budget import UNBOUNDED, Left
from sweep.search.history import LIMITS, History, ShownTrials
from sweep.study.config import Config, derive_seed, derive_training_seed
from sweep.study.schema import Study
from sweep.study.space import Choice, Float, Int, Scalar
from sweep.trial import Phase, Trial, TrialResult

N_REDRAWS = 20  # draws of configs that were tried already; after that many, the random sampler draws
MAX_REDRAWS = 500  # then the first untried config of the space is taken: chance finds the last ones of many too rarely


class Suggester:
    """Proposes configs that the record does not have yet, and claims them as trials."""

    def __init__(self, study: Study, record: Record) -> None:
        faster_tpe.install()
        self._study = study
        self._record = record
        limits = LIMITS.get(study.search.proposer)
        self._history = History(study, limits) if limits is not None else None  # None: nothing is learned
        self._tried: set[Config] = set()
        self._spaces = study.subspaces() if study.space is not None else {}
        self._n_tried: Counter[Scalar | None] = Counter()  # group -> number of its configs that were tried
        # Iterators: a config that was tried stays tried, so that none is passed twice.
        self._grids = _shuffle_grids(study) if study.search.proposer == "grid" else {}
        self._remaining = {group: space.grid() for group, space in self._spaces.items()}
        for recorded in record.trials.values():
            self._start(recorded.trial)
        for rung in study.rungs():
            for key, value in record.rungs.values_at(rung).items():
                self.report(key, rung, value)
        for key, recorded in record.trials.items():
            self._end(key, recorded)

    def claim(self, config: Config, phase: Phase, name: str = "") -> Trial:
        """Claim a given config. The sampler learns from it if it lies in the space."""
        params, distributions = to_params(self._study, config)
        seed = derive_training_seed(self._study.seed, config, 0)
        trial = self._record.claim(phase, config, seed, name=name, params=params, distributions=distributions)
        self._start(trial)
        return trial

    def suggest(self, within: Left = UNBOUNDED) -> Trial | None:
        """Draw a new config from the space and claim it.

        Return None when every config of the space was tried, or a whole training does not fit in the budget.
        """
        if within.epochs < self._study.training.max_epochs:
            return None
        left = [group for group, space in self._spaces.items() if self._n_tried[group] < space.n_configs()]
        if not left:
            return None
        group = min(left, key=self._n_tried.__getitem__)
        return self.claim(self._draw(group), Phase.SEARCH)

    def report(self, key: str, rung: int, value: float) -> None:
        """Show the sampler the value of a trial at a rung. TPE ranks pruned trials by the last rung they reached."""
        if self._history is not None:
            self._history.report(key, rung, value)

    def tell(self, result: TrialResult) -> None:
        """Let the sampler learn from a result that the record has already."""
        self._end(result.key, self._record.trials[result.key])

    def _draw(self, group: Scalar | None) -> Config:
        """Draw a config of `group`, which has some, that was not tried."""
        if self._grids:
            return next(config for config in self._grids[group] if config not in self._tried)
        shown = self._history.show() if self._history is not None else []
        for redraw in range(MAX_REDRAWS):
            config = self._ask(group, redraw, shown)
            if config not in self._tried:
                return config
        return next(config for config in self._remaining[group] if config not in self._tried)

    def _ask(self, group: Scalar | None, redraw: int, shown: Sequence[FrozenTrial]) -> Config:
        """Have the sampler draw a config of `group`; it learns from the trials that are shown."""
        assert self._study.space is not None
        asking = optuna.create_study(
            storage=ShownTrials(shown),
            sampler=self._make_sampler(redraw),
            direction=to_direction(self._study.objective),
        )
        if self._study.shares_by is not None:
            # Not PartialFixedSampler: TPE with `group` draws the fixed parameter anyway, and its draw wins.
            asking.enqueue_trial({self._study.shares_by: group})
        return self._study.space.config(partial(suggest_value, asking.ask()))

    def _make_sampler(self, redraw: int) -> optuna.samplers.BaseSampler:
        # Optuna does not store samplers. A sampler seeded by study and trial number draws the same config from the same
        # history, also after a restart.
        seed = derive_seed(self._study.seed, "sampler", len(self._record.trials), redraw)
        if self._study.search.proposer == "random" or redraw >= N_REDRAWS:
            return optuna.samplers.RandomSampler(seed=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # of group
            if self._study.search.proposer == "gp":
                return optuna.samplers.GPSampler(seed=seed)
            # group: draw the widths of layers that only deeper nets have jointly too, not independently.
            # constant_liar: keep away from running trials, so that parallel workers try different regions.
            return optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)

    def _start(self, trial: Trial) -> None:
        self._tried.add(trial.config)
        self._n_tried[self._study.group_of(trial.config)] += self._study.in_space(trial.config)
        if self._history is not None:
            self._history.start(trial)

    def _end(self, key: str, recorded: RecordedTrial) -> None:
        if self._history is not None and recorded.state is not None:
            self._history.end(key, recorded.state, recorded.value)


def suggest_value(asked: optuna.Trial, name: str, axis: Int | Float | Choice) -> Any:
    """Have a trial draw a value of an axis."""
    match to_distribution(axis):
        case IntDistribution() as d:
            return asked.suggest_int(name, d.low, d.high, step=d.step, log=d.log)
        case FloatDistribution() as d:
            return asked.suggest_float(name, d.low, d.high, step=d.step, log=d.log)
        case CategoricalDistribution() as d:
            return asked.suggest_categorical(name, d.choices)


def _shuffle_grids(study: Study) -> dict[Scalar | None, Iterator[Config]]:
    """Return the whole grid by group, in an order derived from the study's seed: a small budget covers it evenly."""
    assert study.space is not None
    grid = list(study.space.grid())
    order = np.random.default_rng(derive_seed(study.seed, "grid")).permutation(len(grid))
    groups: dict[Scalar | None, list[Config]] = {group: [] for group in study.subspaces()}
    for i in order:
        groups[study.group_of(grid[i])].append(grid[i])
    return {group: iter(configs) for group, configs in groups.items()}
