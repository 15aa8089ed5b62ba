"""A process for one task, for what needs TensorFlow and must not keep it."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

from sweep.errors import Interrupted, SweepError, WorkersError
from sweep.execute.process import deaf_to_ctrl_c, settle_in

POLL_S = 0.2  # how long an interruption can go unnoticed
MAX_DEATHS = 3  # of the process, in a row

T = TypeVar("T")


def in_process(task: Callable[[], T], what: str, log: Path, is_interrupted: Callable[[], bool] = lambda: False) -> T:
    """What `task` returns, from a process that is spawned for it and then ends.

    `task` imports what is heavy inside, where the process has settled in. A SweepError that it raises is raised here. Raises
    Interrupted when asked to stop, and WorkersError, with `what` it was about and the log, if the process keeps dying.
    """
    for _ in range(MAX_DEATHS):
        answer, exit_code = _asked(task, what, log, is_interrupted)
        if isinstance(answer, SweepError):
            raise answer
        if exit_code is None:
            return answer  # type: ignore[no-any-return]
    raise WorkersError(f"{what} ended with exit code {exit_code}; see {log}")


def _asked(
    task: Callable[[], object], what: str, log: Path, is_interrupted: Callable[[], bool]
) -> tuple[Any, int | None]:
    """What one process says, or its exit code where it says nothing."""
    context = multiprocessing.get_context("spawn")  # never fork: TensorFlow's threads do not survive it
    ours, theirs = context.Pipe()
    process = context.Process(target=_do, args=(theirs, task, log), name=f"sweep-{what.split()[0]}", daemon=True)
    with deaf_to_ctrl_c():
        process.start()
    theirs.close()
    try:
        while not ours.poll(POLL_S):
            if is_interrupted():
                raise Interrupted
        return ours.recv(), None
    except (EOFError, OSError):  # it died, before it said anything or in the middle
        process.join()
        return None, process.exitcode
    except BaseException:
        process.kill()  # it does not hear Ctrl-C by itself
        raise
    finally:
        process.join()


def _do(connection: Connection, task: Callable[[], object], log: Path) -> None:
    settle_in(log, core=None)
    try:
        connection.send(task())
    except SweepError as error:
        connection.send(error)
