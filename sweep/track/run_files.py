"""Files that runs logged, found below the runs directory, wherever it was copied, or fetched from a server."""

import json
from dataclasses import dataclass
from pathlib import Path

from sweep.data.facts import DataFacts
from sweep.durable.given import MAX_PREDICTIONS_BYTES, MAX_RECORD_BYTES, read_given
from sweep.durable.inside import refuse_links
from sweep.errors import DamagedResultError, MissingRunsError
from sweep.layout import RunsDir
from sweep.record.predictions import AnyPredictions, check_fit, unpack
from sweep.record.results import HISTORY, MODEL, PREDICTIONS
from sweep.track.client import open_client
from sweep.track.errors import REWRITE, check_id, translate_errors
from sweep.track.mlflow_api import download_artifacts
from sweep.track.names import MODEL_PATH
from sweep.trial import Logs, check_history


@dataclass(frozen=True)
class LoggedModel:
    """A model that a run logged."""

    model_id: str
    path: Path  # of its .keras file


@dataclass(frozen=True)
class RunFiles:
    """Reads the files of a study's runs, each known by its run's id."""

    runs: RunsDir
    study: str

    def artifact(self, run_id: str, name: str) -> Path:
        """Return the path of a file logged to a run. Raises MissingRunsError where it is gone."""
        if self.runs.mlflow_server is None:
            return _check_exists(self.runs.run_artifacts(self.study, run_id) / name)
        return self._download(f"runs:/{run_id}/{name}", run_id)

    def has_artifact(self, run_id: str, name: str) -> bool:
        """Return whether a file was logged to a run."""
        if self.runs.mlflow_server is None:
            return (self.runs.run_artifacts(self.study, run_id) / name).is_file()
        with translate_errors(self.runs):
            folder = name.rpartition("/")[0] or None  # None is the top; of "." a server answers with other names
            return any(info.path == name for info in open_client(self.runs).list_artifacts(run_id, folder))

    def history(self, run_id: str) -> list[Logs]:
        """Read the logs of each epoch of a run, first epoch first. Raises MissingRunsError, DamagedResultError."""
        path = self.artifact(run_id, HISTORY)
        try:
            found: list[Logs] = json.loads(read_given(path, MAX_RECORD_BYTES))
            check_history(found)
        except (OSError, ValueError, RecursionError) as error:
            raise DamagedResultError(f"{path}: cannot be read ({error}); {REWRITE}") from error
        return found

    def predictions(self, run_id: str, facts: DataFacts) -> AnyPredictions:
        """Read the test predictions of a scored replicate on the data of `facts`. Raises MissingRunsError, DamagedResultError."""
        path = self.artifact(run_id, PREDICTIONS)
        try:
            found = unpack(read_given(path, MAX_PREDICTIONS_BYTES))
            check_fit(found, facts.n_test, facts.n_classes, facts.n_features)
            return found
        except (OSError, ValueError) as error:
            raise DamagedResultError(f"{path}: cannot be read ({error}); {REWRITE}") from error

    def saved_model(self, run_id: str) -> Path:
        """Return the .keras file of a run: among its artifacts, or else of the model it logged. Raises MissingRunsError."""
        return self.artifact(run_id, MODEL) if self.has_artifact(run_id, MODEL) else self.model(run_id).path

    def model(self, run_id: str) -> LoggedModel:
        """Return the model that a run logged. Raises MissingRunsError where there is none."""
        client = open_client(self.runs)
        with translate_errors(self.runs):
            outputs = client.get_run(run_id).outputs
            model_id = check_id(outputs.model_outputs[0].model_id) if outputs and outputs.model_outputs else None
        if model_id is None:
            raise MissingRunsError(f"run {run_id} has no model")
        if self.runs.mlflow_server is None:
            folder = self.runs.artifacts(self.study) / "models" / model_id / "artifacts"
            return LoggedModel(model_id, _check_exists(folder / MODEL_PATH))
        with translate_errors(self.runs):
            location = client.get_logged_model(model_id).artifact_location
        return LoggedModel(model_id, self._download(f"{location}/{MODEL_PATH}", model_id))

    def _download(self, uri: str, folder: str) -> Path:
        """Fetch a file from the tracking server, anew each time: the server is what a report is made from."""
        into = self.runs.downloads / folder
        refuse_links((into, *into.rglob("*")))
        with translate_errors(self.runs):
            return Path(download_artifacts(artifact_uri=uri, dst_path=str(into), tracking_uri=self.runs.mlflow_uri))


def _check_exists(path: Path) -> Path:
    if not path.is_file():
        raise MissingRunsError(
            f"{path}: no such file, though MLflow has a run with it; was the runs directory copied whole?"
        )
    return path
