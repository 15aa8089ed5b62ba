"""Hold a study: one coordinator at a time, on whatever machine, and no write of one that has lost its hold.

On a SQLite record the kernel's lock on a file is enough: it goes with its process. Where a server keeps the record, another
machine may take a study over while its holder is frozen or cut off, and the holder may wake up later. So a holder has two
things there: an advisory lock of a session of its own, which the server ends when it has been silent for `LEASE_S`, and a
fencing number. Whoever holds the study next removes the number, and every transaction that writes begins by reading it under
a lock: none commits after that. https://martin.kleppmann.com/2016/02/08/how-to-do-distributed-locking.html
"""

import hashlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn, Protocol

from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import SQLAlchemyError

from sweep.durable.failpoint import failpoint
from sweep.durable.files import make_folder
from sweep.durable.lock import hold, read_holder
from sweep.errors import LostStudyError, RecordError, StudyInUseError
from sweep.layout import RunsDir
from sweep.record import results
from sweep.record.server import LEASE_S, create_table, open_kept_sessions, open_sessions, translate_errors
from sweep.record_server import RecordServer

PING_S = LEASE_S / 6
TABLE = "sweep_coordinators"
_CREATE = f"""
    CREATE TABLE IF NOT EXISTS {TABLE} (
        number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        study text NOT NULL,
        host text NOT NULL,
        pid bigint NOT NULL,
        since timestamptz NOT NULL DEFAULT now()
    )"""
_TAKE = f"""
    WITH earlier AS (DELETE FROM {TABLE} WHERE study = :study)
    INSERT INTO {TABLE} (study, host, pid) VALUES (:study, :host, :pid) RETURNING number"""
_HOLDER = f"""
    SELECT format('host %s, pid %s, since %s UTC', host, pid, to_char(since AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'))
    FROM {TABLE} WHERE study = :study ORDER BY number DESC LIMIT 1"""
