"""How this program opens MLflow: its settings, its errors, its clients, a database of its own that moves with its folder."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_UV_AUTO_DETECT", "false")
# A server that is down is tried again by the tracker, with its trials kept; by MLflow's defaults one call takes 4 minutes.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
# Standard output is for our tables.
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.store.tracking import DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from sweep.durable.disk import sync
from sweep.durable.failpoint import failpoint
from sweep.durable.lock import hold_in_turn
from sweep.errors import TrackingError
from sweep.layout import RunsDir

STUDY_FILE, FACTS_FILE = "study.json", "data.json"  # artifacts of a study's parent run
MODEL_PATH = "data/model.keras"  # in a logged model
NOTE = "mlflow.note.content"  # the tag that MLflow's UI shows as the description of an experiment or a run
BUSY_S = 20  # to wait for another's transaction, as MLflow does
_RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"

# Where MLflow's database keeps absolute paths of artifacts.
_LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)

logger = logging.getLogger(__name__)

for _name in ("mlflow", "alembic"):  # both announce each schema migration of a new database
    logging.getLogger(_name).setLevel(logging.WARNING)
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # tracebacks of errors that we tell in one line


def open_client(runs: RunsDir) -> MlflowClient:
    """A client on the runs' server, or on their database, which is created if it is not there (2 to 3 s)."""
    runs.root.mkdir(parents=True, exist_ok=True)
    with translate_errors(runs):
        if runs.mlflow_server is None and not runs.mlflow_db.exists():
            _create_database(runs.mlflow_db)
        return MlflowClient(runs.mlflow_uri)


def _create_database(db: Path) -> None:
    """MLflow's tables, whole or not at all: one that was killed among its migrations can neither be used nor go on."""
    draft = db.with_name(f".{db.name}")
    with hold_in_turn(db.with_name(f".{db.name}.lock")):
        if db.exists():
            return
        for left in (draft, draft.with_name(f"{draft.name}-journal")):
            left.unlink(missing_ok=True)
        uri = f"sqlite:///{draft.absolute()}"
        SqlAlchemyStore(uri, DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH).engine.dispose()  # type: ignore[no-untyped-call]
        failpoint("track.database")
        draft.rename(db)
        sync(db.parent)


def follow_move(runs: RunsDir) -> None:
    """Point MLflow's database at its artifacts where the runs directory lies now.

    MLflow keeps absolute paths and has no call to change them: after a folder was moved or copied it would go on writing
    to the old place, and its UI would show nothing.
    """
    with translate_errors(runs):
        engine = create_engine(runs.mlflow_uri, connect_args={"timeout": BUSY_S})
        try:
            with engine.begin() as connection:
                found = connection.execute(text("SELECT name, artifact_location FROM experiments"))
                for name, old in found.fetchall():
                    new = str(runs.artifacts(name).absolute())
                    if old == new or not old.endswith(f"/{runs.all_artifacts.name}/{name}"):
                        continue
                    logger.info("runs of %s were moved here from %s", name, old)
                    for table, column in _LOCATIONS:
                        connection.execute(
                            text(
                                f"UPDATE {table} SET {column} = :new || substr({column}, length(:old) + 1) "
                                f"WHERE {column} = :old OR substr({column}, 1, length(:old) + 1) = :old || '/'"
                            ),
                            {"new": new, "old": old},
                        )
        finally:
            engine.dispose()


@contextmanager
def sent_once() -> Iterator[None]:
    """In here MLflow's client does not repeat a call whose answer is lost: it may have been carried out, and is no better twice."""
    before = os.environ[_RETRIES]
    os.environ[_RETRIES] = "0"
    try:
        yield
    finally:
        os.environ[_RETRIES] = before


@contextmanager
def translate_errors(runs: RunsDir) -> Iterator[None]:
    """MLflow's and its database's errors as a TrackingError that names the file or server."""
    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        first_line = _without_secrets(str(error) or type(error).__name__).splitlines()[0]
        raise TrackingError(f"MLflow at {runs.mlflow_name}: {first_line}") from error


def _without_secrets(text: str) -> str:
    """A server that refuses a password may quote it."""
    for name in ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"):
        if secret := os.environ.get(name):
            text = text.replace(secret, "***")
    return text


def all_runs(client: MlflowClient, experiment: str) -> list[Run]:
    """Every run of an experiment that is not deleted, page by page."""
    runs: list[Run] = []
    token = None
    while True:
        page = client.search_runs([experiment], max_results=1000, page_token=token)
        runs += page
        token = page.token
        if not token:
            return runs
