"""Propose configs with Optuna's samplers, and claim them in the record.

A sampler draws from a copy of the record in memory: a draw from the database costs a transaction for every parameter.
"""

import warnings
from collections import Counter
from functools import partial
from typing import Any

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from sweep.record.optuna_terms import OPTUNA_STATES, to_direction, to_distribution, to_params
from sweep.record.trials import Record
from sweep.search import faster_tpe
from sweep.search.budget import UNBOUNDED, Left
from sweep.study.config import Config, derive_seed, derive_training_seed
from sweep.study.schema import Study
from sweep.study.space import Choice, Float, Int, Scalar
from sweep.trial import Phase, State, Trial, TrialResult

N_REDRAWS = 20  # draws of configs that were tried already; after that many, the random sampler draws
MAX_REDRAWS = 500  # then the first untried config of the space is taken: chance finds the last ones of many too rarely


class Suggester:
    """Proposes configs that the record does not have yet, and claims them as trials."""

    def __init__(self, study: Study, record: Record) -> None:
        faster_tpe.install()
        self._study = study
        self._record = record
        self._storage = optuna.storages.InMemoryStorage()
        self._memory = optuna.create_study(
            storage=self._storage, study_name=study.name, direction=to_direction(study.objective)
        )
        self._numbers: dict[str, int] = {}  # trial key -> its number in memory; not the record's, as redraws count here
        self._tried: set[str] = set()  # config keys
        self._spaces = study.subspaces() if study.space is not None else {}
        self._n_tried: Counter[Scalar | None] = Counter()  # group -> number of its configs that were tried
        self._grid = _shuffle_grid(study) if study.search.proposer == "grid" else None
        for frozen, recorded in zip(record.read_frozen(), record.trials.values(), strict=True):
            self._remember(recorded.trial, self._add(frozen))

    def claim(self, config: Config, phase: Phase, name: str = "") -> Trial:
        """Claim a given config. The sampler learns from it if it lies in the space."""
        params, distributions = to_params(self._study, config)
        seed = derive_training_seed(self._study.seed, config, 0)
        trial = self._record.claim(phase, config, seed, name=name, params=params, distributions=distributions)
        running = optuna.trial.create_trial(state=TrialState.RUNNING, params=params, distributions=distributions)
        self._remember(trial, self._add(running))
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
        for redraw in range(MAX_REDRAWS):
            asked, config = self._ask(group, redraw)
            if config.key not in self._tried:
                return self._claim_drawn(config, asked)
            self._memory.tell(asked, state=TrialState.FAIL)  # tried already; samplers ignore failed trials
        untried = (config for config in self._spaces[group].grid() if config.key not in self._tried)
        return self.claim(next(untried), Phase.SEARCH)

    def report(self, key: str, rung: int, value: float) -> None:
        """Show the sampler the value of a trial at a rung. TPE ranks pruned trials by the last rung they reached."""
        study_id = self._storage.get_study_id_from_name(self._study.name)
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(study_id, self._numbers[key])
        self._storage.set_trial_intermediate_value(trial_id, rung, value)

    def tell(self, result: TrialResult) -> None:
        """Let the sampler learn from a result that the record has already."""
        value = self._record.trials[result.key].value if result.state == State.COMPLETE else None
        self._memory.tell(self._numbers[result.key], value, state=OPTUNA_STATES[result.state])

    def _claim_drawn(self, config: Config, asked: optuna.Trial) -> Trial:
        """Claim a config that the sampler drew. It learns from what is trained, where that is not just what it drew."""
        params, distributions = to_params(self._study, config)
        if params != asked.params:
            self._memory.tell(asked, state=TrialState.FAIL)
            return self.claim(config, Phase.SEARCH)
        seed = derive_training_seed(self._study.seed, config, 0)
        trial = self._record.claim(Phase.SEARCH, config, seed, params=params, distributions=distributions)
        self._remember(trial, asked.number)
        return trial

    def _ask(self, group: Scalar | None, redraw: int) -> tuple[optuna.Trial, Config]:
        """Draw a config from `group`. Return it with the trial in memory that stands for it."""
        assert self._study.space is not None
        if self._grid is not None:
            untried = (config for config in self._grid if config.key not in self._tried)
            return self._memory.ask(), next(config for config in untried if self._study.group_of(config) == group)
        self._memory.sampler = self._make_sampler(redraw)
        if self._study.shares_by is not None:
            # Not PartialFixedSampler: TPE with `group` draws the fixed parameter anyway, and its draw wins.
            self._memory.enqueue_trial({self._study.shares_by: group})
        asked = self._memory.ask()
        return asked, self._study.space.config(partial(suggest_value, asked))

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

    def _add(self, frozen: FrozenTrial) -> int:
        """Add a trial to the copy in memory. Return its number there."""
        self._memory.add_trial(frozen)
        return len(self._memory.get_trials(deepcopy=False)) - 1

    def _remember(self, trial: Trial, number: int) -> None:
        self._numbers[trial.key] = number
        self._tried.add(trial.config.key)
        self._n_tried[self._study.group_of(trial.config)] += self._study.in_space(trial.config)


def suggest_value(asked: optuna.Trial, name: str, axis: Int | Float | Choice) -> Any:
    """Have a trial draw a value of an axis."""
    match to_distribution(axis):
        case IntDistribution() as d:
            return asked.suggest_int(name, d.low, d.high, step=d.step, log=d.log)
        case FloatDistribution() as d:
            return asked.suggest_float(name, d.low, d.high, step=d.step, log=d.log)
        case CategoricalDistribution() as d:
            return asked.suggest_categorical(name, d.choices)


def _shuffle_grid(study: Study) -> list[Config]:
    """Return the whole grid in an order derived from the study's seed, so that a small budget covers it evenly."""
    assert study.space is not None
    grid = list(study.space.grid())
    order = np.random.default_rng(derive_seed(study.seed, "grid")).permutation(len(grid))
    return [grid[i] for i in order]
