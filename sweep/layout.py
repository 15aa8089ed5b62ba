"""Paths below the runs directory, which is `mlruns/` unless `--runs-dir` names another."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sweep.errors import InvalidSettingError
from sweep.record_server import RecordServer


def tracking_server(uri: str | None) -> str | None:
    """Return the address of the tracking server in `uri`, the value of MLFLOW_TRACKING_URI; None if it is unset.

    Raises InvalidSettingError for anything but a plain http(s) address. The message does not quote `uri`, which may
    hold a password.
    """
    if not uri:
        return None
    try:
        address = urlsplit(uri)
        is_plain = address.scheme in ("http", "https") and bool(address.hostname) and address.port != 0
    except ValueError:  # it quotes the address
        is_plain = False
    if not is_plain:
        raise InvalidSettingError(
            "MLFLOW_TRACKING_URI: must be the http:// or https:// address of a tracking server; unset it to keep runs in "
            "mlflow.db below --runs-dir"
        )
    if address.username or address.password or address.query:
        raise InvalidSettingError(
            "MLFLOW_TRACKING_URI: must not hold a user, a password or a query; set MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD instead"
        )
    return uri


def refuse_registry(uri: str | None, server: str | None) -> None:
    """Raise InvalidSettingError where `uri`, the value of MLFLOW_REGISTRY_URI, is another place than where runs are kept."""
    if uri and uri != server:
        raise InvalidSettingError(
            "MLFLOW_REGISTRY_URI: models are registered where their runs are, in mlflow.db below --runs-dir or on the server "
            "of MLFLOW_TRACKING_URI; unset it"
        )


@dataclass(frozen=True)
class RunsDir:
    """Paths below one runs directory, and the addresses of servers in place of its databases. Nothing is created here."""

    root: Path
    mlflow_server: str | None = None  # http(s) address of a tracking server; None for `mlflow_db`
    record_server: RecordServer | None = None  # None for `optuna_db`

    def __post_init__(self) -> None:
        """Refuse a path that Optuna and MLflow would misread, because they take it as part of an address.

        Raises InvalidSettingError.
        """
        path = str(self.root.absolute())
        if "?" in path or unquote(path) != path:
            raise InvalidSettingError(
                f"--runs-dir: {path} holds a '?', or a '%' that stands for a character in an address, and its databases "
                "would be looked for elsewhere; choose a folder without"
            )

    @property
    def mlflow_db(self) -> Path:
        return self.root / "mlflow.db"

    @property
    def mlflow_uri(self) -> str:
        return self.mlflow_server or f"sqlite:///{self.mlflow_db.absolute()}"

    @property
    def mlflow_name(self) -> str:
        """Name of MLflow for messages."""
        return self.mlflow_server or str(self.mlflow_db)

    @property
    def optuna_db(self) -> Path:
        return self.root / "optuna.db"  # a file of its own: Optuna and MLflow share the name of a schema table

    @property
    def record(self) -> Path | RecordServer:
        """Place of the record of trials."""
        return self.record_server or self.optuna_db

    @property
    def holds_databases(self) -> bool:
        """Whether a database is kept in files of this directory."""
        return self.record_server is None or self.mlflow_server is None

    @property
    def data_cache(self) -> Path:
        return self.root / "cache"

    @property
    def programs(self) -> Path:
        return self.data_cache / "programs"  # compiled by JAX

    @property
    def downloads(self) -> Path:
        return self.data_cache / "mlflow"  # fetched from a tracking server

    @property
    def all_artifacts(self) -> Path:
        return self.root / "artifacts"

    def artifacts(self, study: str) -> Path:
        return self.all_artifacts / study

    def run_artifacts(self, study: str, run_id: str) -> Path:
        return self.artifacts(study) / run_id / "artifacts"

    def given(self, study: str) -> Path:
        """Return where the rows that a program gave to `sweep.run` are kept, with the study that names them."""
        return self.root / "given" / study

    def results(self, study: str) -> Path:
        return self.root / "results" / study

    def deleted_results(self, study: str) -> Path:
        """Return where the results of a study lie that is deleted but for them."""
        return self.root / "results" / f".{study}.deleted"

    def logs(self, study: str) -> Path:
        return self.root / "logs" / study

    def reports(self, study: str) -> Path:
        return self.root / "reports" / study

    @property
    def all_exports(self) -> Path:
        return self.root / "exports"

    def exports(self, study: str) -> Path:
        return self.all_exports / study

    def deleted_exports(self, study: str) -> Path:
        """Return where a bundle lies while its files are deleted, so that no half of one has its name."""
        return self.all_exports / f".{study}.deleted"

    def list_places(self) -> Iterator[Path]:
        """Yield the places that are ours alone: databases, with the files that SQLite keeps beside, folders, and what lies in those."""
        for db in (self.mlflow_db, self.optuna_db):
            yield from (db.with_name(f"{db.name}{end}") for end in ("", "-journal", "-wal", "-shm"))
        others = (self.root / name for name in ("given", "logs", "reports", "results"))
        for folder in (self.all_artifacts, self.all_exports, self.data_cache, *others):
            yield folder
            if folder.is_dir():
                yield from folder.iterdir()
        yield from (self.root / "logs").glob("*/*")  # the only files that are not replaced as a whole

    def delete_command(self, study: str) -> str:
        """Return the command that deletes a study, for messages."""
        place = "" if self.root == Path("mlruns") else f" --runs-dir {shlex.quote(str(self.root))}"
        record = "" if self.record_server is None else f" --record {shlex.quote(str(self.record_server))}"
        return f"python -m sweep delete {study}{place}{record}"
