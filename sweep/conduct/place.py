"""Where runs are kept: the runs directory, and the servers that stand in for its databases. Loads no library."""

import os
from pathlib import Path

from sweep.durable.inside import refuse_links
from sweep.layout import RunsDir, refuse_registry, tracking_server
from sweep.record_server import RecordServer, parse_record_server


def open_runs(root: Path, record: str | None = None) -> RunsDir:
    """Return the runs directory, with the servers that the environment names. Raises InvalidSettingError, StorageError.

    record: address of a record in PostgreSQL, instead of the one in SWEEP_RECORD.
    """
    server = tracking_server(os.environ.get("MLFLOW_TRACKING_URI"))
    refuse_registry(os.environ.get("MLFLOW_REGISTRY_URI"), server)
    runs = RunsDir(root, server, _find_record(record))
    refuse_links(runs.list_places())
    return runs


def _find_record(given: str | None) -> RecordServer | None:
    if given is not None:
        return parse_record_server(given, "--record", keeps_secrets=False)
    from_environment = os.environ.get("SWEEP_RECORD")
    return parse_record_server(from_environment, "SWEEP_RECORD", keeps_secrets=True) if from_environment else None
