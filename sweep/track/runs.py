"""A study as MLflow has it, read back: its trials, facts and predictions, and the way to its files."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sweep.data.facts import DataFacts
from sweep.durable.given import MAX_RECORD_BYTES, read_given
from sweep.errors import DamagedResultError, MissingRunsError
from sweep.layout import RunsDir
from sweep.record.predictions import AnyPredictions, Predictions, Values
from sweep.record.results import refuse_deleted
from sweep.study.file import parse_study
from sweep.study.schema import Study
from sweep.track.client import find_experiment, open_client
from sweep.track.errors import translate_errors
from sweep.track.fields import TrackedTrial, from_run
from sweep.track.listing import list_runs
from sweep.track.mlflow_api import MlflowException, Run
from sweep.track.names import FACTS_FILE, PARENT, RUNNING, STUDY_FILE
from sweep.track.run_files import RunFiles
from sweep.trial import Phase

T = TypeVar("T")


@dataclass(frozen=True)
class TrackedStudy:
    """A study as MLflow has it."""

    runs: RunsDir  # where it was read from
    study: Study
    table: dict[str, Any]  # that the study was parsed from
    facts: DataFacts
    trials: tuple[TrackedTrial, ...]  # searched ones by number, then replicates by number
    predictions: Mapping[str, AnyPredictions]  # of every scored replicate, by run id
    experiment_id: str
    parent_run_id: str
    parent_status: str
    half_written: tuple[str, ...]  # ids of runs that were cut off while they were written; not among `trials`

    @property
    def searched(self) -> list[TrackedTrial]:
        """Baselines and searched trials."""
        return [tracked for tracked in self.trials if tracked.trial.phase != Phase.CONFIRM]

    @property
    def replicates(self) -> list[TrackedTrial]:
        """Replicates of finalists."""
        return [tracked for tracked in self.trials if tracked.trial.phase == Phase.CONFIRM]

    @property
    def classified(self) -> dict[str, Predictions]:
        """The predictions of a study of classification, by run id; none of a regression."""
        return {run: one for run, one in self.predictions.items() if isinstance(one, Predictions)}

    @property
    def valued(self) -> dict[str, Values]:
        """The predictions of a regression, by run id; none of a study of classification."""
        return {run: one for run, one in self.predictions.items() if isinstance(one, Values)}

    @property
    def files(self) -> RunFiles:
        """The files that the runs logged."""
        return RunFiles(self.runs, self.study.name)

    def trial(self, run_id: str) -> TrackedTrial:
        """Return the trial of a run. Raises MissingRunsError where the run is of none."""
        for tracked in self.trials:
            if tracked.run_id == run_id:
                return tracked
        raise MissingRunsError(f"run {run_id}: not a trial of study {self.study.name!r} that has ended")


def read_study(runs: RunsDir, name: str) -> TrackedStudy:
    """Read all runs of the study called `name`.

    Raises MissingRunsError where there are none or they are half deleted, DamagedResultError for one that is not what was written, TrackingError.
    """
    refuse_deleted(runs, name)
    found = _list_runs(runs, name)
    parents = [run for run in found if run.data.tags.get("phase") == PARENT]
    if found and not parents:
        raise MissingRunsError(f"{runs.mlflow_name}: the parent run of study {name!r} is gone; `sync` writes it anew")
    if not parents:
        raise MissingRunsError(f"{runs.mlflow_name}: holds no runs of study {name!r}; run it first: make sweep")
    parent = str(parents[0].info.run_id)
    files = RunFiles(runs, name)
    table = _read_json(files.artifact(parent, STUDY_FILE), dict)
    facts = _read_json(files.artifact(parent, FACTS_FILE), DataFacts.from_dict)
    of_trials = [run for run in found if run.data.tags.get("phase") in list(Phase)]
    # A run of a trial is written in one go after it has ended: a RUNNING one is half there.
    trials = [from_run(run) for run in of_trials if run.info.status != RUNNING]
    trials.sort(key=lambda tracked: (tracked.trial.phase == Phase.CONFIRM, tracked.trial.number))
    scored = [one.run_id for one in trials if not one.metrics.keys().isdisjoint(("test_accuracy", "test_rmse"))]
    return TrackedStudy(
        runs=runs,
        study=parse_study(table, f"run {parent}", facts.task),
        table=table,
        facts=facts,
        trials=tuple(trials),
        predictions={run_id: files.predictions(run_id, facts) for run_id in scored},
        experiment_id=str(parents[0].info.experiment_id),
        parent_run_id=parent,
        parent_status=str(parents[0].info.status),
        half_written=tuple(str(run.info.run_id) for run in of_trials if run.info.status == RUNNING),
    )


def find_study_of(runs: RunsDir, run_id: str) -> str:
    """Return the name of the study that a run belongs to. Raises MissingRunsError where it is of no study of ours."""
    client = open_client(runs)
    with translate_errors(runs):
        try:
            tags = client.get_run(run_id).data.tags
        except MlflowException as error:
            raise MissingRunsError(
                f"{runs.mlflow_name}: holds no run {run_id!r}; copy its id from the UI or the report"
            ) from error
    if "study" not in tags:
        raise MissingRunsError(f"run {run_id} is of no study of this program")
    return str(tags["study"])


def _list_runs(runs: RunsDir, name: str) -> list[Run]:
    if runs.mlflow_server is None and not runs.mlflow_db.exists():
        raise MissingRunsError(f"{runs.mlflow_db}: no such file; run the study first: make sweep")
    client = open_client(runs)
    with translate_errors(runs):
        experiment = find_experiment(client, runs, name)
        return [] if experiment is None else list_runs(client, experiment.experiment_id)


def _read_json(path: Path, make: Callable[[dict[str, Any]], T]) -> T:
    try:
        return make(json.loads(read_given(path, MAX_RECORD_BYTES)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedResultError(f"{path}: cannot be read ({error}); `sync` writes it anew") from error
