"""MLflow's client, opened on the runs' server or on a database of our own."""

from sweep.errors import DeletedExperimentError
from sweep.layout import RunsDir
from sweep.track.errors import translate_errors
from sweep.track.mlflow_api import Experiment, MlflowClient, Run
from sweep.track.tables import create_database


def open_client(runs: RunsDir) -> MlflowClient:
    """Open a client on the runs' server, or on their database, which is created if it is not there (2 to 3 s)."""
    runs.root.mkdir(parents=True, exist_ok=True)
    with translate_errors(runs):
        if runs.mlflow_server is None and not runs.mlflow_db.exists():
            create_database(runs.mlflow_db)
        return MlflowClient(runs.mlflow_uri)


def check_is_active(runs: RunsDir, experiment: Experiment) -> None:
    """Raise DeletedExperimentError where a person deleted the experiment of a study."""
    if experiment.lifecycle_stage != "active":
        name, at = experiment.name, runs.mlflow_uri
        raise DeletedExperimentError(
            f"MLflow at {runs.mlflow_name}: the experiment {name!r} was deleted there; bring it back with "
            f"`MLFLOW_TRACKING_URI={at} mlflow experiments restore --experiment-id {experiment.experiment_id}`, or start over "
            f"with `python -m sweep delete {name}`"
        )


def list_runs(client: MlflowClient, experiment: str) -> list[Run]:
    """List every run of an experiment that is not deleted, page by page."""
    runs: list[Run] = []
    token = None
    while True:
        page = client.search_runs([experiment], max_results=1000, page_token=token)
        runs += page
        token = page.token
        if not token:
            return runs
