"""Optuna, and only here: the record of trials in its storage, and the sampler that proposes configs.

The record is a SQLite file. Sampling happens on a copy of the record in memory, because a draw from the file costs a
transaction for every parameter; a trial is written when it is claimed (one transaction) and when it is told.
"""

import itertools
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from sweep.config import Config, derived_seed, training_seed
from sweep.errors import ChangedStudyError, RecordError
from sweep.failpoint import failpoint
from sweep.space import Axis, Choice, Float, Int, count
from sweep.study import Objective, Study, cost, differences
from sweep.trial import Phase, State, Trial, TrialResult

logger = logging.getLogger(__name__)
optuna.logging.set_verbosity(optuna.logging.WARNING)

Part = Literal["search", "confirm"]
N_REDRAWS = 20  # of a config that was tried already, before the sampler is left for chance
_STATES: dict[TrialState, State | None] = {
    TrialState.RUNNING: None,
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}
_OPTUNA_STATES = {ours: theirs for theirs, ours in _STATES.items()}


@dataclass(frozen=True)
class RecordedTrial:
    """A trial as the record has it."""

    trial: Trial
    state: State | None  # None while it is claimed and not told
    value: float | None  # of the objective


class Record:
    """The trials of one part of a study in Optuna's storage, which decides what has happened.

    A trial is claimed (RUNNING, with its config) before it is trained and told after its result is durable. Claimed
    trials that were never told belong to a coordinator that is gone: `unfinished` gives them back.
    """

    def __init__(self, db: Path, study: Study, part: Part, data_sha256: str) -> None:
        name = study.name if part == "search" else f"{study.name}/confirm"
        self._objective: Objective = study.objective
        self._rungs = study.rungs()
        identity = {**study.canonical(), "data": {**study.canonical()["data"], "sha256": data_sha256}}
        self._db = db
        db.parent.mkdir(parents=True, exist_ok=True)
        with self._translated("open"):
            self._storage = optuna.storages.RDBStorage(
                f"sqlite:///{db}", engine_kwargs={"connect_args": {"timeout": 60}}
            )
            self._study = optuna.create_study(
                storage=self._storage,
                study_name=name,
                direction=_direction(study.objective),
                sampler=optuna.samplers.RandomSampler(seed=0),  # draws nothing here, see Suggester
                load_if_exists=True,
            )
            failpoint("record.created")
            self._check_identity(identity, study.name)
            failpoint("record.identified")
            frozen = self.frozen()
        self._study_id = self._storage.get_study_id_from_name(name)
        self.trials: dict[str, RecordedTrial] = {}
        self._rung_values: dict[int, dict[str, float]] = {}
        for trial in frozen:
            recorded = RecordedTrial(self._thawed(trial), _STATES[trial.state], trial.value)
            self.trials[recorded.trial.key] = recorded
            for rung, value in trial.intermediate_values.items():
                self._rung_values.setdefault(rung, {})[recorded.trial.key] = value

    def _check_identity(self, identity: dict[str, Any], name: str) -> None:
        stored = self._study.user_attrs.get("study")
        if stored is None:
            self._study.set_user_attr("study", identity)
        elif changes := differences(stored, identity):
            raise ChangedStudyError(
                f"study {name!r} has changed since its trials were recorded ({'; '.join(changes)}): "
                "its old and new results cannot stand in one table; give the study a new name, or undo the change"
            )

    def frozen(self) -> list[FrozenTrial]:
        """The trials as Optuna has them now, by number."""
        return self._study.get_trials(deepcopy=False)

    def claim(
        self,
        phase: Phase,
        config: Config,
        seed: int,
        *,
        name: str = "",
        replicate: int | None = None,
        params: dict[str, Any] | None = None,
        distributions: dict[str, BaseDistribution] | None = None,
    ) -> Trial:
        """Write a trial that is about to be trained, in one transaction."""
        trial = Trial(
            number=len(self.trials), phase=phase, config=config, seed=seed, name=name, replicate=replicate,
            rungs=self._rungs if phase == "search" else (),  # a baseline is confirmed anyway, and trained in full
        )  # fmt: skip
        # One attribute for all that stays: Optuna writes each with two statements of its own.
        lasting = {"config": config.to_dict(), "phase": phase, "seed": seed, "name": name, "replicate": replicate}
        claimed = optuna.trial.create_trial(
            state=TrialState.RUNNING,
            params=params or {},
            distributions=distributions or {},
            user_attrs={"trial": lasting, "attempt": trial.attempt},
        )
        with self._translated("write"):
            self._study.add_trial(claimed)
        failpoint("record.claimed")
        self.trials[trial.key] = RecordedTrial(trial, None, None)
        return trial

    def restart(self, trial: Trial) -> Trial:
        """The same trial as its next attempt, after the last one died."""
        again = replace(trial, attempt=trial.attempt + 1)
        with self._translated("write"):
            self._storage.set_trial_user_attr(self._id(trial), "attempt", again.attempt)
        failpoint("record.restarted")
        self.trials[trial.key] = RecordedTrial(again, None, None)
        return again

    def report(self, key: str, rung: int, value: float) -> None:
        """The objective of a trial when it reached a rung."""
        values = self._rung_values.setdefault(rung, {})
        if key not in values:  # a restarted trial reaches it again, with the same value
            with self._translated("write"):
                self._storage.set_trial_intermediate_value(self._id(self.trials[key].trial), rung, value)
        failpoint("record.rung")
        values[key] = value

    def rung_values(self, rung: int) -> list[float]:
        """The objective of every trial that has reached `rung`."""
        return list(self._rung_values.get(rung, {}).values())

    def tell(self, result: TrialResult) -> None:
        """Write how a trial ended: the point after which it is done. Its result must be durable already."""
        trial = self.trials[result.key].trial
        # Without validation rows nothing is selected; the record still wants a value, and takes the train metric.
        train_metric = self._objective.replace("val_", "train_")
        value = result.metrics.get(self._objective, result.metrics.get(train_metric))
        failpoint("record.tell")
        with self._translated("write"):
            if result.state == "failed":
                self._storage.set_trial_user_attr(self._id(trial), "reason", result.reason)
            told = self._study.tell(
                trial.number, value if result.state == "complete" else None, state=_OPTUNA_STATES[result.state]
            )
        failpoint("record.told")
        self.trials[result.key] = RecordedTrial(trial, result.state, told.value)

    def complete(self) -> list[tuple[Config, float]]:
        """Config and objective of every complete trial, by number."""
        done = (r for r in self.trials.values() if r.state == "complete")
        return [(r.trial.config, r.value) for r in done if r.value is not None]

    def unfinished(self) -> list[Trial]:
        """Trials that were claimed and never told, oldest first."""
        return [recorded.trial for recorded in self.trials.values() if recorded.state is None]

    @contextmanager
    def _translated(self, verb: str) -> Iterator[None]:
        try:
            yield
        except (optuna.exceptions.StorageInternalError, SQLAlchemyError) as error:
            first_line = str(error).splitlines()[0]
            raise RecordError(
                f"cannot {verb} the record of trials {self._db}: {first_line}; see that the disk has room and the file is "
                "readable and writable; if it is damaged, move it away"
            ) from error

    def _id(self, trial: Trial) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._study_id, trial.number)

    def _thawed(self, trial: FrozenTrial) -> Trial:
        lasting = dict(trial.user_attrs["trial"])
        return Trial(
            number=trial.number,
            config=Config.from_dict(lasting.pop("config")),
            rungs=self._rungs if lasting["phase"] == "search" else (),
            attempt=trial.user_attrs["attempt"],
            **lasting,
        )


