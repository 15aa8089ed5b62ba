"""MLflow reads: the runs of a study as a pandas frame. Files are found below the runs directory, wherever it was copied."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.artifacts import download_artifacts
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from sweep.errors import DamagedResultError, MissingRunsError
from sweep.layout import RunsDir
from sweep.record.predictions import Predictions
from sweep.record.results import HISTORY, MODEL, PREDICTIONS
from sweep.study.config import Config
from sweep.study.file import parse_study
from sweep.study.schema import Study
from sweep.track.client import FACTS_FILE, MODEL_PATH, STUDY_FILE, all_runs, open_client, translate_errors
from sweep.trial import Logs

_ANEW = "delete the run in MLflow, and `sync` writes it anew"


@dataclass(frozen=True)
class StudyRuns:
    """What MLflow holds of one study.

    `frame` has one row for each trial and replicate, searched trials by number and then replicates by number. Columns:
    `run_id`, the tags, the params (typed) and the metrics by their names; a metric that a run lacks is NaN.
    """

    study: Study
    table: dict[str, Any]  # that the study was parsed from
    facts: dict[str, Any]
    frame: pd.DataFrame
    parent_run_id: str
    parent_status: str
    half_written: list[str]  # ids of runs that were cut off while they were written; not in `frame`
    predictions: dict[str, Predictions]  # by run id, of every scored replicate

    @property
    def searched(self) -> pd.DataFrame:
        return self.frame[self.frame["phase"] != "confirm"]

    @property
    def replicates(self) -> pd.DataFrame:
        return self.frame[self.frame["phase"] == "confirm"]


def read_runs(runs: RunsDir, name: str) -> StudyRuns:
    """All runs of the study called `name`. Raises MissingRunsError where there are none."""
    if runs.mlflow_server is None and not runs.mlflow_db.exists():
        raise MissingRunsError(f"{runs.mlflow_db}: no such file; run the study first: make sweep")
    client = open_client(runs)
    with translate_errors(runs):
        experiment = client.get_experiment_by_name(name)
        found = [] if experiment is None else all_runs(client, experiment.experiment_id)
    parents = [run for run in found if run.data.tags.get("phase") == "study"]
    if not parents:
        raise MissingRunsError(f"{runs.mlflow_name}: holds no runs of study {name!r}; run it first: make sweep")
    parent, status = parents[0].info.run_id, str(parents[0].info.status)
    table, facts = (_json_of(artifact(runs, name, parent, file)) for file in (STUDY_FILE, FACTS_FILE))
    of_trials = [run for run in found if run.data.tags.get("phase") in ("baseline", "search", "confirm")]
    # A run of a trial is written in one go after it has ended: one that is RUNNING is half there.
    rows = [_row(run) for run in of_trials if run.info.status != "RUNNING"]
    half_written = [str(run.info.run_id) for run in of_trials if run.info.status == "RUNNING"]
    rows.sort(key=lambda row: (row["phase"] == "confirm", row["trial"]))
    frame = pd.DataFrame(rows, columns=None if rows else ["run_id", "phase", "state", "trial"])
    scored = [str(row["run_id"]) for row in rows if "test_accuracy" in row]
    predictions = {run_id: _predictions(runs, name, run_id) for run_id in scored}
    return StudyRuns(
        parse_study(table, f"run {parent}"), table, facts, frame, parent, status, half_written, predictions
    )


def _predictions(runs: RunsDir, study: str, run_id: str) -> Predictions:
    path = artifact(runs, study, run_id, PREDICTIONS)
    try:
        return Predictions.unpack(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DamagedResultError(f"{path}: cannot be read ({error}); {_ANEW}") from error


def _json_of(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
    except ValueError as error:
        raise DamagedResultError(f"{path}: cannot be read ({error}); `sync` writes it anew") from error
    return found


def artifact(runs: RunsDir, study: str, run_id: str, name: str) -> Path:
    """A file logged to a run. Raises MissingRunsError where it is gone."""
    if runs.mlflow_server is None:
        return _existing(runs.run_artifacts(study, run_id) / name)
    return _downloaded(runs, f"runs:/{run_id}/{name}", run_id)


def has_artifact(runs: RunsDir, study: str, run_id: str, name: str) -> bool:
    """Whether a file was logged to a run."""
    if runs.mlflow_server is None:
        return (runs.run_artifacts(study, run_id) / name).is_file()
    with translate_errors(runs):
        folder = name.rpartition("/")[0] or None  # None is the top; of "." a server answers with other names
        return any(info.path == name for info in open_client(runs).list_artifacts(run_id, folder))


def saved_model(runs: RunsDir, study: str, run_id: str) -> Path:
    """The .keras file of a run: among its artifacts, or else of the model it logged. Raises MissingRunsError."""
    if has_artifact(runs, study, run_id, MODEL):
        return artifact(runs, study, run_id, MODEL)
    return model_file(runs, study, run_id)[1]


def model_file(runs: RunsDir, study: str, run_id: str) -> tuple[str, Path]:
    """The id and the .keras file of the model a run logged. Raises MissingRunsError where there is none."""
    client = open_client(runs)
    with translate_errors(runs):
        outputs = client.get_run(run_id).outputs
    if outputs is None or not outputs.model_outputs:
        raise MissingRunsError(f"run {run_id} has no model")
    model_id = str(outputs.model_outputs[0].model_id)
    if runs.mlflow_server is None:
        return model_id, _existing(runs.artifacts(study) / "models" / model_id / "artifacts" / MODEL_PATH)
    with translate_errors(runs):
        location = client.get_logged_model(model_id).artifact_location
    return model_id, _downloaded(runs, f"{location}/{MODEL_PATH}", model_id)


def history(runs: RunsDir, study: str, run_id: str) -> list[Logs]:
    """The logs of each epoch of a run."""
    path = artifact(runs, study, run_id, HISTORY)
    try:
        found: list[Logs] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DamagedResultError(f"{path}: cannot be read ({error}); {_ANEW}") from error
    return found


def study_of(runs: RunsDir, run_id: str) -> str:
    """The name of the study that a run belongs to. Raises MissingRunsError where it is none of ours."""
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


def config_of(row: "Mapping[str, Any] | pd.Series[Any]") -> Config:
    """The config of a run, from its params."""
    return Config(
        units=tuple(int(units) for units in row["units"].split("-")),
        dropout=float(row["dropout"]),
        batch_size=int(row["batch_size"]),
        learning_rate=float(row["learning_rate"]),
        batch_norm=row["batch_norm"] == "True",
    )


def _row(run: Run) -> dict[str, Any]:
    tags = {name: value for name, value in run.data.tags.items() if not name.startswith("mlflow.")}
    metrics = {name: value for name, value in run.data.metrics.items()}
    return {
        "run_id": run.info.run_id,
        "status": run.info.status,
        **tags,
        **run.data.params,
        **metrics,
        "trial": int(tags["trial"]),
    }


def _downloaded(runs: RunsDir, uri: str, folder: str) -> Path:
    """A file fetched from the tracking server, anew each time: the server is what a report is made from."""
    into = runs.downloads / folder
    with translate_errors(runs):
        return Path(download_artifacts(artifact_uri=uri, dst_path=str(into), tracking_uri=runs.mlflow_uri))


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise MissingRunsError(
            f"{path}: no such file, though MLflow has a run with it; was the runs directory copied whole?"
        )
    return path
