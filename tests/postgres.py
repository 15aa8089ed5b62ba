"""A PostgreSQL server for tests, on loopback, with databases that hold an empty record."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sweep.record_server import RecordServer
from tests.servers import free_port

USER = "me"
PASSWORD = "c4n4ry-p4ssw0rd"
DEBIAN = Path("/usr/lib/postgresql")  # Debian and Ubuntu keep the server's programs out of PATH
UNSAFE = ("fsync=off", "full_page_writes=off", "synchronous_commit=off")  # these tests cut no power


def find_program(name: str) -> str | None:
    """Return the path of a program of the server; None where no server is installed."""
    newest = sorted(DEBIAN.glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    return str(newest[-1]) if newest else shutil.which(name)


def whole_address(server: RecordServer) -> str:
    """Return the address of a database with its password."""
    return str(server).replace("@", f":{quote(server.password or '', safe='')}@", 1)


@dataclass
class Postgres:
    """A server that runs. `new_database` makes a record's place on it."""

    port: int
    numbers: Iterator[int]

    def at(self, database: str, **changes: Any) -> RecordServer:
        """Return the address of a database."""
        given: dict[str, Any] = {"user": USER, "password": PASSWORD, **changes}
        return RecordServer("127.0.0.1", self.port, database, **given)

    def new_database(self, template: str = "empty", name: str | None = None) -> RecordServer:
        """Create a database as a copy of another, by default of one with an empty record."""
        name = name or f"record_{next(self.numbers)}"
        self.execute(self.at("postgres"), f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.at(name)

    def execute(self, where: RecordServer, query: str) -> list[tuple[Any, ...]]:
        """Execute a query by psycopg alone, and return its rows."""
        import psycopg

        with psycopg.connect(**where.connect_args(), autocommit=True) as connection:
            done = connection.execute(query)  # type: ignore[call-overload]
            return done.fetchall() if done.description else []


@contextmanager
def run_server() -> Iterator[Postgres]:
    """Run a server until this is left. It does not run as root: it is `postgres` then, or `nobody`."""
    initdb, postgres = find_program("initdb"), find_program("postgres")
    assert initdb
    assert postgres
    user = {"user": _unprivileged(), "extra_groups": []} if os.geteuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="sweep-postgres-"))  # short, and one that another user can enter
    secret, log = folder / "password", folder / "log"
    secret.write_text(PASSWORD)
    if user:
        for path in (folder, secret):
            shutil.chown(path, user["user"])
    port = free_port()
    try:
        options = [
            "-D",
            f"{folder}/data",
            "-U",
            USER,
            "-A",
            "scram-sha-256",
            "--pwfile",
            str(secret),
            "-E",
            "UTF8",
            "-N",
        ]
        subprocess.run([initdb, *options], check=True, cwd=folder, stdout=subprocess.DEVNULL, **user)  # type: ignore[call-overload]
        settings = [
            f"port={port}",
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "max_connections=200",
            *UNSAFE,
        ]
        command = [postgres, "-D", f"{folder}/data", *(part for one in settings for part in ("-c", one))]
        with log.open("wb") as said, subprocess.Popen(command, cwd=folder, stderr=said, **user) as process:  # type: ignore[call-overload]
            try:
                _wait_until_ready(process, log)
                yield Postgres(port, count())
            finally:
                process.send_signal(signal.SIGQUIT)  # at once: nothing of it is needed
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged() -> str:
    import pwd

    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in names)


def _wait_until_ready(process: "subprocess.Popen[bytes]", log: Path) -> None:
    while b"ready to accept connections" not in log.read_bytes():
        assert process.poll() is None, log.read_text()
        os.sched_yield()