def is_recorded(db: Path, study: str) -> bool:
    """Whether the record holds a study of that name. Creates nothing."""
    return db.exists() and study in optuna.study.get_all_study_names(f"sqlite:///{db}")


class Suggester:
    """Proposes configs that were not tried before, given the record, and claims them."""

    def __init__(self, study: Study, record: Record) -> None:
        self._study = study
        self._record = record
        self._storage = optuna.storages.InMemoryStorage()
        self._memory = optuna.create_study(
            storage=self._storage, study_name=study.name, direction=_direction(study.objective)
        )
        self._numbers: dict[str, int] = {}  # trial key -> its number in memory, where redraws count too
        self._tried: set[str] = set()  # config keys
        self._n_tried_in_space = 0
        self._grid = _shuffled_grid(study) if study.search.sampler == "grid" else None
        for frozen, recorded in zip(record.frozen(), record.trials.values(), strict=True):
            self._remember(recorded.trial, self._add(frozen))

    def baseline(self, config: Config, name: str) -> Trial:
        """Claim a config given by hand. Where it lies in the space, the sampler learns from it."""
        params, distributions = {}, {}
        if self._study.space is not None and self._study.in_space(config):
            varying = {n: (a, v) for n, (a, v) in self._study.space.axes_of(config).items() if count(a) > 1}
            params = {n: value for n, (_, value) in varying.items()}
            distributions = {n: _distribution(axis) for n, (axis, _) in varying.items()}
        trial = self._record.claim(
            "baseline", config, self._seed(config), name=name, params=params, distributions=distributions
        )
        running = optuna.trial.create_trial(state=TrialState.RUNNING, params=params, distributions=distributions)
        self._remember(trial, self._add(running))
        return trial

    def suggest(self) -> Trial | None:
        """Claim a new config of the space; None when every config of it was tried."""
        assert self._study.space is not None
        if self._n_tried_in_space >= self._study.space.n_configs():
            return None
        for redraw in itertools.count():
            asked, config = self._ask(redraw)
            if config.key not in self._tried:
                break
            self._memory.tell(asked, state=TrialState.FAIL)  # tried already: the sampler passes over it
        frozen = self._memory.get_trials(deepcopy=False)[asked.number]
        trial = self._record.claim(
            "search", config, self._seed(config), params=frozen.params, distributions=frozen.distributions
        )
        self._remember(trial, asked.number)
        return trial

    def report(self, key: str, rung: int, value: float) -> None:
        """Let the sampler see a value at a rung: it ranks pruned trials by how far they came."""
        study_id = self._storage.get_study_id_from_name(self._study.name)
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(study_id, self._numbers[key])
        self._storage.set_trial_intermediate_value(trial_id, rung, value)

    def tell(self, result: TrialResult) -> None:
        """Let the sampler learn from a result that the record has."""
        value = self._record.trials[result.key].value if result.state == "complete" else None
        self._memory.tell(self._numbers[result.key], value, state=_OPTUNA_STATES[result.state])

    def _ask(self, redraw: int) -> tuple[optuna.Trial, Config]:
        """One draw, and the trial in memory that stands for it."""
        assert self._study.space is not None
        if self._grid is not None:
            return self._memory.ask(), next(c for c in self._grid if c.key not in self._tried)
        self._memory.sampler = self._sampler(redraw)
        asked = self._memory.ask()
        return asked, self._study.space.config(partial(_suggest, asked))

    def _sampler(self, redraw: int) -> optuna.samplers.BaseSampler:
        # Optuna stores no sampler. One seeded by study and trial number draws the same for the same history, after a
        # restart too.
        seed = derived_seed(self._study.seed, "sampler", len(self._record.trials), redraw)
        if self._study.search.sampler == "random" or redraw >= N_REDRAWS:
            return optuna.samplers.RandomSampler(seed=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # of group
            if self._study.search.sampler == "gp":
                return optuna.samplers.GPSampler(seed=seed)
            # group: widths of layers that only deeper nets have are drawn jointly too (without it, independently).
            # constant_liar: running trials repel, so that side by side workers spread.
            return optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)

    def _add(self, frozen: FrozenTrial) -> int:
        self._memory.add_trial(frozen)
        return len(self._memory.get_trials(deepcopy=False)) - 1

    def _remember(self, trial: Trial, number: int) -> None:
        self._numbers[trial.key] = number
        self._tried.add(trial.config.key)
        self._n_tried_in_space += self._study.in_space(trial.config)

    def _seed(self, config: Config) -> int:
        return training_seed(self._study.seed, config, 0)


