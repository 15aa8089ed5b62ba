"""The experiment of a study, and its parent run, which says what the study is and how far it has come."""

from dataclasses import dataclass
from typing import Any

from sweep.data.facts import DataFacts
from sweep.durable.failpoint import failpoint
from sweep.errors import TrackingError
from sweep.layout import RunsDir
from sweep.study.schema import Study
from sweep.track.client import find_experiment
from sweep.track.describe import experiment_text, study_text
from sweep.track.listing import FoundRun
from sweep.track.mlflow_api import MlflowClient, Param, Run, send_once
from sweep.track.names import FACTS_FILE, NOTE, PARENT, REPORT_FOLDER, RUNNING, STUDY_FILE
from sweep.track.views import view_tags


@dataclass(frozen=True)
class ProjectedStudy:
    """A study as its parent run keeps it."""

    study: Study
    table: dict[str, Any]  # the study file as typed
    facts: DataFacts
    provenance: dict[str, str]  # of the coordinator


def find_or_create_experiment(client: MlflowClient, runs: RunsDir, study: Study) -> str:
    """Return the id of the study's experiment. Raises TrackingError where one of that name is not of this program, or deleted."""
    name, views = study.name, view_tags(study.objective, study.task)
    # A server keeps artifacts where it likes.
    location = None if runs.mlflow_server else str(runs.artifacts(name).absolute())
    experiment = find_experiment(client, runs, name)
    if experiment is None:
        # Without a kind, MLflow's UI shows an experiment among chat traces.
        tags = {"mlflow.experimentKind": "custom_model_development", **views}
        return str(client.create_experiment(name, artifact_location=location, tags=tags))
    if location not in (None, experiment.artifact_location):
        raise TrackingError(
            f"MLflow at {runs.mlflow_name}: experiment {name!r} keeps its artifacts at {experiment.artifact_location}, "
            "so it was not made by this program; rename it there, or give the study another name"
        )
    for tag in views.keys() - experiment.tags.keys():
        client.set_experiment_tag(experiment.experiment_id, tag, views[tag])
    return str(experiment.experiment_id)


class ParentRun:
    """The parent run of a study. It is RUNNING while a coordinator writes."""

    def __init__(self, client: MlflowClient, run_id: str, status: str) -> None:
        self._client = client
        self.run_id = run_id
        self._status = status

    @classmethod
    def open(
        cls, client: MlflowClient, experiment: str, projected: ProjectedStudy, found: FoundRun | None
    ) -> "ParentRun":
        """Take the parent run that was found, or create one; write the study as it is asked for now."""
        if found is not None:
            parent = cls(client, found.run_id, found.status)
        else:
            created = _create(client, experiment, projected)
            parent = cls(client, str(created.info.run_id), str(created.info.status))
        failpoint("track.parent")
        parent._write(experiment, projected)
        return parent

    def set_status(self, status: str) -> None:
        """Set the status: RUNNING, or an end."""
        if status == self._status:
            return
        if status == RUNNING:
            self._client.update_run(self.run_id, status=status)
        else:
            self._client.set_terminated(self.run_id, status)
        self._status = status

    def _write(self, experiment: str, projected: ProjectedStudy) -> None:
        study, facts = projected.study, projected.facts
        # Where there is a report the descriptions say more, see `report/upload.py`.
        if not self._client.list_artifacts(self.run_id, REPORT_FOLDER):
            self._client.set_tag(self.run_id, NOTE, study_text(study, facts))
            text = experiment_text(study, facts, experiment, self.run_id)
            self._client.set_experiment_tag(experiment, NOTE, text)
        params = {"objective": study.objective, "seed": study.seed}
        self._client.log_batch(self.run_id, params=[Param(name, str(value)) for name, value in params.items()])
        self._client.log_dict(self.run_id, projected.table, STUDY_FILE)
        self._client.log_dict(self.run_id, facts.to_dict(), FACTS_FILE)


def _create(client: MlflowClient, experiment: str, projected: ProjectedStudy) -> Run:
    study = projected.study
    tags = {"key": PARENT, "phase": PARENT, "study": study.name, "data_sha256": projected.facts.sha256}
    with send_once():
        return client.create_run(experiment, tags={**tags, **projected.provenance}, run_name=study.name)
