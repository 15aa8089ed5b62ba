"""The only room that knows MLflow's tables: it writes runs as rows, creates the database, and follows a moved folder.

MLflow has no call that takes a run whole: through its client one run takes four calls, five transactions and some sixty
statements, 30 ms of processor time for 20 epochs; more processes do not help, because they wait for each other's locks.
As rows, a run and all its metrics are one transaction, which many runs share, and ending it is another. The tables are those
that MLflow itself declares. A test compares what both ways leave, row by row, for one revision of the schema; under any other
revision, runs go through the client.
"""

import logging
import shutil
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, delete, insert, select, text, union, update

from sweep.durable.disk import sync
from sweep.durable.failpoint import failpoint
from sweep.durable.inside import refuse_links
from sweep.durable.lock import hold_in_turn
from sweep.errors import TrackingError
from sweep.layout import RunsDir
from sweep.track.errors import translate_errors
from sweep.track.fields import NewRun
from sweep.track.guard import CheckHold, guard_commits
from sweep.track.listing import ASKED, FoundRun
from sweep.track.mlflow_api import (
    DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH,
    Dataset,
    DatasetInput,
    MlflowClient,
    MlflowException,
    SqlAlchemyStore,
    dbmodels,
)
from sweep.track.names import RUNNING
from sweep.track.writers import ClientRuns, End

TESTED_REVISION = "dc11669786a5"  # of the schema of MLflow 3.17, in the table alembic_version
BUSY_S = 20  # to wait for another's transaction, as MLflow does

Row = dict[str, Any]  # by column

# Where MLflow's database keeps absolute paths of artifacts.
_LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)

logger = logging.getLogger(__name__)


def create_database(db: Path) -> None:
    """Create MLflow's database, whole or not at all: one that was killed among its migrations can never be used."""
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


def find_engine_of_client(runs: RunsDir) -> Engine | None:
    """Find the engine through which this process' clients write the runs' database; None where a server has it."""
    if runs.mlflow_server is not None:
        return None
    # All stores of a database share one engine (MLflow 3.17).
    return SqlAlchemyStore(runs.mlflow_uri, DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH).engine  # type: ignore[no-untyped-call]


def follow_move(runs: RunsDir) -> None:
    """Point MLflow's database at its artifacts where the runs directory lies now; nothing where a server keeps the runs.

    MLflow keeps absolute paths and has no call to change them: after a folder was moved or copied it would go on writing
    to the old place, and its UI would show nothing. Raises TrackingError where that cannot be mended.
    """
    if runs.mlflow_server is None:
        with translate_errors(runs), _opened(runs) as engine, engine.begin() as connection:
            _follow_move(connection, runs)


def settle_locations(runs: RunsDir, study: str) -> None:
    """Do what `follow_move` does, then check that MLflow keeps every file of `study` in the study's folder.

    MLflow writes where its database says, and whoever hands a runs directory over may have written there what they like.
    A server keeps files where it likes. Raises TrackingError.
    """
    if runs.mlflow_server is None:
        with translate_errors(runs), _opened(runs) as engine, engine.begin() as connection:
            _follow_move(connection, runs)
            _refuse_elsewhere(connection, runs, study)


def has_tested_schema(runs: RunsDir) -> bool:
    """Return whether the tables of MLflow's database are those that `TableRuns` was tested with; says so where they are not."""
    with _opened(runs) as engine, engine.connect() as connection:
        revision = _revision(connection)
    if revision == TESTED_REVISION:
        return True
    logger.warning(
        "MLflow's database has schema %s, this program was tested with %s: runs go through MLflow's client, slower",
        revision,
        TESTED_REVISION,
    )
    return False


def delete_edges(runs: RunsDir, run_ids: Collection[str]) -> None:
    """Delete the rows that tie runs to data sets and models, which MLflow leaves behind where it deletes a run for good."""
    edge, tag = dbmodels.SqlInput, dbmodels.SqlInputTag
    with _opened(runs) as engine, engine.begin() as connection:
        if _revision(connection) != TESTED_REVISION:
            return
        for run_id in run_ids:
            of_run: Any = (edge.source_id == run_id) | (edge.destination_id == run_id)
            connection.execute(delete(tag).where(tag.input_uuid.in_(select(edge.input_uuid).where(of_run))))
            connection.execute(delete(edge).where(of_run))