# A key of 64 bits is shown as two of 32: https://www.postgresql.org/docs/current/view-pg-locks.html
_IS_HELD = """
    SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted
    AND ((classid::bigint << 32) | objid::bigint) = :key
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
# Whoever takes the study over waits for the end of the transaction that has read this.
_CHECK = f"SELECT number FROM {TABLE} WHERE number = :number FOR SHARE"


class Hold(Protocol):
    """A study that this process holds."""

    def poll(self) -> None:
        """Raise LostStudyError if the study is known to be lost. Asks nobody."""

    def check(self) -> None:
        """Raise LostStudyError if the study is lost. Call this before writing where no transaction checks it."""

    def guard(self, engine: Engine) -> None:
        """Have every transaction of `engine` raise LostStudyError, and change nothing, if the study is lost. Close it at the end."""


class FileHold:
    """The lock on a file, which cannot be lost; or none, where nobody else is at work."""

    def poll(self) -> None:
        """Do nothing."""

    def check(self) -> None:
        """Do nothing."""

    def guard(self, engine: Engine) -> None:
        """Do nothing."""


ALONE = FileHold()


class ServerHold:
    """The number under which a server has this process hold a study, and the session that has the lock."""

    def __init__(self, server: RecordServer, study: str, session: Connection, number: int) -> None:
        self._server, self._study, self._session, self._number = server, study, session, number
        self._checks = open_kept_sessions(server)
        self._opened = [self._checks]
        self._trouble: str | None = None
        self._answered_at = time.monotonic()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="sweep-hold", daemon=True)
        self._thread.start()

    def poll(self) -> None:
        silent_s = time.monotonic() - self._answered_at
        if self._trouble is None and silent_s > LEASE_S:
            self._trouble = f"the server was not heard for {silent_s:.0f} s"
        if self._trouble is not None:
            self._raise_lost(self._trouble)

    def check(self) -> None:
        self.poll()
        with translate_errors(self._server, "read"):
            try:
                with self._checks.begin() as connection:
                    self._check(connection)
            except SQLAlchemyError:
                self.poll()  # a process that was frozen here is told that first
                raise

    def guard(self, engine: Engine) -> None:
        event.listen(engine, "begin", self._check)
        self._opened.append(engine)

    def end(self) -> None:
        """Let the study go. Safe to call when it is lost."""
        self._ending.set()
        self._thread.join()
        for engine in self._opened:
            engine.dispose()
        with suppress(SQLAlchemyError):
            self._session.execute(text(f"DELETE FROM {TABLE} WHERE number = :number"), {"number": self._number})

    def _check(self, connection: Connection) -> None:
        self.poll()
        if connection.execute(text(_CHECK), {"number": self._number}).first() is None:
            self._raise_lost("another one took it over")

    def _raise_lost(self, why: str) -> NoReturn:
        raise LostStudyError(
            f"this coordinator no longer holds study {self._study!r} in {self._server}: {why}; it has stopped, and what it had "
            "not yet recorded is left to the one that holds it now, or to the same command"
        )

    def _keep(self) -> None:
        """Speak to the server before it takes this process for dead, until this ends or the session has."""
        while not self._ending.wait(PING_S):
            try:
                self._session.execute(text("SELECT 1"))
            except SQLAlchemyError as error:
                said = self._server.conceal(str(getattr(error, "orig", error)))
                self._trouble = f"the session that held it has ended ({' '.join(said.split())})"
                return
            self._answered_at = time.monotonic()


@contextmanager
def hold_study(runs: RunsDir, study: str) -> Iterator[Hold]:
    """Hold `study` until this is left; its folder of results is created.

    Raises StudyInUseError if another process holds it, RecordError if the record's server does not answer.
    """
    folder = runs.results(study)
    make_folder(folder)
    if runs.record_server is not None:
        with _hold_on_server(runs.record_server, study) as held:
            yield held
    else:
        with hold(folder / results.LOCK):
            yield ALONE


@contextmanager
def _hold_on_server(server: RecordServer, study: str) -> Iterator[ServerHold]:
    engine = open_sessions(server, idle_session_timeout=round(LEASE_S * 1000))
    with translate_errors(server, "open"):
        create_table(server, TABLE, _CREATE)
        session = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    try:
        with translate_errors(server, "open"):
            held = ServerHold(server, study, session, _take(session, server, study))
        try:
            yield held
        finally:
            held.end()
    finally:
        session.close()


def find_holder(runs: RunsDir, study: str) -> str | None:
    """Name the process that holds a study; None where none does. Takes nothing. Raises RecordError."""
    if runs.record_server is None:
        return read_holder(runs.results(study) / results.LOCK)
    with translate_errors(runs.record_server, "read"), open_sessions(runs.record_server).connect() as session:
        is_held = session.scalar(text(_IS_HELD), {"key": _key_of(study)})
        return session.scalar(text(_HOLDER), {"study": study}) if is_held else None


def _take(session: Connection, server: RecordServer, study: str) -> int:
    """Take the lock on `study` in this session, and a new number. Raises StudyInUseError."""
    if not session.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": _key_of(study)}):
        holder = session.scalar(text(_HOLDER), {"study": study})
        raise StudyInUseError(
            f"another sweep is at work on this study: {holder}; wait for it or stop it; if its machine is frozen or gone, "
            f"{server} lets the study go {LEASE_S:.0f} s after it was last heard"
        )
    failpoint("hold.locked")
    values = {"study": study, "host": socket.gethostname(), "pid": os.getpid()}
    number = session.scalar(text(_TAKE), values)
    failpoint("hold.taken")
    if number is None:
        raise RecordError(f"cannot open the record of trials {server}: it gave no number to study {study!r}")
    return int(number)


def _key_of(study: str) -> int:
    """Return the key of a study's advisory lock, which PostgreSQL wants as a signed number of 64 bits."""
    return int.from_bytes(hashlib.sha256(f"sweep study {study}".encode()).digest()[:8], signed=True)
