"""A record of trials on a PostgreSQL server: sessions, their errors, and the turn to create its tables."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from typing import Any

import optuna
from sqlalchemy import Engine, create_engine, inspect, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from sweep.errors import MissingPackageError, RecordError, translate
from sweep.record_server import RecordServer

DRIVER = "postgresql+psycopg://"  # the rest is handed over apart: errors may quote an address, and it has a password
LEASE_S = (
    60  # after which the server ends a session whose process is frozen or gone, and with it what the session holds
)
FOR_WRITING = {"idle_in_transaction_session_timeout": LEASE_S * 1000}  # a frozen writer keeps its locks no longer
_CREATION = 7_305_114_877_129_440_001  # key of the advisory lock under which tables are created; any number of our own


def engine_options(server: RecordServer, keeps_sessions: bool, **settings: str) -> dict[str, Any]:
    """Return how SQLAlchemy opens sessions on the record. Raises MissingPackageError without psycopg.

    settings: the server's, for each session.
    """
    _check_is_installed(server)
    pool: dict[str, Any] = {"pool_pre_ping": True} if keeps_sessions else {"poolclass": NullPool}
    return {"connect_args": server.connect_args(**FOR_WRITING, **settings), **pool}


def open_sessions(server: RecordServer, **settings: str | int) -> Engine:
    """Open an engine that keeps no session for later. settings: the server's, for each of them."""
    _check_is_installed(server)
    return create_engine(DRIVER, poolclass=NullPool, connect_args=server.connect_args(**settings))


def open_kept_sessions(server: RecordServer) -> Engine:
    """Open an engine that keeps its sessions, to be closed by `dispose`."""
    return create_engine(DRIVER, **engine_options(server, keeps_sessions=True))


def has_record(server: RecordServer) -> bool:
    """Return whether all of Optuna's tables are there. Creates nothing. Raises RecordError for tables of MLflow."""
    tables = inspect(open_sessions(server))
    has_trials, has_revision = tables.has_table("studies"), tables.has_table("alembic_version")
    if has_revision and not has_trials:  # Optuna creates it last, and MLflow gives its own the same name
        raise RecordError(f"{server}: holds tables of another program; give the record a database of its own")
    return has_trials and has_revision


@contextmanager
def hold_creation(server: RecordServer) -> Iterator[None]:
    """Wait for the turn to create tables where some are missing, and hold it."""
    if has_record(server):
        yield
        return
    with open_sessions(server, **FOR_WRITING).begin() as turn:
        turn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _CREATION})
        yield


def create_table(server: RecordServer, name: str, statement: str) -> None:
    """Create a table where it is missing."""
    with open_sessions(server, **FOR_WRITING).begin() as turn:
        if not inspect(turn).has_table(name):
            turn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _CREATION})
            turn.execute(text(statement))


def translate_errors(server: RecordServer, verb: str) -> AbstractContextManager[None]:
    """Translate errors of the record on `server` into RecordError, without the password. verb: what cannot be done."""

    def into(error: Exception) -> RecordError:
        cause = error.__cause__ if isinstance(error, optuna.exceptions.StorageInternalError) else error
        said = " ".join(server.conceal(str(getattr(cause, "orig", cause))).split())
        return RecordError(
            f"cannot {verb} the record of trials {server}: {said}; check that the server runs and that this user may connect "
            "to this database and create tables in it; its password is read from SWEEP_RECORD, PGPASSWORD or ~/.pgpass"
        )

    return translate(optuna.exceptions.StorageInternalError, SQLAlchemyError, into=into)


def _check_is_installed(server: RecordServer) -> None:
    if find_spec("psycopg") is None:
        raise MissingPackageError(
            f"{server}: psycopg is not installed, which reads and writes PostgreSQL; `make setup` installs it, or: "
            "pip install psycopg psycopg-binary"
        )
