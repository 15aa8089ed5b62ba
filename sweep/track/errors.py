"""Errors of MLflow and of its database, translated to ours, without the secrets they may quote."""

import os
from contextlib import AbstractContextManager

from sqlalchemy.exc import SQLAlchemyError

from sweep.errors import TrackingError, translate
from sweep.layout import RunsDir
from sweep.track.mlflow_api import MlflowException

SECRETS = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
REWRITE = "delete the run in MLflow, and `sync` writes it anew"  # the way out where a run is not what was written


def translate_errors(runs: RunsDir) -> AbstractContextManager[None]:
    """Raise errors of MLflow and its database as a TrackingError that names the database file or the server."""

    def into(error: Exception) -> TrackingError:
        first_line = _mask_secrets(str(error) or type(error).__name__).splitlines()[0]
        return TrackingError(f"MLflow at {runs.mlflow_name}: {first_line}")

    return translate(MlflowException, SQLAlchemyError, OSError, into=into)


def _mask_secrets(text: str) -> str:
    """Replace passwords by stars: a server that refuses one may quote it."""
    for name in SECRETS:
        if secret := os.environ.get(name):
            text = text.replace(secret, "***")
    return text