class TableRuns(ClientRuns):
    """Writes runs as rows of a database at hand. Runs are created in one transaction: whole or not at all.

    Many together cost little more than one: their rows lie on the same pages, each of which is written once.
    """

    at_once = 32

    def __init__(
        self, client: MlflowClient, experiment: str, runs: RunsDir, study: str, check_hold: CheckHold = lambda: None
    ) -> None:
        super().__init__(client, experiment)
        self._runs = runs
        self._study = study
        self._engine = _engine(runs)
        guard_commits(self._engine, check_hold)
        self._datasets: dict[tuple[str, str], str] = {}  # ids by name and digest

    def find_runs(self) -> list[FoundRun]:
        """Find the runs of the experiment, without their metrics: MLflow's client takes minutes for 100,000 of them."""
        run, tag, edge = dbmodels.SqlRun, dbmodels.SqlTag, dbmodels.SqlInput
        is_ours: Any = (run.experiment_id == int(self._experiment)) & (run.lifecycle_stage == "active")
        of_model: Any = (edge.source_type == "RUN_OUTPUT") & (edge.destination_type == "MODEL_OUTPUT")
        with self._engine.connect() as connection:
            runs: Any = connection.execute(select(run.run_uuid, run.status, run.start_time).where(is_ours)).all()
            tags: defaultdict[str, dict[str, str]] = defaultdict(dict)
            of_ours: Any = (
                select(tag.run_uuid, tag.key, tag.value).join(run, tag.run_uuid == run.run_uuid).where(is_ours)
            )
            for run_id, key, value in connection.execute(of_ours.where(tag.key.in_(ASKED))):
                tags[run_id][key] = value
            with_model: set[str] = set(connection.scalars(select(edge.source_id).where(of_model)))
        return [FoundRun(id_, status, start, tags[id_], id_ in with_model) for id_, status, start in runs]

    def create(self, runs: Sequence[NewRun]) -> list[str]:
        """Create runs, RUNNING, with everything that is given, in one transaction; return their ids."""
        ids = [uuid.uuid4().hex for _ in runs]
        edges = [edge for run_id, new in zip(ids, runs, strict=True) for edge in self._edges(run_id, new.inputs)]
        with self._engine.begin() as connection:
            for run_id, new in zip(ids, runs, strict=True):
                self._insert_run(connection, run_id, new)
            _insert(connection, dbmodels.SqlInput, [edge for edge, _ in edges])
            _insert(connection, dbmodels.SqlInputTag, [tag for _, tags in edges for tag in tags])
            self._check_is_active(connection)  # last: a transaction that first reads cannot wait for another's to end
            failpoint("track.rows")
        return ids

    def add_files(self, run_id: str, files: Mapping[str, Path]) -> None:
        """Copy `files`, by name, to the run's artifacts."""
        folder = self._runs.run_artifacts(self._study, run_id)
        refuse_links((folder.parent, folder, *(folder / name for name in files)))
        folder.mkdir(parents=True, exist_ok=True)
        for name, path in files.items():
            shutil.copyfile(path, folder / name)

    def close(self, ends: Sequence[End]) -> None:
        """End runs, in one transaction."""
        run = dbmodels.SqlRun
        with self._engine.begin() as connection:
            for end in ends:
                changed = {"status": end.status, "end_time": end.at}
                connection.execute(update(run).where(run.run_uuid == end.run_id).values(changed))

    def _check_is_active(self, connection: Connection) -> None:
        """Raise MlflowException where the experiment was deleted, as MLflow does: its UI can delete one in use."""
        ours = {"experiment_id": int(self._experiment)}
        if connection.scalar(select(dbmodels.SqlExperiment.lifecycle_stage).filter_by(**ours)) != "active":
            raise MlflowException(f"experiment {self._study!r} was deleted; restore it there, or remove it for good")

    def _insert_run(self, connection: Connection, run_id: str, new: NewRun) -> None:
        _insert(connection, dbmodels.SqlRun, [self._run_row(run_id, new)])
        _insert(connection, dbmodels.SqlTag, _pairs(run_id, {**new.tags, "mlflow.runName": new.name}))
        _insert(connection, dbmodels.SqlParam, _pairs(run_id, new.params))
        points = [
            {"run_uuid": run_id, "key": m.key, "value": m.value, "timestamp": m.timestamp, "step": m.step, "is_nan": 0}
            for m in new.metrics
        ]
        _insert(connection, dbmodels.SqlMetric, points)
        in_order = sorted(points, key=lambda point: (point["step"], point["timestamp"], point["value"]))
        _insert(connection, dbmodels.SqlLatestMetric, list({point["key"]: point for point in in_order}.values()))

    def _run_row(self, run_id: str, new: NewRun) -> Row:
        return {
            "run_uuid": run_id,
            "experiment_id": int(self._experiment),
            "name": new.name,
            "artifact_uri": str(self._runs.run_artifacts(self._study, run_id).absolute()),
            "source_type": "UNKNOWN",
            "source_name": "",
            "entry_point_name": "",
            "source_version": "",
            "user_id": "unknown",
            "status": RUNNING,
            "start_time": new.started_at,
            "lifecycle_stage": "active",
        }

    def _edges(self, run_id: str, inputs: Sequence[DatasetInput]) -> Iterator[tuple[Row, list[Row]]]:
        """Yield the row that ties a run to each data set it saw, with the rows of its tags."""
        for given in inputs:
            edge_id = uuid.uuid4().hex
            edge = {"input_uuid": edge_id, "source_type": "DATASET", "source_id": self._dataset_id(given.dataset)}
            tags = [{"input_uuid": edge_id, "name": tag.key, "value": tag.value} for tag in given.tags]
            yield edge | {"destination_type": "RUN", "destination_id": run_id}, tags

    def _dataset_id(self, dataset: Dataset) -> str:
        """Find or insert the row of a data set, which serves all runs of the experiment; return its id."""
        named = (dataset.name, dataset.digest)
        if named not in self._datasets:
            with self._engine.begin() as connection:
                self._datasets[named] = _find_or_insert_dataset(connection, int(self._experiment), dataset)
        return self._datasets[named]


