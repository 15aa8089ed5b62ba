"""Run one task in a process of its own: it needs TensorFlow, and its caller must not keep TensorFlow."""

from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

from sweep.errors import Interrupted, SweepError, WorkersError
from sweep.execute.process import set_up_process, start_process

POLL_S = 0.2  # how long an interruption can go unnoticed
MAX_DEATHS = 3  # of the process, in a row

T = TypeVar("T")


def run_in_process(
    task: Callable[[], T], what: str, log: Path, is_interrupted: Callable[[], bool] = lambda: False
) -> T:
    """Return what `task` returns, computed in a spawned process that then ends.

    what: names the task in messages. log: takes the process's stderr.
    `task` must do its heavy imports inside, after the process has set its environment. A SweepError of `task` is raised
    here. Raises Interrupted when asked to stop, and WorkersError if the process dies MAX_DEATHS times in a row.
    """
    for _ in range(MAX_DEATHS):
        answer, exit_code = _run_once(task, what, log, is_interrupted)
        if isinstance(answer, SweepError):
            raise answer
        if exit_code is None:
            return answer  # type: ignore[no-any-return]
    raise WorkersError(f"{what} ended with exit code {exit_code}; see {log}")


def _run_once(
    task: Callable[[], object], what: str, log: Path, is_interrupted: Callable[[], bool]
) -> tuple[Any, int | None]:
    """Return one process's answer and None; or None and its exit code if it died without an answer."""
    process, connection = start_process(_answer, task, log, name=f"sweep-{what.split()[0]}")
    try:
        while not connection.poll(POLL_S):
            if is_interrupted():
                raise Interrupted
        return connection.recv(), None
    except (EOFError, OSError):  # it died, before it sent anything or in the middle
        process.join()
        return None, process.exitcode
    except BaseException:
        process.kill()  # it ignores Ctrl-C
        raise
    finally:
        process.join()


def _answer(connection: Connection, task: Callable[[], object], log: Path) -> None:
    set_up_process(log, core=None)
    try:
        connection.send(task())
    except SweepError as error:
        connection.send(error)
