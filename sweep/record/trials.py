"""The record of trials in Optuna's storage: what was claimed, and how it ended."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import TrialState

from sweep.data.facts import DataFacts
from sweep.durable.failpoint import failpoint
from sweep.record.hold import ALONE, Hold
from sweep.record.optuna_terms import OPTUNA_STATES, STATES, to_direction
from sweep.record.rows import Storage, StoredTrial, read_trials
from sweep.record.rungs import Rungs
from sweep.record.storage import (
    Where,
    check_identity,
    hold_creation,
    identify,
    is_recorded,
    list_names,
    open_for_reader,
    open_storage,
    translate_errors,
)
from sweep.study.config import Config
from sweep.study.objective import IN_UNIT_OF_LABEL, Objective, ranking_metric
from sweep.study.schema import Study
from sweep.trial import Phase, State, Trial, TrialResult


@dataclass(frozen=True)
class Course:
    """What a search learns from a trial that has ended, beside its state. Times are UTC seconds since 1970."""

    n_epochs: int
    curve: tuple[float, ...]  # the objective after each epoch; empty without validation rows
    started_at: float
    ended_at: float

    @classmethod
    def of(cls, result: TrialResult, objective: Objective) -> "Course":
        curve = tuple(logs[objective] for logs in result.history if objective in logs)
        return cls(len(result.history), curve, result.started_at, result.ended_at)


@dataclass(frozen=True)
class RecordedTrial:
    """A trial with the state and the value that the record has."""

    trial: Trial
    state: State | None  # None while the trial is claimed and not told
    value: float | None  # what it is ranked by; of a pruned trial, the objective at its last rung
    course: Course | None = None  # of an ended trial; None where an earlier version told it


class Record:
    """The trials of one part of a study, its search or its confirmation, in Optuna's storage.

    This record decides what has happened. A trial is claimed (RUNNING, with its config) before it is trained, and told
    after its result is durable. A trial that was claimed and never told was left by a coordinator that is gone:
    `list_unfinished` returns it.
    """

    def __init__(
        self,
        where: Where,
        storage: Storage,
        study_id: int,
        study: Study,
        identity: dict[str, Any],
        trials: Iterable[StoredTrial],
        hold: Hold,
        unit: float = 1.0,
    ) -> None:
        """Hold what `open` opened. study_id: the storage's own; trials: those that it has already, by number.

        unit: of the objective: of an error in the unit of the label, the labels' standard deviation; else 1.
        """
        self.hold, self.unit = hold, unit
        self._where = where
        self._storage = storage
        self._study_id = study_id
        self.objective: Objective = study.objective
        self._rungs = study.rungs()
        self._keeps_searched_models = study.search.keep_models
        self.identity = identity
        self.trials: dict[str, RecordedTrial] = {}
        self._ids: dict[str, int] = {}  # key -> Optuna's id
        self.rungs = Rungs(study.objective)
        self._earlier_courses: dict[str, Course] = {}
        for trial in trials:
            recorded = _to_recorded(trial, self._rungs, self._keeps_searched_models)
            self.trials[recorded.trial.key] = recorded
            self._ids[recorded.trial.key] = trial.id
            for rung, value in trial.intermediate_values.items():
                self.rungs.add(rung, recorded.trial.key, value)

    @classmethod
    def open(
        cls,
        where: Where,
        study: Study,
        part: Literal[Phase.SEARCH, Phase.CONFIRM],
        facts: DataFacts,
        hold: Hold = ALONE,
    ) -> "Record":
        """Open one part of `study` in the record at `where`, and read its trials. Create either where it is missing.

        hold: of the study, without which nothing is written.
        Raises ChangedStudyError if the study is not the one that was recorded, RecordError if it cannot be opened.
        """
        identity = identify(study, facts)
        with translate_errors(where, "open"), hold_creation(where):
            storage = open_storage(where, hold)
            stored = optuna.create_study(
                storage=storage,
                study_name=list_names(study.name)[part == Phase.CONFIRM],
                direction=to_direction(study.objective),
                sampler=optuna.samplers.RandomSampler(seed=0),  # draws nothing: `search/sampler.py` does
                load_if_exists=True,
            )
            failpoint("record.created")
            check_identity(stored, study.name, identity)
            failpoint("record.identified")
            study_id = storage.get_study_id_from_name(stored.study_name)
            unit = facts.target.spread if facts.target and study.objective.endswith(IN_UNIT_OF_LABEL) else 1.0
            return cls(where, storage, study_id, study, identity, read_trials(storage, study_id), hold, unit)

    @contextmanager
    def write_together(self) -> Iterator[None]:
        """Make what is written within durable at its end, in one transaction: all of it, or, where it raises, nothing.

        Until then nobody may act on it: no trial that was claimed may start, none that was told may be tracked. What is
        written outside is durable at once.
        """
        with translate_errors(self._where, "write"), self._storage.one_transaction():
            yield
            failpoint("record.together")
        failpoint("record.committed")

    def claim(
        self,
        phase: Phase,
        config: Config,
        seed: int,
        *,
        name: str = "",
        replicate: int | None = None,
        promoted_from: int | None = None,
        params: dict[str, Any] | None = None,
        distributions: dict[str, BaseDistribution] | None = None,
    ) -> Trial:
        """Write a trial that is about to be trained, in one transaction. Return it."""
        trial = Trial(
            number=len(self.trials), phase=phase, config=config, seed=seed, name=name, replicate=replicate,
            promoted_from=promoted_from, rungs=_rungs_of(phase, promoted_from, self._rungs),
            keeps_model=phase != Phase.SEARCH or self._keeps_searched_models,
        )  # fmt: skip
        # One attribute for everything that stays, and none for a first attempt: Optuna writes each with two statements.
        lasting = {"config": config.to_dict(), "phase": phase, "seed": seed, "name": name, "replicate": replicate}
        if promoted_from is not None:
            lasting["promoted_from"] = promoted_from
        claimed = optuna.trial.create_trial(
            state=TrialState.RUNNING,
            params=params or {},
            distributions=distributions or {},
            user_attrs={"trial": lasting},
        )
        with translate_errors(self._where, "write"):
            self._ids[trial.key] = self._storage.add_trial(self._study_id, trial.number, claimed)
        failpoint("record.claimed")
        self.trials[trial.key] = RecordedTrial(trial, None, None)
        return trial

    def restart(self, trial: Trial) -> Trial:
        """Write that a trial starts again after its last attempt died. Return it as its next attempt."""
        again = replace(trial, attempt=trial.attempt + 1)
        with translate_errors(self._where, "write"):
            self._storage.put_attribute(self._ids[trial.key], "attempt", again.attempt)
        failpoint("record.restarted")
        self.trials[trial.key] = RecordedTrial(again, None, None)
        return again

    def report(self, key: str, rung: int, value: float) -> None:
        """Write the objective of a trial that has reached a rung. A value that is written already is kept."""
        if key not in self.rungs.values_at(rung):  # a restarted trial reaches the rung again
            with translate_errors(self._where, "write"):
                self._storage.add_point(self._ids[key], rung, value)
            self.rungs.add(rung, key, value)
        failpoint("record.rung")

    def tell(self, result: TrialResult) -> None:
        """Write how a trial ended, which makes it done. Its result must be durable already."""
        trial, value = self.trials[result.key].trial, self._value_of(result)
        course = Course.of(result, self.objective)
        attributes: dict[str, Any] = {"course": asdict(course)}
        if result.state == State.FAILED:
            attributes["reason"] = result.reason
        failpoint("record.tell")
        with translate_errors(self._where, "write"):
            self._storage.end_trial(self._ids[trial.key], OPTUNA_STATES[result.state], value, attributes)
        failpoint("record.told")
        self.trials[result.key] = RecordedTrial(trial, result.state, value, course)

    def course_of(self, key: str) -> Course | None:
        """Return the course of an ended trial; None of one that has not ended, or that an earlier version told."""
        return self.trials[key].course or self._earlier_courses.get(key)

    def add_earlier_course(self, key: str, result: TrialResult) -> None:
        """Remember the course of a trial that an earlier version told, from its result."""
        self._earlier_courses[key] = Course.of(result, self.objective)

    def _value_of(self, result: TrialResult) -> float | None:
        """Return the value to record: for a pruned trial the objective at its last rung, which samplers read."""
        if result.state == State.COMPLETE:
            value = self.objective_of(result)
            assert value is not None, result.key
            return value
        return self.rungs.last_value(result.key) if result.state == State.PRUNED else None

    def objective_of(self, result: TrialResult) -> float | None:
        """Return what a complete result is ranked by, or None if its metrics lack it."""
        # Without validation rows there is no selection. Optuna still requires a value, so take the train metric.
        train_metric = self.objective.replace("val_", "train_")
        metric = ranking_metric(self.objective, [result.metrics])
        return result.metrics.get(metric, result.metrics.get(train_metric))

    def list_unfinished(self) -> list[Trial]:
        """Return the trials that were claimed and never told, oldest first."""
        return [recorded.trial for recorded in self.trials.values() if recorded.state is None]


def read_stored_search(where: Where, study: str) -> tuple[dict[str, Any], list[RecordedTrial]]:
    """Read the stored identity and trials of a study's search, whatever its file says now. Raises RecordError."""
    with translate_errors(where, "read"):
        storage = open_storage(where)
        study_id = storage.get_study_id_from_name(study)
        identity = storage.get_study_user_attrs(study_id)["study"]
        return identity, [_to_recorded(trial) for trial in read_trials(storage, study_id)]


