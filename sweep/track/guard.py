"""Guard MLflow from a coordinator that has lost its study: a check before each call, and before each commit of rows."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from sqlalchemy import Engine, event

from sweep.track.mlflow_api import MlflowClient, MlflowException

CheckHold = Callable[[], object]  # raises LostStudyError where nothing may be written any more


def guard_client(client: MlflowClient, check_hold: CheckHold, engine: Engine | None) -> MlflowClient:
    """Return `client` so that each of its calls begins with `check_hold`, and each of its commits too.

    engine: the client's own, which the whole process shares; None where a server has the database.
    """
    return cast(MlflowClient, _Guarded(client, check_hold, engine))


def guard_commits(engine: Engine, check_hold: CheckHold) -> Callable[[], None]:
    """Have every transaction of `engine` end with `check_hold`, which rolls it back where it raises; return what ends that."""

    def check(connection: object) -> None:
        check_hold()

    event.listen(engine, "commit", check)
    return lambda: event.remove(engine, "commit", check)


class _Guarded:
    def __init__(self, client: MlflowClient, check_hold: CheckHold, engine: Engine | None) -> None:
        self._client, self._check_hold, self._engine = client, check_hold, engine

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if not callable(found):
            return found

        def call(*arguments: Any, **options: Any) -> Any:
            self._check_hold()
            with self._guarded():
                return found(*arguments, **options)

        return call

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Check at each commit of a call: this process may be frozen within it, and wake up after another took over."""
        stop = guard_commits(self._engine, self._check_hold) if self._engine is not None else lambda: None
        try:
            yield
        except MlflowException:  # as which MLflow tells a commit that was refused
            self._check_hold()
            raise
        finally:
            stop()
