import re
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest

from sweep.cli.arguments import parse
from sweep.cli.commands import main
from sweep.cli.run import _load_with_options
from sweep.errors import InvalidStudyError
from tests.servers import http_status, mlflow_server

ROOT = Path(__file__).parents[2]
COMMANDS = [
    "init",
    "run",
    "report",
    "compare",
    "replay",
    "export",
    "predict",
    "sync",
    "doctor",
    "list",
    "status",
    "trials",
    "delete",
    "ui",
    "dashboard",
]
HEAVY = ("tensorflow", "keras", "jax", "mlflow", "optuna", "sqlalchemy", "pandas", "numpy", "scipy", "pydantic", "rich")


def test_help_answers_within_half_a_second_and_loads_nothing_heavy():
    code = f"import sys; from sweep.cli.commands import main\ntry: main(['--help'])\nfinally: print([m for m in {HEAVY} if m in sys.modules])"
    seconds = []
    for _ in range(3):  # the machine may be busy: the fastest counts
        started = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
        seconds.append(time.perf_counter() - started)
    assert done.stdout.endswith("[]\n")
    assert min(seconds) < 0.5


def loaded(code, libraries):
    """Return which of `libraries` a fresh process has loaded after running `code`."""
    code = f"import sys\n{code}\nprint([name for name in {libraries} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


def test_until_its_trials_are_trained_run_loads_no_library_that_trains_or_tracks():
    assert loaded("import sweep.cli.run", ("tensorflow", "keras", "jax", "mlflow", "pandas")) == "[]\n"


@pytest.mark.parametrize("command", ["list", "status", "trials"])
def test_looking_at_studies_loads_no_library_that_trains_or_tracks(command):
    assert loaded(f"import sweep.cli.{command}", ("tensorflow", "keras", "jax", "mlflow", "pandas")) == "[]\n"


def test_minutes_on_the_command_line_take_the_place_of_those_in_the_file():
    study = str(ROOT / "studies" / "quick.toml")
    assert _load_with_options(parse(["run", study, "--minutes", "2.5"]))[0].search.minutes == 2.5
    for minutes in ("0", "-1", "nan"):
        with pytest.raises(InvalidStudyError, match=r"search\.minutes"):
            _load_with_options(parse(["run", study, f"--minutes={minutes}"]))


def test_a_slip_in_a_study_file_is_told_before_mlflow_is_loaded(tmp_path):
    (tmp_path / "slip.toml").write_text("name =")
    code = f"from sweep.cli.commands import main\nassert main(['report', {str(tmp_path / 'slip.toml')!r}]) == 2"
    assert loaded(code, ("mlflow", "optuna", "pandas")) == "[]\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_a_module_that_runs_it(command, capsys):
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    assert command in ("init", "predict") or "--runs-dir" in capsys.readouterr().out
    assert callable(import_module(f"sweep.cli.{command}").run)


def test_help_lists_every_command(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert re.findall(r"^    (\w+)", capsys.readouterr().out, re.M) == COMMANDS


def test_usage_errors_end_with_2():
    with pytest.raises(SystemExit) as end:
        main(["sweep-everything"])
    assert end.value.code == 2


@pytest.mark.parametrize("command", ["report", "export"])
def test_asking_for_what_was_never_run_is_one_line(command, tmp_path, capsys):
    assert main([command, str(ROOT / "studies" / "quick.toml"), "--runs-dir", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {tmp_path}/mlflow.db: no such file; run the study first")
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["sync", "doctor"])
def test_looking_after_what_was_never_run_is_one_line(command, tmp_path, capsys):
    assert main([command, str(ROOT / "studies" / "quick.toml"), "--runs-dir", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"error: {tmp_path}/optuna.db: holds no study 'quick'; run it first: make sweep\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_ui_is_for_this_machine_alone(runs, unused_port):
    with mlflow_server(runs, unused_port):
        assert http_status(unused_port, "localhost") == 200
        assert http_status(unused_port, "10.evil.com") == 403
        assert _listening_addresses(unused_port) == {"0100007F"}  # 127.0.0.1, as /proc/net/tcp writes it


def test_the_ui_of_runs_that_are_on_a_server_is_that_server(runs, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    assert main(["ui", "--runs-dir", str(runs.root)]) == 1
    assert "runs are kept on http://127.0.0.1:1: open that" in capsys.readouterr().err


def _listening_addresses(port):
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {
        local.split(":")[0] for _, local, _, state, *_ in rows if state == "0A" and int(local.split(":")[1], 16) == port
    }
