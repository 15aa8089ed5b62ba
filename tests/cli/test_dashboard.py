"""The guards around optuna-dashboard, and its refusals. For the pages themselves see `test_ui.py`."""

import pytest

from sweep.cli.commands import main
from sweep.cli.dashboard import guarded


@pytest.mark.parametrize(
    ("method", "host", "passes"),
    [
        ("GET", "localhost:8080", True), ("HEAD", "127.0.0.1:8080", True), ("GET", "localhost:8081", False),
        ("GET", "10.evil.com:8080", False), ("GET", None, False), ("POST", "localhost:8080", False), ("DELETE", "127.0.0.1:8080", False),
    ],
)  # fmt: skip
def test_only_reading_from_this_machine_gets_through(method, host, passes):
    answered = []
    application = guarded(lambda environ, start_response: [b"through"], 8080)
    environ = {"REQUEST_METHOD": method} | ({} if host is None else {"HTTP_HOST": host})
    body = application(environ, lambda status, headers: answered.append(status))
    assert (body == [b"through"], answered) == ((True, []) if passes else (False, ["403 Forbidden"]))


def test_a_dashboard_of_nothing_is_one_line(tmp_path, capsys):
    assert main(["dashboard", "--runs-dir", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"error: {tmp_path}/optuna.db: no such file; run a study first: make sweep\n"
    (tmp_path / "optuna.db").write_bytes(b"not a database" * 1000)
    assert main(["dashboard", "--runs-dir", str(tmp_path)]) == 4
    said = capsys.readouterr().err
    assert said.startswith(f"error: cannot read the record of trials {tmp_path}/optuna.db: ")
    assert said.count("\n") == 1


def test_a_dashboard_that_is_not_installed_is_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["dashboard", "--runs-dir", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("error: optuna-dashboard is not installed; ")
