import logging
import os
import shutil
from pathlib import Path

# Before TensorFlow is imported by any test: the engine's tests run as its workers do.
os.environ |= {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "-1",
    "KERAS_BACKEND": "tensorflow",
    "JAX_PLATFORMS": "cpu",
    "MPLBACKEND": "agg",
}
os.environ |= {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}

os.environ.pop("MLFLOW_TRACKING_URI", None)  # a developer's own server is not written to
os.environ.pop("RAY_ADDRESS", None)  # nor does a developer's own cluster train
os.environ.pop("SWEEP_RECORD", None)

import pytest

from sweep.layout import RunsDir
from tests.servers import free_port
from tests.studies import STUDY, write_tiny_data


@pytest.fixture(autouse=True)
def fresh_log():
    """Remove the log handler of a command that the test ran: it writes to that test's stderr."""
    yield
    logging.getLogger("sweep").handlers = []
    logging.getLogger("sweep").propagate = True


@pytest.fixture(scope="session")
def migrated(tmp_path_factory):
    """Make a runs directory with empty databases. Creating their tables takes seconds, copying them takes none."""
    import optuna

    from sweep.track.client import open_client

    runs = RunsDir(tmp_path_factory.mktemp("migrated"))
    open_client(runs).search_experiments()
    optuna.storages.RDBStorage(f"sqlite:///{runs.optuna_db}").remove_session()
    return runs


@pytest.fixture(scope="session")
def new_runs(migrated, tmp_path_factory):
    """Return a function that makes runs directories with empty databases, for sweeps that a module runs once."""

    def make():
        root = tmp_path_factory.mktemp("runs") / "mlruns"
        shutil.copytree(migrated.root, root)
        return RunsDir(root)

    return make


@pytest.fixture
def runs(migrated, tmp_path):
    """Make a runs directory with empty databases, in the test's own folder."""
    shutil.copytree(migrated.root, tmp_path / "mlruns")
    return RunsDir(tmp_path / "mlruns")


@pytest.fixture(scope="session")
def postgres():
    """Run a PostgreSQL server, with an empty record as a template of databases."""
    from sweep.record.storage import open_storage
    from tests import postgres

    if postgres.find_program("postgres") is None:
        pytest.skip("no PostgreSQL server is installed")
    with postgres.run_server() as server:
        open_storage(server.new_database("template1", "empty")).engine.dispose()
        yield server


@pytest.fixture
def runs_on_server(runs, postgres):
    """Make a runs directory whose record is an empty one on the server."""
    runs.optuna_db.unlink()
    return RunsDir(runs.root, record_server=postgres.new_database())


@pytest.fixture
def study_file(tmp_path):
    """Write the tiny study to a file, with its data beside it."""
    write_tiny_data(tmp_path)
    path = tmp_path / "tiny.toml"
    path.write_text(STUDY)
    return path


@pytest.fixture
def unused_port():
    return free_port()


@pytest.fixture
def disk_calls(monkeypatch):
    """Record what is synced and renamed, in order: ("sync", path) and ("rename", path)."""
    calls = []
    fsync, rename, replace = os.fsync, Path.rename, Path.replace

    def synced(handle):
        calls.append(("sync", Path(os.readlink(f"/proc/self/fd/{handle}"))))
        fsync(handle)

    def renamed(move):
        def record(path, target):
            calls.append(("rename", path))
            return move(path, target)

        return record

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "rename", renamed(rename))
    monkeypatch.setattr(Path, "replace", renamed(replace))
    return calls
