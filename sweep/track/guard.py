"""Guard MLflow from a coordinator that has lost its study: a check before each call, and before each commit of rows."""

from collections.abc import Callable
from typing import Any, cast

from sqlalchemy import Engine, event

from sweep.track.mlflow_api import MlflowClient

CheckHold = Callable[[], object]  # raises LostStudyError where nothing may be written any more


def guard_client(client: MlflowClient, check_hold: CheckHold) -> MlflowClient:
    """Return `client` so that each of its calls begins with `check_hold`."""
    return cast(MlflowClient, _Guarded(client, check_hold))


def guard_commits(engine: Engine, check_hold: CheckHold) -> None:
    """Have every transaction of `engine` end with `check_hold`, which rolls it back where it raises."""
    event.listen(engine, "commit", lambda connection: check_hold())


class _Guarded:
    def __init__(self, client: MlflowClient, check_hold: CheckHold) -> None:
        self._client, self._check_hold = client, check_hold

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if not callable(found):
            return found

        def call(*arguments: Any, **options: Any) -> Any:
            self._check_hold()
            return found(*arguments, **options)

        return call
