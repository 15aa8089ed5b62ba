"""Optuna's storage, where the record of trials is kept: opened, and a study's names and identity in it."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import optuna
from sqlalchemy.exc import SQLAlchemyError

from sweep.data.facts import DataFacts
from sweep.durable.failpoint import failpoint
from sweep.durable.lock import hold_in_turn
from sweep.errors import ChangedStudyError, MissingRunsError, RecordError, translate
from sweep.record import server
from sweep.record.hold import ALONE, Hold
from sweep.record.rows import Storage
from sweep.record_server import RecordServer
from sweep.study.schema import Study, differences

optuna.logging.set_verbosity(optuna.logging.WARNING)

Where: TypeAlias = Path | RecordServer  # a SQLite file, or a database of a PostgreSQL server

_BUSY_S = 60  # how long to wait for the transaction of another process


def open_storage(where: Where, hold: Hold = ALONE) -> Storage:
    """Open the storage at `where`; create its tables where they are missing. Raises errors that `translate_errors` knows.

    hold: of a study, without which nothing is written from now on.
    """
    if isinstance(where, RecordServer):
        return _open_on_server(where, hold)
    return Storage(f"sqlite:///{where}", engine_kwargs={"connect_args": {"timeout": _BUSY_S}})


def open_for_reader(where: Where) -> Storage:
    """Open a storage that is there, to be read while another process writes it. Raises MissingRunsError, RecordError."""
    return open_to_read(where) if isinstance(where, RecordServer) else open_storage(where)


def open_to_read(where: RecordServer) -> Storage:
    """Open the storage on a server, which lets nothing be written to it. Raises MissingRunsError, RecordError."""
    with translate_errors(where, "read"):
        if not _exists(where):
            raise MissingRunsError(f"{where}: holds no study; run one first: make sweep")
        options = server.engine_options(where, keeps_sessions=False, default_transaction_read_only="on")
        return Storage(server.DRIVER, engine_kwargs=options)


def _open_on_server(where: RecordServer, hold: Hold) -> Storage:
    options = server.engine_options(where, keeps_sessions=hold is not ALONE)  # for as long as the hold
    storage = Storage(server.DRIVER, engine_kwargs=options)
    hold.guard(storage.engine)
    return storage


@contextmanager
def hold_creation(where: Where) -> Iterator[None]:
    """Wait for the turn to create what is missing at `where`: Optuna fails where two processes create its tables at once."""
    if isinstance(where, RecordServer):
        with server.hold_creation(where):
            yield
        return
    where.parent.mkdir(parents=True, exist_ok=True)
    with hold_in_turn(where.with_name(f".{where.name}.lock")):
        yield


def translate_errors(where: Where, verb: str) -> AbstractContextManager[None]:
    """Translate errors of the storage at `where` into RecordError. verb: what cannot be done there."""

    if isinstance(where, RecordServer):
        return server.translate_errors(where, verb)

    def into(error: Exception) -> RecordError:
        first_line = str(error).splitlines()[0]
        return RecordError(
            f"cannot {verb} the record of trials {where}: {first_line}; check that the disk has room and that the file is "
            "readable and writable; if it is damaged, restore it from a copy, or choose another --runs-dir"
        )

    return translate(optuna.exceptions.StorageInternalError, SQLAlchemyError, into=into)


def is_recorded(where: Where, study: str) -> bool:
    """Return whether the record holds a study of that name. Creates nothing. Raises RecordError."""
    with translate_errors(where, "read"):
        return _exists(where) and study in optuna.study.get_all_study_names(open_storage(where))


def list_recorded(where: Where) -> list[str]:
    """Return the names of the studies in the record. Creates nothing. Raises RecordError."""
    with translate_errors(where, "read"):
        if not _exists(where):
            return []
        return [name for name in optuna.study.get_all_study_names(open_for_reader(where)) if "/" not in name]


def count_recorded(where: Where, study: str) -> int | None:
    """Count the trials that the record holds of a study, replicates included; None where it holds no such study. Raises RecordError."""
    with translate_errors(where, "read"):
        if not _exists(where):
            return None
        storage = open_storage(where)
        held = set(optuna.study.get_all_study_names(storage)) & set(list_names(study))
        counts = [storage.get_n_trials(storage.get_study_id_from_name(name)) for name in held]
    return sum(counts) if held else None


def _exists(where: Where) -> bool:
    """Return whether the tables of a record are there, or at least their file. Creates nothing."""
    return server.has_record(where) if isinstance(where, RecordServer) else where.exists()


def delete_recorded(where: Where, study: str, hold: Hold = ALONE) -> None:
    """Delete what `count_recorded` counts. Safe to repeat. Raises RecordError."""
    with translate_errors(where, "write"):
        storage = open_storage(where, hold)
        for name in set(optuna.study.get_all_study_names(storage)) & set(list_names(study)):
            optuna.delete_study(study_name=name, storage=storage)
            failpoint("delete.recorded")


def list_names(study: str) -> tuple[str, str]:
    """Return the names under which Optuna keeps the search and the confirmation."""
    return study, f"{study}/confirm"


def identify(study: Study, facts: DataFacts) -> dict[str, Any]:
    """Return what decides results: the study's keys, the data, and how numbers are scaled. Pixels have one way only."""
    identity = study.canonical()
    identity["data"]["sha256"] = facts.sha256
    if facts.scaling != "pixels":
        identity["data"]["scaling"] = facts.scaling
    return identity


def check_identity(stored: optuna.Study, name: str, identity: dict[str, Any]) -> None:
    """Write the identity of a new study; raise ChangedStudyError if a stored one has another."""
    before = stored.user_attrs.get("study")
    if before is None:
        stored.set_user_attr("study", identity)
    elif changes := differences(before, identity):
        if "scaling" in identity["data"] and "scaling" not in before["data"]:
            changes.append("an earlier version rounded numbers to float32 and standardized them")
        raise ChangedStudyError(
            f"study {name!r} has changed since its trials were recorded ({'; '.join(changes)}): "
            "old and new results cannot be compared in one table; undo the change, or give the study a new name and "
            f"take over the trials that are still valid with --fork {name}"
        )
