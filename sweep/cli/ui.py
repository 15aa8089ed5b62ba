"""`ui`: serve MLflow's UI on the runs directory, on this machine only."""

import argparse
import os
import sys
from typing import NoReturn

from sweep.cli.arguments import locate_runs
from sweep.environment import FIXED, strip
from sweep.errors import MissingRunsError
from sweep.layout import RunsDir
from sweep.plain_text import to_line
from sweep.track.client import open_client
from sweep.track.errors import translate_errors
from sweep.track.tables import follow_move
from sweep.track.views import VIEW, view_address


def run(arguments: argparse.Namespace) -> NoReturn:
    """Replace this process by `mlflow server` on loopback, with a safe value for each unsafe default."""
    runs, port = locate_runs(arguments), arguments.port
    if runs.mlflow_server is not None:
        raise MissingRunsError(f"MLFLOW_TRACKING_URI is set, so runs are kept on {runs.mlflow_server}: open that")
    if not runs.mlflow_db.exists():
        raise MissingRunsError(f"{runs.mlflow_db}: no such file; run a study first: make sweep")
    follow_move(runs)
    print(f"MLflow on http://127.0.0.1:{port}, Ctrl-C ends it", file=sys.stderr)
    for name, experiment in _list_studies(runs):
        print(f"- {to_line(name)}: http://127.0.0.1:{port}/{view_address(experiment, 'trials')}", file=sys.stderr)
    os.execve(sys.executable, [sys.executable, "-m", "mlflow", *_make_options(runs, port)], _make_environment(runs))


def _make_options(runs: RunsDir, port: int) -> list[str]:
    server = ["server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    hosts = f"localhost:{port},127.0.0.1:{port}"  # the default also allows 10.evil.com
    guards = ["--allowed-hosts", hosts, "--x-frame-options", "DENY"]
    return [*server, *guards, "--artifacts-destination", str(runs.all_artifacts.absolute())]


def _make_environment(runs: RunsDir) -> dict[str, str]:
    return {
        **strip(os.environ),  # settings of who serves others: one of them turns the check of the host off
        **FIXED,
        "MLFLOW_BACKEND_STORE_URI": runs.mlflow_uri,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # a job runs code that a client sends
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    }


def _list_studies(runs: RunsDir) -> list[tuple[str, str]]:
    """Return the name and experiment id of each study, to print links: MLflow's own link to one shows chat traces."""
    with translate_errors(runs):
        found = open_client(runs).search_experiments()
    return [(e.name, e.experiment_id) for e in found if any(tag.startswith(VIEW) for tag in e.tags)]