def read_stored(where: Where, study: str) -> tuple[dict[str, Any], list[RecordedTrial]]:
    """Read the stored identity and trials of a study, replicates last; both empty of one that is not recorded.

    Writes nothing, so it may be called while another process trains the study. Raises RecordError.
    """
    if not is_recorded(where, study):
        return {}, []
    with translate_errors(where, "read"):
        storage = open_for_reader(where)
        names = {stored.study_name: stored._study_id for stored in storage.get_all_studies()}
        ids = [names[name] for name in list_names(study) if name in names]
        # A coordinator that has just created the study writes its identity next.
        identity = storage.get_study_user_attrs(ids[0]).get("study", {}) if ids else {}
        return identity, [_to_recorded(trial) for id_ in ids for trial in read_trials(storage, id_)]


def _rungs_of(phase: Phase, promoted_from: int | None, rungs: tuple[int, ...]) -> tuple[int, ...]:
    """Return the rungs of a trial. A baseline is confirmed anyway, and a promoted trial was compared: both train in full."""
    return rungs if phase == Phase.SEARCH and promoted_from is None else ()


def _to_recorded(stored: StoredTrial, rungs: tuple[int, ...] = (), keeps_searched: bool = True) -> RecordedTrial:
    lasting = dict(stored.user_attrs["trial"])
    phase = Phase(lasting.pop("phase"))
    trial = Trial(
        number=stored.number,
        config=Config.from_dict(lasting.pop("config")),
        phase=phase,
        rungs=_rungs_of(phase, lasting.get("promoted_from"), rungs),
        keeps_model=phase != Phase.SEARCH or keeps_searched,
        attempt=stored.user_attrs.get("attempt", 1),
        **lasting,
    )
    state, course = STATES[stored.state], stored.user_attrs.get("course")
    told = None if course is None or state is None else Course(**{**course, "curve": tuple(course["curve"])})
    return RecordedTrial(trial, state, stored.value, told)
