"""MLflow writes, and only here: a projection of the record for people and for the report.

Every run has a `key` tag, unique within its study, and every timestamp comes from the result, so that projecting a trial
again changes nothing. `tracker.py` calls this from a thread of its own: training waits for none of it.
"""

import json
import logging
import math
import tempfile
from collections.abc import Container, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
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
from sweep.study import Study, cost
from sweep.tracker import Load
from sweep.trial import Logs, Score, Trial, TrialResult
from sweep.views import view_tags

logger = logging.getLogger(__name__)

PARENT_KEY = "study"
_STATUS = {"complete": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}  # the `state` tag says it in our words
_BATCH = 1000  # metrics that MLflow takes in one call
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
            self._has_archives = any(map(_is_archived_run, found.values()))
            self._parent, self._parent_status = self._open_parent(found.get(PARENT_KEY))

    def write(self, trial: Trial, load: Load) -> None:
        """The run of a trial that ended, whole; nothing where it is there already. `load` is called only if it is not."""
        if trial.key in self._finished:
            self._check_is_of(trial, self._finished[trial.key])
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

    def _create_run(self, trial: Trial, result: TrialResult) -> Run:
        with sent_once():
            return self._client.create_run(
                self._experiment,
                start_time=_ms(result.started_at),
                tags=self._tags(trial, result),
                run_name=trial.label,
            )

    def _write(self, trial: Trial, result: TrialResult, score: Score | None) -> None:
        folder = self._runs.results(self._tracked.study.name) / trial.key
        run = self._cut_off.get(trial.key) or self._create_run(trial, result)
        failpoint("track.created")
        run_id = run.info.run_id
        test = score or Score({}, {})
        finals = {**result.metrics, **_running_means(result), **test.metrics}
        files = {**result.files, **test.files}
        is_archived = _is_archived(trial.phase, result.provenance)
        has_logged_model = results.MODEL in files and not is_archived
        model_id = self._log_model(run, trial.config.units_label, folder) if has_logged_model else None
        counts = {
            "best_epoch": result.best_epoch,
            "epochs": len(result.history),
            "train_seconds": result.train_seconds,
            "params_count": result.params_count,
        }
        at = _ms(result.ended_at)
        metrics = [Metric(name, value, at, result.best_epoch) for name, value in {**finals, **counts}.items()]
        metrics += _curves(result)
        if model_id is not None:
            metrics += _of_model(result, finals, run_id, model_id)
        for start in range(0, len(metrics), _BATCH):
            self._client.log_batch(run_id, metrics[start : start + _BATCH], self._params(trial) if start == 0 else ())
        failpoint("track.metrics")
        self._client.log_inputs(run_id, self._inputs(is_scored=score is not None))
        failpoint("track.inputs")
        self._log_files(run_id, folder, [*results.TRACKED, *([results.MODEL] if is_archived else [])], files)
        failpoint("track.artifacts")
        # A cut-off run may have its outputs already; MLflow refuses the same ones twice.
        if model_id is not None and not (run.outputs and run.outputs.model_outputs):
            self._client.log_outputs(run_id, [LoggedModelOutput(model_id, result.best_epoch)])
        failpoint("track.outputs")
        self._client.set_terminated(run_id, _STATUS[result.state], end_time=at)
        failpoint("track.closed")
        self._finished[trial.key] = run
        self._has_archives |= is_archived

    def _log_files(self, run_id: str, folder: Path, names: list[str], files: Container[str]) -> None:
        """Those of the named files that the result has, as artifacts of a run: in one call, for each opens the store anew."""
        with tempfile.TemporaryDirectory() as scratch:
            for name in filter(files.__contains__, names):
                (Path(scratch) / name).symlink_to((folder / name).absolute())
            self._client.log_artifacts(run_id, scratch)

    def _log_model(self, run: Run, units: str, folder: Path) -> str:
        return log_model(self._client, run.info, f"mlp-{units}", folder / results.MODEL, self._tracked.facts)

    def _log_best_models(self) -> None:
        """Log the models of the best searched trials of cohorts, whose other models are files of their runs."""
        objective = self._tracked.study.objective
        archived = [run for run in self._found().values() if _is_archived_run(run) and objective in run.data.metrics]
        complete = [run for run in archived if run.data.tags["state"] == "complete"]
        complete.sort(key=lambda run: cost(objective, run.data.metrics[objective]))
        for run in complete[:N_BEST]:
            if run.outputs and run.outputs.model_outputs:
                continue
            folder = self._runs.results(self._tracked.study.name) / run.data.tags["key"]
            try:
                result = results.load(folder)
            except DamagedResultError as error:  # its run is whole, and no model less good takes its place
                logger.warning("not among the logged models: %s", error)
                continue
            model_id = self._log_model(run, run.data.params["units"], folder)
            finals = {**result.metrics, **_running_means(result)}
            self._client.log_batch(run.info.run_id, _of_model(result, finals, run.info.run_id, model_id))
            self._client.log_outputs(run.info.run_id, [LoggedModelOutput(model_id, result.best_epoch)])

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

    def _params(self, trial: Trial) -> list[Param]:
        training = self._tracked.study.training
        stopping = {} if training.early_stopping is None else training.early_stopping.model_dump()
        params = {**trial.config.params(), "optimizer": "adam", "precision": training.precision}
        params |= {"max_epochs": training.max_epochs, **stopping}
        return [Param(name, str(value)) for name, value in params.items()]

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


def _running_means(result: TrialResult) -> Logs:
    """Loss and accuracy as `fit` reports them for the epoch whose weights are kept: means over its moving weights."""
    if result.state == "failed":
        return {}
    logs = result.history[result.best_epoch - 1]
    return {"running_loss": logs["loss"], "running_accuracy": logs["accuracy"]}


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
