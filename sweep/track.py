"""MLflow writes, and only here: a projection of the record for people and for the report.

Every run has a `key` tag, unique within its study, and every timestamp comes from the result, so that projecting a trial
again changes nothing. `tracker.py` calls this from a thread of its own: training waits for none of it.
"""

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelOutput, Metric, Param, Run

from sweep import results
from sweep.data import DataFacts
from sweep.describe import REPORT_FOLDER, experiment_text, study_text
from sweep.errors import DamagedResultError, TrackingError
from sweep.failpoint import failpoint
from sweep.layout import RunsDir
from sweep.logged_models import log_model
from sweep.mlflow_store import (
    FACTS_FILE,
    NOTE,
    STUDY_FILE,
    all_runs,
    follow_move,
    open_client,
    sent_once,
    translated,
)
from sweep.run_writer import ClientRuns, NewRun, TableRuns
from sweep.study import Study, cost
from sweep.tracker import Load
from sweep.trial import Logs, Score, Trial, TrialResult
from sweep.views import view_tags

logger = logging.getLogger(__name__)

PARENT_KEY = "study"
_STATUS = {"complete": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}  # the `state` tag says it in our words
N_BEST = 10  # searched trials of cohorts whose models are logged as such


@dataclass(frozen=True)
class Tracked:
    """What is projected of one study, beside its trials."""

    study: Study
    table: dict[str, Any]  # the study file as typed
    facts: DataFacts
    provenance: dict[str, str]


