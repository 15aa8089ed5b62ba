"""MLflow's client, opened on the runs' server or on a database of our own."""

import shlex

from sweep.errors import LostExperimentError
from sweep.layout import RunsDir
from sweep.track.errors import translate_errors
from sweep.track.mlflow_api import Experiment, MlflowClient
from sweep.track.tables import create_database


def open_client(runs: RunsDir) -> MlflowClient:
    """Open a client on the runs' server, or on their database, which is created if it is not there (2 to 3 s)."""
    runs.root.mkdir(parents=True, exist_ok=True)
    with translate_errors(runs):
        if runs.mlflow_server is None and not runs.mlflow_db.exists():
            create_database(runs.mlflow_db)
        return MlflowClient(runs.mlflow_uri, registry_uri=runs.mlflow_uri)


def find_experiment(client: MlflowClient, runs: RunsDir, study: str) -> Experiment | None:
    """Find the experiment of a study; None where there is none. Raises LostExperimentError, and MLflow's errors."""
    found = client.get_experiment_by_name(study)
    if found is None:
        refuse_renamed(client, runs, study)
    elif found.lifecycle_stage != "active":
        raise LostExperimentError(
            f"MLflow at {runs.mlflow_name}: the experiment {study!r} was deleted there; bring it back with "
            f"`{_command(runs, 'restore', found)}`, or start over with `{runs.delete_command(study)}`"
        )
    return found


def refuse_renamed(client: MlflowClient, runs: RunsDir, study: str) -> None:
    """Raise LostExperimentError where an experiment of another name keeps its files in the folder of this study.

    A server keeps files where it likes: there, an experiment that was renamed is not known again.
    """
    if runs.mlflow_server is not None:
        return
    for one in client.search_experiments():
        # By the end alone: in a folder that was moved, the path of a renamed experiment is still the old one.
        if one.name != study and str(one.artifact_location).endswith(f"/{runs.all_artifacts.name}/{study}"):
            raise LostExperimentError(
                f"MLflow at {runs.mlflow_name}: the experiment {study!r} was renamed {one.name!r} there; delete that one "
                f"there, or give it its name back with `{_command(runs, 'rename', one)} --new-name {study}`"
            )


def _command(runs: RunsDir, verb: str, experiment: Experiment) -> str:
    """Return the command of MLflow that does something with an experiment."""
    where = f"MLFLOW_TRACKING_URI={shlex.quote(runs.mlflow_uri)}"
    return f"{where} python -m mlflow experiments {verb} --experiment-id {experiment.experiment_id}"
