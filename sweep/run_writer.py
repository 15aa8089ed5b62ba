"""Writing one run: through MLflow's client where a server keeps it, as rows of MLflow's tables where they are at hand.

MLflow has no call that takes a run whole: through its client one takes four calls, five transactions and some sixty statements,
30 ms of the processor for 20 epochs, and no less with more processes, which wait for each other's locks. As rows it is one
transaction. The tables are those that MLflow itself declares; a test compares what either way leaves, row by row.
"""

import shutil
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, Metric, Param
from mlflow.store.tracking.dbmodels.models import (
    SqlDataset,
    SqlInput,
    SqlInputTag,
    SqlLatestMetric,
    SqlMetric,
    SqlParam,
    SqlRun,
    SqlTag,
)
from sqlalchemy import Connection, create_engine, insert, select, update

from sweep.failpoint import failpoint
from sweep.mlflow_store import sent_once

_BATCH = 1000  # metrics that MLflow takes in one call
_BUSY_S = 20  # to wait for another's transaction, as MLflow does


@dataclass(frozen=True)
class NewRun:
    """What a run is created with: finite metrics, times in milliseconds since 1970."""

    name: str
    started_at: int
    tags: dict[str, str]
    params: dict[str, str]
    metrics: Sequence[Metric]
    inputs: Sequence[DatasetInput]


class ClientRuns:
    """Runs of an experiment, written through the client. Each call may be repeated but `create`."""

    def __init__(self, client: MlflowClient, experiment: str) -> None:
        self._client = client
        self._experiment = experiment

    def create(self, new: NewRun) -> str:
        """A run that is RUNNING and has all of `new`; its id."""
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

    def close(self, run_id: str, status: str, ended_at: int) -> None:
        """End a run as FINISHED, KILLED or FAILED."""
        self._client.set_terminated(run_id, status, end_time=ended_at)


class TableRuns(ClientRuns):
    """The same in a database at hand, where a run is created in one transaction: whole or not at all."""

    def __init__(self, client: MlflowClient, experiment: str, uri: str) -> None:
        super().__init__(client, experiment)
        self._engine = create_engine(uri, connect_args={"timeout": _BUSY_S})
        self._datasets: dict[tuple[str, str], str] = {}  # ids by name and digest
        self._artifacts = Path(client.get_experiment(experiment).artifact_location)

    def create(self, new: NewRun) -> str:
        run_id = uuid.uuid4().hex
        edges, of_edges = self._edges(run_id, new.inputs)
        with self._engine.begin() as connection:
            _insert(connection, SqlRun, [self._row(run_id, new)])
            _insert(connection, SqlTag, _pairs(run_id, {**new.tags, "mlflow.runName": new.name}))
            _insert(connection, SqlParam, _pairs(run_id, new.params))
            points = [
                {
                    "run_uuid": run_id,
                    "key": m.key,
                    "value": m.value,
                    "timestamp": m.timestamp,
                    "step": m.step,
                    "is_nan": 0,
                }
                for m in new.metrics
            ]
            _insert(connection, SqlMetric, points)
            in_order = sorted(points, key=lambda point: (point["step"], point["timestamp"], point["value"]))
            _insert(connection, SqlLatestMetric, list({point["key"]: point for point in in_order}.values()))
            _insert(connection, SqlInput, edges)
            _insert(connection, SqlInputTag, of_edges)
            failpoint("track.rows")
        return run_id

    def add_files(self, run_id: str, files: Mapping[str, Path]) -> None:
        folder = self._artifacts / run_id / "artifacts"
        folder.mkdir(parents=True, exist_ok=True)
        for name, path in files.items():
            shutil.copyfile(path, folder / name)

    def close(self, run_id: str, status: str, ended_at: int) -> None:
        with self._engine.begin() as connection:
            connection.execute(update(SqlRun).where(SqlRun.run_uuid == run_id).values(status=status, end_time=ended_at))

    def _row(self, run_id: str, new: NewRun) -> dict[str, Any]:
        return {
            "run_uuid": run_id,
            "experiment_id": int(self._experiment),
            "name": new.name,
            "artifact_uri": f"{self._artifacts}/{run_id}/artifacts",
            "source_type": "UNKNOWN",
            "source_name": "",
            "entry_point_name": "",
            "source_version": "",
            "user_id": "unknown",
            "status": "RUNNING",
            "start_time": new.started_at,
            "lifecycle_stage": "active",
        }

    def _edges(self, run_id: str, inputs: Sequence[DatasetInput]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Rows that tie a run to the data sets it saw, and their tags."""
        edges, tags = [], []
        for given in inputs:
            edge = {"input_uuid": uuid.uuid4().hex, "source_type": "DATASET", "destination_type": "RUN"}
            edges.append(edge | {"source_id": self._dataset_id(given.dataset), "destination_id": run_id})
            tags += [{"input_uuid": edge["input_uuid"], "name": tag.key, "value": tag.value} for tag in given.tags]
        return edges, tags

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


def _pairs(run_id: str, values: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"run_uuid": run_id, "key": key, "value": value} for key, value in values.items()]


def _insert(connection: Connection, table: Any, rows: Sequence[dict[str, Any]]) -> None:
    """Rows of the same columns, handed to SQLite as they are: SQLAlchemy's care for each takes longer than writing it."""
    names = list(rows[0])
    connection.exec_driver_sql(
        f"INSERT INTO {table.__tablename__} ({', '.join(names)}) VALUES ({', '.join('?' for _ in names)})",
        [tuple(row.values()) for row in rows],
    )
