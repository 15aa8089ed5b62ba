"""A password that a user can have set is in no byte that this program writes, says or starts a process with."""

import base64
import json
import threading
import time
from pathlib import Path
from urllib.parse import quote

import pytest

from sweep.cli.commands import main
from tests.faults.driver import Sweep
from tests.faults.loopback import refusing, serving, silent

CANARY = "c4n4ry-p4ssw0rd"
USER = "me"
# As it is, as it stands in an address, and as basic authentication sends it.
FORMS = [
    CANARY.encode(),
    base64.b64encode(f"{USER}:{CANARY}".encode()),
    base64.b64encode(CANARY.encode()).rstrip(b"="),
]
IN_ENVIRONMENT = {"MLFLOW_TRACKING_USERNAME": USER, "MLFLOW_TRACKING_PASSWORD": CANARY}
COMMANDS = ("run", "sync", "report", "doctor", "export", "ui")
ADDRESSES = [
    f"http://{USER}:{CANARY}@127.0.0.1:1",
    f"http://127.0.0.1:1/?password={CANARY}",
    f"http://{CANARY}@127.0.0.1:1",
    f"postgresql://{USER}:{CANARY}@127.0.0.1/mlflow",
    f"postgresql://127.0.0.1/mlflow?password={CANARY}",
    f"mysql+pymysql://{USER}:{CANARY}@127.0.0.1/mlflow",
    f"//{USER}:{CANARY}@127.0.0.1",
    f"http://[{CANARY}",  # cannot be parsed, and the parser says so
    f"http://127.0.0.1:{CANARY}",
]


def leaks(*texts: bytes) -> list[bytes]:
    return [form for form in FORMS for text in texts if form in text]


def files_with_it(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and leaks(path.read_bytes())]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_with_a_password_is_refused_without_repeating_it(
    study_file, tmp_path, monkeypatch, capsys, command, address
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    study = [] if command == "ui" else [str(study_file)]
    assert main([command, *study, "--runs-dir", str(tmp_path / "mlruns")]) == 2
    printed, said = capsys.readouterr()
    assert said.startswith("error: MLFLOW_TRACKING_URI: must ")
    assert leaks(printed.encode(), said.encode()) == []
    assert files_with_it(tmp_path) == []


@pytest.fixture
def sweep(tmp_path, migrated):
    return Sweep.new(tmp_path / "sweep", migrated)


def arguments_below(pid: int) -> bytes:
    """The command lines of a process and all that it has started, as they are now."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return Path(f"/proc/{pid}/cmdline").read_bytes() + b"".join(arguments_below(int(child)) for child in children)
    except OSError:
        return b""


def watched(sweep: Sweep, command: str, **environment: str) -> tuple[int, bytes]:
    """Run it; its exit code, and every command line seen meanwhile."""
    process = sweep.start(command, **environment)
    seen = set()
    while process.is_alive():
        seen.add(arguments_below(process.pid or 0))
        time.sleep(0.05)
    return sweep.finish(process), b"".join(seen)


def check_keeps_it(sweep: Sweep, exit_codes: dict[str, int], **environment: str) -> None:
    """Each command on a server that does not serve ends as it should, and gives nothing away."""
    for command, wanted in exit_codes.items():
        exit_code, arguments = watched(sweep, command, **environment)
        assert exit_code == wanted, sweep.said
        assert "Traceback" not in sweep.said
        assert leaks(arguments, sweep.printed.encode(), sweep.said.encode()) == []
        assert files_with_it(sweep.folder) == []


UNTRACKED = {"sync": 3, "report": 3, "doctor": 1}


def test_a_server_that_refuses_a_password_does_not_have_us_repeat_it(sweep):
    with serving(refusing(401)) as address:
        check_keeps_it(sweep, {"run": 3}, MLFLOW_TRACKING_URI=address, **IN_ENVIRONMENT)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, migrated):
    """A sweep whose server was away throughout."""
    sweep = Sweep.new(tmp_path_factory.mktemp("trained") / "sweep", migrated)
    check_keeps_it(sweep, {"run": 3}, MLFLOW_TRACKING_URI="http://127.0.0.1:1", **IN_ENVIRONMENT)
    return sweep


@pytest.mark.faults
@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503])
def test_no_answer_of_a_server_has_a_password_repeated(trained, status):
    with serving(refusing(status)) as address:
        check_keeps_it(trained, UNTRACKED, MLFLOW_TRACKING_URI=address, **IN_ENVIRONMENT)


SECRETS = {
    "password": {"MLFLOW_TRACKING_URI": "http://127.0.0.1:1", **IN_ENVIRONMENT},
    "token": {"MLFLOW_TRACKING_URI": "http://127.0.0.1:1", "MLFLOW_TRACKING_TOKEN": CANARY},
    "proxy": {
        "MLFLOW_TRACKING_URI": "http://tracking.invalid:5000",
        "http_proxy": f"http://{USER}:{CANARY}@127.0.0.1:1",
    },
}


@pytest.mark.faults
@pytest.mark.parametrize("kind", SECRETS)
def test_no_server_that_is_away_has_a_secret_repeated(sweep, kind):
    check_keeps_it(sweep, {"run": 3, **UNTRACKED}, **SECRETS[kind])


def quote_all(request):
    """Refuse a request, and quote what came with it in every form."""
    header = request.headers["Authorization"]
    sent = base64.b64decode(header.removeprefix("Basic ")).decode()
    forms = [header, sent, sent.partition(":")[2], quote(sent, safe=""), base64.b64encode(CANARY.encode()).decode()]
    request.reply(401, json.dumps({"error_code": "REFUSED", "message": f"not you, {' '.join(forms)}"}).encode())


@pytest.mark.faults
def test_a_server_that_answers_with_the_password_is_not_quoted(sweep):
    with serving(quote_all) as address:
        check_keeps_it(sweep, {"run": 3, **UNTRACKED}, MLFLOW_TRACKING_URI=address, **IN_ENVIRONMENT)


@pytest.mark.faults
def test_a_password_of_mlflows_credentials_file_is_not_quoted(sweep, tmp_path):
    credentials = tmp_path / "home" / ".mlflow" / "credentials"
    credentials.parent.mkdir(parents=True)
    credentials.write_text(f"[mlflow]\nmlflow_tracking_username = {USER}\nmlflow_tracking_password = {CANARY}\n")
    with serving(quote_all) as address:
        check_keeps_it(sweep, {"run": 3, **UNTRACKED}, MLFLOW_TRACKING_URI=address, HOME=str(tmp_path / "home"))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_registry_elsewhere_is_refused_without_repeating_its_address(
    study_file, tmp_path, monkeypatch, capsys, command
):
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", f"https://{USER}:{CANARY}@127.0.0.1:1")
    study = [] if command == "ui" else [str(study_file)]
    assert main([command, *study, "--runs-dir", str(tmp_path / "mlruns")]) == 2
    printed, said = capsys.readouterr()
    assert said.startswith("error: MLFLOW_REGISTRY_URI: models are registered where their runs are")
    assert leaks(printed.encode(), said.encode()) == []


@pytest.mark.faults
def test_a_server_that_is_silent_has_no_password_repeated(trained):
    over = threading.Event()
    patience = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "2", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    with serving(silent(over)) as address:
        check_keeps_it(trained, UNTRACKED, MLFLOW_TRACKING_URI=address, **patience, **IN_ENVIRONMENT)
        over.set()
