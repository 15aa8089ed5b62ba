"""The address of a record on a server is read or refused, and is never said with its password."""

import pytest

from sweep.cli.commands import main
from sweep.errors import InvalidSettingError
from sweep.record_server import RecordServer, parse_record_server
from tests.faults.test_secrets import CANARY, FORMS


def parse(address):
    return parse_record_server(address, "SWEEP_RECORD", keeps_secrets=True)


@pytest.mark.parametrize(
    ("address", "wanted"),
    [
        ("postgresql://db/sweep", RecordServer("db", 5432, "sweep")),
        ("postgres://me@db:6432/sweep", RecordServer("db", 6432, "sweep", "me")),
        ("postgresql://me:p%40ss%2F@[::1]/sweep", RecordServer("::1", 5432, "sweep", "me", "p@ss/")),
        ("postgresql://db/a?sslmode=verify-full", RecordServer("db", 5432, "a", tls=(("sslmode", "verify-full"),))),
    ],
)
def test_an_address_is_read_with_what_libpq_needs(address, wanted):
    assert parse(address) == wanted
    assert parse(str(wanted)) == RecordServer(wanted.host, wanted.port, wanted.database, wanted.user)


@pytest.mark.parametrize(
    "address",
    [
        f"mysql://me:{CANARY}@db/sweep",
        f"postgresql+psycopg://me:{CANARY}@db/sweep",
        f"postgresql://me:{CANARY}@db",
        f"postgresql://me:{CANARY}@/sweep",
        f"postgresql://me:{CANARY}@db/sweep/more",
        f"postgresql://db:{CANARY}/sweep",
        f"postgresql://[{CANARY}/sweep",
        f"postgresql://db/sweep?password={CANARY}",
        f"postgresql://db/sweep?{CANARY}",
        f"{CANARY}",
    ],
)
def test_a_wrong_address_is_refused_without_repeating_it(address):
    with pytest.raises(InvalidSettingError, match=r"^SWEEP_RECORD: ") as error:
        parse(address)
    assert CANARY not in str(error.value)


def test_no_text_of_a_server_holds_its_password():
    server = RecordServer("db", 5432, "sweep", "me", CANARY)
    assert not [text for text in (str(server), repr(server), server.conceal(f"no: {CANARY}")) if CANARY in text]


@pytest.mark.parametrize("command", ["run", "sync", "report", "doctor", "export"])
def test_a_password_in_an_option_is_refused_because_everyone_sees_it(study_file, tmp_path, capsys, command):
    address = f"postgresql://me:{CANARY}@127.0.0.1:1/sweep"
    assert main([command, str(study_file), "--runs-dir", str(tmp_path / "mlruns"), "--record", address]) == 2
    printed, said = capsys.readouterr()
    assert said.startswith("error: --record: must not hold a password")
    assert not [form for form in FORMS if form in printed.encode() + said.encode()]
    assert list(tmp_path.rglob("mlruns")) == []
