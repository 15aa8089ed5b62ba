"""MLflow as this program uses it: every name that enters from the package, and the settings that come first.

MLflow reads some settings when it is imported (its telemetry client starts there), so the environment is settled here too,
before the import, and no other file imports MLflow.
"""

# ruff: noqa: E402

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sweep.environment import settle

settle(os.environ)

from mlflow import MlflowClient as MlflowClient
from mlflow.artifacts import download_artifacts as download_artifacts
from mlflow.entities import Dataset as Dataset
from mlflow.entities import DatasetInput as DatasetInput
from mlflow.entities import Experiment as Experiment
from mlflow.entities import InputTag as InputTag
from mlflow.entities import LoggedModelOutput as LoggedModelOutput
from mlflow.entities import Metric as Metric
from mlflow.entities import Param as Param
from mlflow.entities import Run as Run
from mlflow.entities import ViewType
from mlflow.entities.model_registry import ModelVersion as ModelVersion
from mlflow.exceptions import MlflowException as MlflowException
from mlflow.models import Model as Model
from mlflow.models import ModelSignature as ModelSignature
from mlflow.store.tracking import DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH as DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH
from mlflow.store.tracking.dbmodels import models as dbmodels
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as SqlAlchemyStore
from mlflow.types import ColSpec as ColSpec
from mlflow.types import Schema as Schema
from mlflow.types import TensorSpec as TensorSpec
from mlflow.types.schema import AnyType
from mlflow.utils.credentials import read_mlflow_creds as read_mlflow_creds
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS as MLFLOW_MODEL_VERSIONS
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID as MLFLOW_PARENT_RUN_ID

__all__ = ["ALL", "ANY", "dbmodels", "send_once"]

ALL = ViewType.ALL  # runs, deleted ones included
ANY = AnyType()  # type: ignore[no-untyped-call]  # of a column

_RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"  # read anew by each request

for _name in ("mlflow", "alembic"):  # both announce each schema migration of a new database
    logging.getLogger(_name).setLevel(logging.WARNING)
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # tracebacks of errors that we tell in one line


class _Retries:
    """Counts who has switched the retries off, so that threads that overlap restore the setting once, at the end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_off = 0
        self._before = ""

    def switch_off(self) -> None:
        with self._lock:
            if self._n_off == 0:
                self._before = os.environ[_RETRIES]
                os.environ[_RETRIES] = "0"
            self._n_off += 1

    def switch_on(self) -> None:
        with self._lock:
            self._n_off -= 1
            if self._n_off == 0:
                os.environ[_RETRIES] = self._before


_retries = _Retries()


@contextmanager
def send_once() -> Iterator[None]:
    """Disable the MLflow client's retries. A call whose response was lost may have succeeded; repeating it would create a duplicate.

    The setting belongs to the process: requests of other threads are not retried meanwhile either, which their callers bear.
    """
    _retries.switch_off()
    try:
        yield
    finally:
        _retries.switch_on()