class Projection:
    """Writes runs, one call a trial. Not thread-safe: one thread uses it."""

    def __init__(self, runs: RunsDir, tracked: Tracked) -> None:
        self._runs = runs
        self._tracked = tracked
        self._client = open_client(runs)
        if runs.mlflow_server is None:
            follow_move(runs)
        with translated(runs):
            self._experiment = self._find_or_create_experiment()
            failpoint("track.experiment")
            found = self._found()
            # A run of a trial that is still RUNNING was cut off while it was written: it is written again, over itself.
            self._cut_off = {key: run for key, run in found.items() if run.info.status == "RUNNING"}
            self._finished = {key: run for key, run in found.items() if key not in self._cut_off}
            self._written: set[str] = set()  # keys of runs that were finished since
            self._has_archives = any(map(_is_archived_run, found.values()))
            self._parent, self._parent_status = self._open_parent(found.get(PARENT_KEY))
            self._writer = (
                ClientRuns(self._client, self._experiment)
                if runs.mlflow_server
                else TableRuns(self._client, self._experiment, runs.mlflow_uri)
            )

    def write(self, trial: Trial, load: Load) -> None:
        """The run of a trial that ended, whole; nothing where it is there already. `load` is called only if it is not."""
        if trial.key in self._finished:
            self._check_is_of(trial, self._finished[trial.key])
            return
        if trial.key in self._written:
            return
        result, score = load()
        with translated(self._runs):
            self._set_parent("RUNNING")
            self._write(trial, result, score)

    def close(self, status: str) -> None:
        """End the parent run as FINISHED, KILLED (interrupted) or FAILED."""
        with translated(self._runs):
            if status == "FINISHED" and self._has_archives:
                self._log_best_models()
            self._set_parent(status)

    def _set_parent(self, status: str) -> None:
        if status != self._parent_status:
            if status == "RUNNING":
                self._client.update_run(self._parent, status=status)
            else:
                self._client.set_terminated(self._parent, status)
            self._parent_status = status

    def _found(self) -> dict[str, Run]:
        """The runs that are there, by key: one each. A server that was slow may have made one twice, and left one open."""
        found: dict[str, Run] = {}
        runs = [run for run in all_runs(self._client, self._experiment) if "key" in run.data.tags]
        for run in sorted(runs, key=lambda run: (run.info.status == "RUNNING", run.info.start_time)):
            if found.setdefault(run.data.tags["key"], run) is not run:
                self._client.delete_run(run.info.run_id)
        return found

    def _check_is_of(self, trial: Trial, run: Run) -> None:
        if run.data.tags.get("config") != trial.config.key:
            raise TrackingError(
                f"MLflow at {self._runs.mlflow_name}: run {run.info.run_id} has the key {trial.key}, and another config: it is "
                "of a record that is gone; delete the runs of that study there, and `sync` writes them anew"
            )

    def _write(self, trial: Trial, result: TrialResult, score: Score | None) -> None:
        folder = self._runs.results(self._tracked.study.name) / trial.key
        files = {**result.files, **(score.files if score else {})}
        is_archived = _is_archived(trial.phase, result.provenance)
        has_logged_model = results.MODEL in files and not is_archived
        finals = _finals(result, score)
        new = self._new_run(trial, result, {} if has_logged_model else finals, is_scored=score is not None)
        cut_off = self._cut_off.get(trial.key)
        if cut_off is None:
            run_id = self._writer.create(new)
        else:
            run_id = cut_off.info.run_id
            self._writer.fill(run_id, new)
        failpoint("track.created")
        names = [*results.TRACKED, *([results.MODEL] if is_archived else [])]
        self._writer.add_files(run_id, {name: folder / name for name in names if name in files})
        failpoint("track.artifacts")
        if has_logged_model:
            self._log_model(run_id, trial.config.units_label, result, finals, has_outputs=_has_outputs(cut_off))
        failpoint("track.outputs")
        self._writer.close(run_id, _STATUS[result.state], _ms(result.ended_at))
        failpoint("track.closed")
        self._written.add(trial.key)
        self._has_archives |= is_archived

    def _new_run(self, trial: Trial, result: TrialResult, finals: Logs, is_scored: bool) -> NewRun:
        counts = {
            "best_epoch": result.best_epoch,
            "epochs": len(result.history),
            "train_seconds": result.train_seconds,
            "params_count": result.params_count,
        }
        at = _ms(result.ended_at)
        ends = {**finals, **counts}.items()
        metrics = [Metric(name, value, at, result.best_epoch) for name, value in ends if math.isfinite(value)]
        return NewRun(
            name=trial.label,
            started_at=_ms(result.started_at),
            tags=self._tags(trial, result),
            params=self._params(trial),
            metrics=metrics + _curves(result),
            inputs=self._inputs(is_scored),
        )

    def _log_model(self, run_id: str, units: str, result: TrialResult, finals: Logs, has_outputs: bool) -> None:
        """Log the model of a run, with the final metrics as those of both."""
        saved = self._runs.results(self._tracked.study.name) / result.key / results.MODEL
        model_id = log_model(self._client, self._experiment, run_id, f"mlp-{units}", saved, self._tracked.facts)
        self._client.log_batch(run_id, _of_model(result, finals, run_id, model_id))
        if not has_outputs:  # MLflow refuses the same ones twice
            self._client.log_outputs(run_id, [LoggedModelOutput(model_id, result.best_epoch)])

    def _log_best_models(self) -> None:
        """Log the models of the best searched trials of cohorts, whose other models are files of their runs."""
        objective = self._tracked.study.objective
        best = self._client.search_runs(
            [self._experiment],
            "tags.phase = 'search' AND tags.engine = 'cohort' AND tags.state = 'complete'",  # see _is_archived
            order_by=[f"metrics.{objective} {'ASC' if cost(objective, 1.0) > 0 else 'DESC'}"],
            max_results=N_BEST,
        )
        for run in best:
            if _has_outputs(run) or objective not in run.data.metrics:
                continue
            folder = self._runs.results(self._tracked.study.name) / run.data.tags["key"]
            try:
                result = results.load(folder)
            except DamagedResultError as error:  # its run is whole, and no model less good takes its place
                logger.warning("not among the logged models: %s", error)
                continue
            self._log_model(run.info.run_id, run.data.params["units"], result, _finals(result, None), has_outputs=False)

    def _tags(self, trial: Trial, result: TrialResult) -> dict[str, str]:
        tags = {
            "key": trial.key,
            "mlflow.parentRunId": self._parent,
            "study": self._tracked.study.name,
            "phase": trial.phase,
            "state": result.state,
            "reason": result.reason,
            "trial": str(trial.number),
            "attempt": str(trial.attempt),
            "seed": str(trial.seed),
            "config": trial.config.key,
            "data_sha256": self._tracked.facts.sha256,
            "name": trial.name,
            "replicate": "" if trial.replicate is None else str(trial.replicate),
            # A result that no worker wrote has none: its worker died too often.
            **(result.provenance or self._tracked.provenance),
        }
        return {name: value for name, value in tags.items() if value != ""}

    def _params(self, trial: Trial) -> dict[str, str]:
        training = self._tracked.study.training
        stopping = {} if training.early_stopping is None else training.early_stopping.model_dump()
        params = {**trial.config.params(), "optimizer": "adam", "precision": training.precision}
        params |= {"max_epochs": training.max_epochs, **stopping}
        return {name: str(value) for name, value in params.items()}

    def _inputs(self, is_scored: bool) -> list[DatasetInput]:
        """The rows a run saw, by part; the digest is our own SHA-256, for MLflow's covers the first rows only."""
        facts = self._tracked.facts
        parts = {"training": facts.n_train, "validation": facts.n_validation, "test": facts.n_test if is_scored else 0}
        schema = {"n_features": facts.n_features, "n_classes": facts.n_classes}
        return [
            DatasetInput(
                Dataset(
                    name=facts.name,
                    digest=f"{facts.sha256[:24]}-{part[:5]}",
                    source_type="local",
                    source=json.dumps({"uri": facts.name, "sha256": facts.sha256}),
                    profile=json.dumps({"num_rows": n_rows, **schema}),
                ),
                [InputTag("mlflow.data.context", part)],
            )
            for part, n_rows in parts.items()
            if n_rows
        ]

    def _find_or_create_experiment(self) -> str:
        name, views = self._tracked.study.name, view_tags(self._tracked.study.objective)
        experiment = self._client.get_experiment_by_name(name)
        if experiment is not None:
            for tag in views.keys() - experiment.tags.keys():
                self._client.set_experiment_tag(experiment.experiment_id, tag, views[tag])
            return str(experiment.experiment_id)
        # A server keeps artifacts where it likes.
        location = None if self._runs.mlflow_server else str(self._runs.artifacts(name).absolute())
        # Without a kind MLflow's UI opens it among chat traces.
        tags = {"mlflow.experimentKind": "custom_model_development", **views}
        return str(self._client.create_experiment(name, artifact_location=location, tags=tags))

    def _open_parent(self, parent: Run | None) -> tuple[str, str]:
        """Run id and status of the parent run, which holds the study as it is asked for now."""
        study = self._tracked.study
        if parent is None:
            tags = {"key": PARENT_KEY, "phase": "study", "study": study.name, "data_sha256": self._tracked.facts.sha256}
            with sent_once():
                parent = self._client.create_run(
                    self._experiment, tags={**tags, **self._tracked.provenance}, run_name=study.name
                )
        failpoint("track.parent")
        run_id = str(parent.info.run_id)
        self._describe(run_id)
        params = {"objective": study.objective, "seed": study.seed}
        self._client.log_batch(run_id, params=[Param(name, str(value)) for name, value in params.items()])
        self._client.log_dict(run_id, self._tracked.table, STUDY_FILE)
        self._client.log_dict(run_id, asdict(self._tracked.facts), FACTS_FILE)
        return run_id, str(parent.info.status)

    def _describe(self, parent: str) -> None:
        """Say what the study is, as long as there is no report: with one the descriptions say more, see `announce.py`."""
        study, facts = self._tracked.study, asdict(self._tracked.facts)
        if not self._client.list_artifacts(parent, REPORT_FOLDER):
            self._client.set_tag(parent, NOTE, study_text(study, facts))
            text = experiment_text(study, facts, self._experiment, parent)
            self._client.set_experiment_tag(self._experiment, NOTE, text)


