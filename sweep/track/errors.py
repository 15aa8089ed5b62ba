"""Errors of MLflow and of its database, translated to ours, without the secrets they may quote."""

import os
from contextlib import AbstractContextManager

from sqlalchemy.exc import SQLAlchemyError

from sweep.durable.inside import check_name
from sweep.errors import TrackingError, translate
from sweep.layout import RunsDir
from sweep.masking import mask
from sweep.track.mlflow_api import MlflowException, read_mlflow_creds

REWRITE = "delete the run in MLflow, and `sync` writes it anew"  # the way out where a run is not what was written


def translate_errors(runs: RunsDir) -> AbstractContextManager[None]:
    """Raise errors of MLflow and its database as a TrackingError that names the database file or the server."""

    def into(error: Exception) -> TrackingError:
        first_line = mask(str(error) or type(error).__name__, _list_secrets()).splitlines()[0]
        return TrackingError(f"MLflow at {runs.mlflow_name}: {first_line}")

    return translate(MlflowException, SQLAlchemyError, OSError, into=into)


def check_id(given: object) -> str:
    """Return the id of a run or a model, which becomes a folder's name. Raises MlflowException where it cannot."""
    try:
        check_name(str(given))
    except ValueError as error:
        raise MlflowException(f"{given!r:.100} is no id of a run or a model") from error
    return str(given)


def _list_secrets() -> list[str]:
    """List what authenticates us, from the environment or from MLflow's credentials file."""
    user, password = read_mlflow_creds()
    return [os.environ.get("MLFLOW_TRACKING_TOKEN", ""), password or "", f"{user}:{password}" if password else ""]
