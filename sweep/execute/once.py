"""A process for one task, for what needs TensorFlow and must not keep it."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

from sweep.errors import SweepError, WorkersError
from sweep.execute.worker import settle_in

T = TypeVar("T")


def in_process(task: Callable[[], T], what: str, log: Path) -> T:
    """What `task` returns, from a process that is spawned for it and then ends.

    `task` imports what is heavy inside, where the process has settled in. A SweepError that it raises is raised here; any
    other end is a WorkersError, which names `what` it was about and the log with the rest.
    """
    context = multiprocessing.get_context("spawn")  # never fork: TensorFlow's threads do not survive it
    ours, theirs = context.Pipe()
    process = context.Process(target=_do, args=(theirs, task, log), name=f"sweep-{what.split()[0]}", daemon=True)
    process.start()
    theirs.close()
    try:
        answer: Any = ours.recv()
    except EOFError:
        process.join()
        raise WorkersError(f"{what} ended with exit code {process.exitcode}; see {log}") from None
    process.join()
    if isinstance(answer, SweepError):
        raise answer
    return answer  # type: ignore[no-any-return]


def _do(connection: Connection, task: Callable[[], object], log: Path) -> None:
    settle_in(log, core=None)
    try:
        connection.send(task())
    except SweepError as error:
        connection.send(error)
