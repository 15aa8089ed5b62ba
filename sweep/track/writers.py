"""Writing runs: through MLflow's client where a server keeps them, as rows of MLflow's tables where they are at hand.

MLflow has no call that takes a run whole: through its client one takes four calls, five transactions and some sixty statements,
30 ms of the processor for 20 epochs, and no less with more processes, which wait for each other's locks. As rows it is there
with all its metrics in one transaction, which others share, and ends in another. The tables are those that MLflow itself
declares; a test compares what either way leaves, row by row.
"""

import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.dbmodels.models import (
    SqlDataset,
    SqlExperiment,
    SqlInput,
    SqlInputTag,
    SqlLatestMetric,
    SqlMetric,
    SqlParam,
    SqlRun,
    SqlTag,
)
from sqlalchemy import Connection, create_engine, insert, select, update

from sweep.durable.failpoint import failpoint
from sweep.layout import RunsDir
from sweep.track.client import BUSY_S, sent_once

Row = dict[str, Any]  # by column

_BATCH = 1000  # metrics that MLflow takes in one call


@dataclass(frozen=True)
class NewRun:
    """What a run is created with: finite metrics, times in milliseconds since 1970."""

    name: str
    started_at: int
    tags: dict[str, str]
    params: dict[str, str]
    metrics: Sequence[Metric]
    inputs: Sequence[DatasetInput]


@dataclass(frozen=True)
class End:
    """How a run ends: as FINISHED, KILLED or FAILED."""

    run_id: str
    status: str
    at: int  # milliseconds since 1970


class ClientRuns:
    """Runs of an experiment, written through the client. Each call may be repeated but `create`."""

    at_once = 1  # a kill leaves no more than one half written

    def __init__(self, client: MlflowClient, experiment: str) -> None:
        self._client = client
        self._experiment = experiment

    def create(self, runs: Sequence[NewRun]) -> list[str]:
        """Runs that are RUNNING and have all that is given; their ids."""
        return [self._create(new) for new in runs]

    def _create(self, new: NewRun) -> str:
        with sent_once():
            run = self._client.create_run(self._experiment, start_time=new.started_at, tags=new.tags, run_name=new.name)
        failpoint("client.created")
        self.fill(run.info.run_id, new)
        return str(run.info.run_id)

    def fill(self, run_id: str, new: NewRun) -> None:
        """Give a run that was cut off while it was created what it lacks of `new`."""
        params = [Param(name, value) for name, value in new.params.items()]
        for start in range(0, len(new.metrics), _BATCH):
            self._client.log_batch(run_id, new.metrics[start : start + _BATCH], params if start == 0 else ())
        failpoint("client.metrics")
        self._client.log_inputs(run_id, list(new.inputs))

    def add_files(self, run_id: str, files: Mapping[str, Path]) -> None:
        """Copies of `files` as artifacts, by name: in one call, for each opens the store anew."""
        with tempfile.TemporaryDirectory() as scratch:
            for name, path in files.items():
                (Path(scratch) / name).symlink_to(path.absolute())
            self._client.log_artifacts(run_id, scratch)

    def close(self, ends: Sequence[End]) -> None:
        for end in ends:
            self._client.set_terminated(end.run_id, end.status, end_time=end.at)


