"""The runs of a study in MLflow: a projection of the record, for people and for the report.

Every run has a `key` tag, unique within its study, and every timestamp comes from the result, so that projecting a trial
again changes nothing. `tracker.py` calls this from a thread of its own: training waits for none of it.
"""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelOutput, Metric, Param, Run

from sweep.data.prepared import DataFacts
from sweep.durable.failpoint import failpoint
from sweep.errors import DamagedResultError, TrackingError
from sweep.layout import RunsDir
from sweep.record import results
from sweep.study.objective import cost
from sweep.study.schema import Study
from sweep.track.client import (
    FACTS_FILE,
    NOTE,
    STUDY_FILE,
    all_runs,
    follow_move,
    open_client,
    sent_once,
    translate_errors,
)
from sweep.track.describe import REPORT_FOLDER, experiment_text, study_text
from sweep.track.models import log_model
from sweep.track.tracker import Ended
from sweep.track.views import view_tags
from sweep.track.writers import ClientRuns, End, NewRun, TableRuns
from sweep.trial import Logs, Score, Trial, TrialResult

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
    """Writes runs. Not thread-safe: one thread uses it."""

    def __init__(self, runs: RunsDir, tracked: Tracked) -> None:
        self._runs = runs
        self._tracked = tracked
        self._client = open_client(runs)
        if runs.mlflow_server is None:
            follow_move(runs)
        with translate_errors(runs):
            self._experiment = self._find_or_create_experiment()
            failpoint("track.experiment")
            self._before = self._found()  # runs that were there, by key
            # One of a trial that is still RUNNING was cut off while it was written: it is written again, over itself.
            self._whole = {key for key, run in self._before.items() if run.info.status != "RUNNING"}
            self._has_archives = any(map(_is_archived_run, self._before.values()))
            self._parent, self._parent_status = self._open_parent(self._before.get(PARENT_KEY))
            self._writer = (
                ClientRuns(self._client, self._experiment)
                if runs.mlflow_server
                else TableRuns(self._client, self._experiment, runs, tracked.study.name)
            )

    @property
    def at_once(self) -> int:
        """How many runs are best written together."""
        return self._writer.at_once

    def lacks(self, trial: Trial) -> bool:
        """Whether the run of a trial is not there. Raises TrackingError where one of another config has its key."""
        if trial.key in self._before:
            self._check_is_of(trial, self._before[trial.key])
        return trial.key not in self._whole

    def write(self, ended: Sequence[Ended]) -> None:
        """The runs of trials that it lacks, whole."""
        if ended:
            with translate_errors(self._runs):
                self._set_parent("RUNNING")
                self._write(ended)

    def close(self, status: str) -> None:
        """End the parent run as FINISHED, KILLED (interrupted) or FAILED."""
        with translate_errors(self._runs):
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

    def _write(self, ended: Sequence[Ended]) -> None:
        run_ids = self._create(ended)
        failpoint("track.created")
        filled: list[Ended] = []
        try:
            for one in ended:
                self._add_files(run_ids[one.trial.key], one)
                filled.append(one)
        finally:  # one whose files cannot be copied holds back none of those before it
            self._end(run_ids, filled)

    def _end(self, run_ids: dict[str, str], ended: Sequence[Ended]) -> None:
        self._writer.close([End(run_ids[e.trial.key], _STATUS[e.result.state], _ms(e.result.ended_at)) for e in ended])
        failpoint("track.closed")
        self._whole |= {one.trial.key for one in ended}
        self._has_archives |= any(map(_is_archived, ended))

    def _create(self, ended: Sequence[Ended]) -> dict[str, str]:
        """Runs with all but files and models, RUNNING still; their ids by key."""
        news = {one.trial.key: self._new_run(one) for one in ended}
        run_ids = {key: str(self._before[key].info.run_id) for key in news if key in self._before}
        for key, run_id in run_ids.items():
            self._writer.fill(run_id, news[key])
        keys = [key for key in news if key not in run_ids]
        return run_ids | dict(zip(keys, self._writer.create([news[key] for key in keys]), strict=True))

    def _add_files(self, run_id: str, one: Ended) -> None:
        folder = self._runs.results(self._tracked.study.name) / one.trial.key
        files = _files(one)
        names = [*results.TRACKED, *([results.MODEL] if _is_archived(one) else [])]
        self._writer.add_files(run_id, {name: folder / name for name in names if name in files})
        failpoint("track.artifacts")
        if _has_logged_model(one):
            has_outputs = _has_outputs(self._before.get(one.trial.key))
            self._log_model(
                run_id, one.trial.config.units_label, one.result, _finals(one.result, one.score), has_outputs
            )
        failpoint("track.outputs")

    def _new_run(self, one: Ended) -> NewRun:
        trial, result = one.trial, one.result
        finals = {} if _has_logged_model(one) else _finals(result, one.score)  # those of a model are logged with it
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
            inputs=self._inputs(is_scored=one.score is not None),
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
            "tags.phase = 'search' AND tags.engine = 'cohort' AND tags.state = 'complete'",  # as _is_archive says
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
        # A server keeps artifacts where it likes.
        location = None if self._runs.mlflow_server else str(self._runs.artifacts(name).absolute())
        experiment = self._client.get_experiment_by_name(name)
        if experiment is not None:
            if location not in (None, experiment.artifact_location):
                raise TrackingError(
                    f"MLflow at {self._runs.mlflow_name}: experiment {name!r} keeps its artifacts at {experiment.artifact_location}, "
                    "so it was not made by this program; rename it there, or give the study another name"
                )
            for tag in views.keys() - experiment.tags.keys():
                self._client.set_experiment_tag(experiment.experiment_id, tag, views[tag])
            return str(experiment.experiment_id)
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
        """Say what the study is, as long as there is no report: with one the descriptions say more, see `report/upload.py`."""
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


def _files(one: Ended) -> dict[str, str]:
    """What a trial left, with sha256 by name."""
    return {**one.result.files, **(one.score.files if one.score else {})}


def _is_archive(phase: str, made_by: Mapping[str, str]) -> bool:
    """Whether a model is a file of its run at first: cohorts end trials faster than MLflow takes logged models."""
    return phase == "search" and made_by.get("engine") == "cohort"


def _is_archived(one: Ended) -> bool:
    return _is_archive(one.trial.phase, one.result.provenance)


def _is_archived_run(run: Run) -> bool:
    return _is_archive(run.data.tags.get("phase", ""), run.data.tags)


def _has_logged_model(one: Ended) -> bool:
    return results.MODEL in _files(one) and not _is_archived(one)


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