def _engine(runs: RunsDir) -> Engine:
    return create_engine(runs.mlflow_uri, connect_args={"timeout": BUSY_S})


@contextmanager
def _opened(runs: RunsDir) -> Iterator[Engine]:
    engine = _engine(runs)
    try:
        yield engine
    finally:
        engine.dispose()


def _revision(connection: Connection) -> str | None:
    found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return found


def _follow_move(connection: Connection, runs: RunsDir) -> None:
    found = connection.execute(text("SELECT name, artifact_location FROM experiments"))
    for name, old in found.fetchall():
        new = str(runs.artifacts(name).absolute())
        if old != new and old.endswith(f"/{runs.all_artifacts.name}/{name}"):
            _check_can_move(connection, runs)
            logger.info("runs of %s were moved here from %s", name, old)
            _move(connection, old, new)


def _refuse_elsewhere(connection: Connection, runs: RunsDir, study: str) -> None:
    experiment, run, model = dbmodels.SqlExperiment, dbmodels.SqlRun, dbmodels.SqlLoggedModel
    ours = select(experiment.experiment_id).where(experiment.name == study).scalar_subquery()
    places: Any = union(
        select(experiment.artifact_location).where(experiment.name == study),
        select(run.artifact_uri).where(run.experiment_id == ours),
        select(model.artifact_location).where(model.experiment_id == ours),
    )
    folder = str(runs.artifacts(study).absolute())
    for (place,) in connection.execute(places):
        if not f"{place}/".startswith(f"{folder}/") or ".." in place.split("/"):
            raise TrackingError(
                f"MLflow at {runs.mlflow_name}: files of {study!r} are kept at {place}, outside of {folder}, where this "
                f"program does not write; start over with `{runs.delete_command(study)}`"
            )


def _check_can_move(connection: Connection, runs: RunsDir) -> None:
    revision = _revision(connection)
    if revision != TESTED_REVISION:
        raise TrackingError(
            f"MLflow at {runs.mlflow_name}: the folder was moved, and its database has schema {revision}, whose tables this "
            f"program does not know (it knows {TESTED_REVISION}); move the folder back, or install the locked MLflow"
        )


def _move(connection: Connection, old: str, new: str) -> None:
    """Replace the folder `old` by `new` in every path of an artifact."""
    for table, column in _LOCATIONS:
        connection.execute(
            text(
                f"UPDATE {table} SET {column} = :new || substr({column}, length(:old) + 1) "
                f"WHERE {column} = :old OR substr({column}, 1, length(:old) + 1) = :old || '/'"
            ),
            {"new": new, "old": old},
        )


def _find_or_insert_dataset(connection: Connection, experiment: int, dataset: Dataset) -> str:
    table = dbmodels.SqlDataset
    row = {"experiment_id": experiment, "name": dataset.name, "digest": dataset.digest}
    found: str | None = connection.scalar(select(table.dataset_uuid).filter_by(**row))
    if found is not None:
        return found
    made = uuid.uuid4().hex
    row |= {"dataset_uuid": made, "dataset_source_type": dataset.source_type, "dataset_source": dataset.source}
    row |= {"dataset_schema": dataset.schema, "dataset_profile": dataset.profile}
    connection.execute(insert(table), [row])
    return made


def _pairs(run_id: str, values: Mapping[str, str]) -> list[Row]:
    return [{"run_uuid": run_id, "key": key, "value": value} for key, value in values.items()]


def _insert(connection: Connection, table: Any, rows: Sequence[Row]) -> None:
    """Insert rows of the same columns, handed to SQLite as they are: SQLAlchemy's care for each takes longer than writing it."""
    if not rows:
        return
    names = list(rows[0])
    connection.exec_driver_sql(
        f"INSERT INTO {table.__tablename__} ({', '.join(names)}) VALUES ({', '.join('?' for _ in names)})",
        [tuple(row.values()) for row in rows],
    )