def _suggest(asked: optuna.Trial, name: str, axis: Int | Float | Choice) -> Any:
    match _distribution(axis):
        case IntDistribution() as d:
            return asked.suggest_int(name, d.low, d.high, step=d.step, log=d.log)
        case FloatDistribution() as d:
            return asked.suggest_float(name, d.low, d.high, step=d.step, log=d.log)
        case CategoricalDistribution() as d:
            return asked.suggest_categorical(name, d.choices)


def _direction(objective: Objective) -> Literal["maximize", "minimize"]:
    return "maximize" if cost(objective, 1.0) < 0 else "minimize"


def _distribution(axis: Axis) -> BaseDistribution:
    match axis:
        case Int(low, _, step, log):
            return IntDistribution(low, low + (int(count(axis)) - 1) * step, step=step, log=log)
        case Float(low, high, None, log):
            return FloatDistribution(low, high, log=log)
        case Float(low, _, float(step)):
            return FloatDistribution(low, low + (int(count(axis)) - 1) * step, step=step)
        case Choice(options):
            return CategoricalDistribution(options)
        case _:
            raise TypeError(f"{axis!r} does not vary")


def _shuffled_grid(study: Study) -> list[Config]:
    """The whole grid, in an order that follows from the seed: a budget short of it covers it evenly."""
    assert study.space is not None
    grid = list(study.space.grid())
    order = np.random.default_rng(derived_seed(study.seed, "grid")).permutation(len(grid))
    return [grid[i] for i in order]