def _curves(result: TrialResult) -> list[Metric]:
    """Each epoch's logs as `epoch/...` at its step. What is not a number is told by the reason tag."""
    return [
        Metric(f"epoch/{name}", value, _ms(ended_at), epoch)
        for epoch, (logs, ended_at) in enumerate(zip(result.history, result.epoch_ended_at, strict=True), start=1)
        for name, value in logs.items()
        if math.isfinite(value)
    ]


def _of_model(result: TrialResult, finals: Logs, run_id: str, model_id: str) -> list[Metric]:
    """A trial's final metrics as those of its logged model."""
    at = _ms(result.ended_at)
    return [
        Metric(name, value, at, result.best_epoch, model_id=model_id, run_id=run_id) for name, value in finals.items()
    ]


def _is_archived(phase: str, made_by: Mapping[str, str]) -> bool:
    """Whether a model is a file of its run at first: cohorts end trials faster than MLflow takes logged models."""
    return phase == "search" and made_by.get("engine") == "cohort"


def _is_archived_run(run: Run) -> bool:
    return _is_archived(run.data.tags["phase"], run.data.tags)


def _has_outputs(run: Run | None) -> bool:
    return run is not None and run.outputs is not None and bool(run.outputs.model_outputs)


def _finals(result: TrialResult, score: Score | None) -> Logs:
    """The metrics that a trial ends with."""
    return {**result.metrics, **_running_means(result), **(score.metrics if score else {})}


def _running_means(result: TrialResult) -> Logs:
    """Loss and accuracy as `fit` reports them for the epoch whose weights are kept: means over its moving weights."""
    if result.state == "failed":
        return {}
    logs = result.history[result.best_epoch - 1]
    return {"running_loss": logs["loss"], "running_accuracy": logs["accuracy"]}


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
