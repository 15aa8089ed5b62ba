"""MLflow's UI on the runs directory, on this machine only."""

import os
import sys
from typing import NoReturn

from sweep.errors import MissingRunsError
from sweep.layout import RunsDir
from sweep.track.client import open_client
from sweep.track.errors import translate_errors
from sweep.track.tables import follow_move
from sweep.track.views import VIEW, view_address


def serve(runs: RunsDir, port: int) -> NoReturn:
    """Become `mlflow server`, on loopback, with the safe choice made wherever its default is not."""
    if runs.mlflow_server is not None:
        raise MissingRunsError(f"MLFLOW_TRACKING_URI is set, so runs are kept on {runs.mlflow_server}: open that")
    if not runs.mlflow_db.exists():
        raise MissingRunsError(f"{runs.mlflow_db}: no such file; run a study first: make sweep")
    follow_move(runs)
    environment = {
        **os.environ,
        "MLFLOW_BACKEND_STORE_URI": runs.mlflow_uri,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # it runs code that is sent to the server
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    }
    hosts = f"localhost:{port},127.0.0.1:{port}"  # the default also lets 10.evil.com pass
    server = ["server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    guards = [
        "--allowed-hosts",
        hosts,
        "--x-frame-options",
        "DENY",
        "--artifacts-destination",
        str(runs.all_artifacts.absolute()),
    ]
    print(f"MLflow on http://127.0.0.1:{port}, Ctrl-C ends it", file=sys.stderr)
    for name, experiment in _studies(runs):
        print(f"- {name}: http://127.0.0.1:{port}/{view_address(experiment, 'trials')}", file=sys.stderr)
    os.execve(sys.executable, [sys.executable, "-m", "mlflow", *server, *guards], environment)


def _studies(runs: RunsDir) -> list[tuple[str, str]]:
    """Name and experiment of each study. MLflow itself opens an experiment among chat traces."""
    with translate_errors(runs):
        found = open_client(runs).search_experiments()
    return [(e.name, e.experiment_id) for e in found if any(tag.startswith(VIEW) for tag in e.tags)]