class TableRuns(ClientRuns):
    """The same in a database at hand, where runs are created in one transaction: whole or not at all.

    Many together cost little more than one: their rows lie on the same pages, each of which is written once.
    """

    at_once = 32

    def __init__(self, client: MlflowClient, experiment: str, runs: RunsDir, study: str) -> None:
        super().__init__(client, experiment)
        self._runs = runs
        self._study = study
        self._engine = create_engine(runs.mlflow_uri, connect_args={"timeout": BUSY_S})
        self._datasets: dict[tuple[str, str], str] = {}  # ids by name and digest

    def create(self, runs: Sequence[NewRun]) -> list[str]:
        ids = [uuid.uuid4().hex for _ in runs]
        edges = [edge for run_id, new in zip(ids, runs, strict=True) for edge in self._edges(run_id, new.inputs)]
        with self._engine.begin() as connection:
            for run_id, new in zip(ids, runs, strict=True):
                self._insert_run(connection, run_id, new)
            _insert(connection, SqlInput, [edge for edge, _ in edges])
            _insert(connection, SqlInputTag, [tag for _, tags in edges for tag in tags])
            self._check_is_active(connection)  # last: a transaction that first reads cannot wait for another's to end
            failpoint("track.rows")
        return ids

    def _check_is_active(self, connection: Connection) -> None:
        """As MLflow does, whose UI can delete an experiment while it is written to."""
        ours = {"experiment_id": int(self._experiment)}
        if connection.scalar(select(SqlExperiment.lifecycle_stage).filter_by(**ours)) != "active":
            raise MlflowException(f"experiment {self._study!r} was deleted; restore it there, or remove it for good")

    def _insert_run(self, connection: Connection, run_id: str, new: NewRun) -> None:
        _insert(connection, SqlRun, [self._row(run_id, new)])
        _insert(connection, SqlTag, _pairs(run_id, {**new.tags, "mlflow.runName": new.name}))
        _insert(connection, SqlParam, _pairs(run_id, new.params))
        points = [
            {"run_uuid": run_id, "key": m.key, "value": m.value, "timestamp": m.timestamp, "step": m.step, "is_nan": 0}
            for m in new.metrics
        ]
        _insert(connection, SqlMetric, points)
        in_order = sorted(points, key=lambda point: (point["step"], point["timestamp"], point["value"]))
        _insert(connection, SqlLatestMetric, list({point["key"]: point for point in in_order}.values()))

    def add_files(self, run_id: str, files: Mapping[str, Path]) -> None:
        folder = self._runs.run_artifacts(self._study, run_id)
        folder.mkdir(parents=True, exist_ok=True)
        for name, path in files.items():
            shutil.copyfile(path, folder / name)

    def close(self, ends: Sequence[End]) -> None:
        with self._engine.begin() as connection:
            for end in ends:
                changed = {"status": end.status, "end_time": end.at}
                connection.execute(update(SqlRun).where(SqlRun.run_uuid == end.run_id).values(changed))

    def _row(self, run_id: str, new: NewRun) -> Row:
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
            "status": "RUNNING",
            "start_time": new.started_at,
            "lifecycle_stage": "active",
        }

    def _edges(self, run_id: str, inputs: Sequence[DatasetInput]) -> Iterator[tuple[Row, list[Row]]]:
        """Rows that tie a run to the data sets it saw, each with those of its tags."""
        for given in inputs:
            edge_id = uuid.uuid4().hex
            edge = {"input_uuid": edge_id, "source_type": "DATASET", "source_id": self._dataset_id(given.dataset)}
            tags = [{"input_uuid": edge_id, "name": tag.key, "value": tag.value} for tag in given.tags]
            yield edge | {"destination_type": "RUN", "destination_id": run_id}, tags

    def _dataset_id(self, dataset: Dataset) -> str:
        """Of the row that serves all runs of the experiment, found or made."""
        named = (dataset.name, dataset.digest)
        if named not in self._datasets:
            row = {"experiment_id": int(self._experiment), "name": dataset.name, "digest": dataset.digest}
            with self._engine.begin() as connection:
                found = connection.scalar(select(SqlDataset.dataset_uuid).filter_by(**row))
                dataset_id = found or uuid.uuid4().hex
                if found is None:
                    row |= {"dataset_uuid": dataset_id, "dataset_source_type": dataset.source_type}
                    row |= {"dataset_source": dataset.source, "dataset_schema": dataset.schema}
                    connection.execute(insert(SqlDataset), [row | {"dataset_profile": dataset.profile}])
            self._datasets[named] = dataset_id
        return self._datasets[named]


def _pairs(run_id: str, values: Mapping[str, str]) -> list[Row]:
    return [{"run_uuid": run_id, "key": key, "value": value} for key, value in values.items()]


def _insert(connection: Connection, table: Any, rows: Sequence[Row]) -> None:
    """Rows of the same columns, handed to SQLite as they are: SQLAlchemy's care for each takes longer than writing it."""
    if not rows:
        return
    names = list(rows[0])
    connection.exec_driver_sql(
        f"INSERT INTO {table.__tablename__} ({', '.join(names)}) VALUES ({', '.join('?' for _ in names)})",
        [tuple(row.values()) for row in rows],
    )
