from pathlib import Path

import pytest

from sweep.errors import InvalidSettingError
from sweep.layout import RunsDir, tracking_server


def test_without_a_server_runs_are_kept_in_a_database_of_the_runs_directory():
    runs = RunsDir(Path("/somewhere"), tracking_server(None))
    assert runs.mlflow_uri == "sqlite:////somewhere/mlflow.db"
    assert runs.mlflow_name == "/somewhere/mlflow.db"


def test_a_server_is_used_where_one_is_named():
    runs = RunsDir(Path("/somewhere"), tracking_server("http://127.0.0.1:5000"))
    assert runs.mlflow_uri == runs.mlflow_name == "http://127.0.0.1:5000"


@pytest.mark.parametrize("uri", ["sqlite:///x.db", "./mlruns", "databricks", "http://", "ftp://host"])
def test_any_other_store_is_refused_with_the_way_out(uri):
    with pytest.raises(InvalidSettingError, match="unset it to keep runs in mlflow"):
        tracking_server(uri)


@pytest.mark.parametrize("root", ["what?/mlruns", "a%20b/mlruns"])
def test_a_folder_that_reads_as_another_in_an_address_is_refused(root):
    with pytest.raises(InvalidSettingError, match=r"--runs-dir: .* choose a folder without"):
        RunsDir(Path(root))


@pytest.mark.parametrize("root", ["100 % sure/mlruns", "größer #1/mlruns"])
def test_other_odd_names_are_not(root):
    assert RunsDir(Path(root)).mlflow_uri.endswith(f"/{root}/mlflow.db")


@pytest.mark.parametrize("uri", ["http://me:hunter2@host:5000", "https://host/?token=hunter2"])
def test_a_password_is_refused_and_not_repeated(uri):
    with pytest.raises(InvalidSettingError, match="MLFLOW_TRACKING_PASSWORD") as refused:
        tracking_server(uri)
    assert "hunter2" not in str(refused.value)
