"""MLflow's client, opened on the runs' server or on a database of our own."""

from sweep.layout import RunsDir
from sweep.track.errors import translate_errors
from sweep.track.mlflow_api import MlflowClient, Run
from sweep.track.tables import create_database


def open_client(runs: RunsDir) -> MlflowClient:
    """Open a client on the runs' server, or on their database, which is created if it is not there (2 to 3 s)."""
    runs.root.mkdir(parents=True, exist_ok=True)
    with translate_errors(runs):
        if runs.mlflow_server is None and not runs.mlflow_db.exists():
            create_database(runs.mlflow_db)
        return MlflowClient(runs.mlflow_uri)


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
