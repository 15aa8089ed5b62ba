"""Locks: one coordinator at a time on a study, one process at a time that creates a database."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sweep.errors import StudyInUseError


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Hold the lock at `path`, a file that names its holder. Raises StudyInUseError if another process holds it.

    The kernel drops the lock when its holder dies, however it dies, so there is none to clear by hand.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise StudyInUseError(
                f"another sweep is at work on this study: {file.read().strip()}; wait for it or stop it"
            ) from None
        if not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
            raise StudyInUseError("this study was deleted a moment ago; the same command starts it anew")
        file.truncate(0)
        file.write(f"host {socket.gethostname()}, pid {os.getpid()}, since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC\n")
        file.flush()
        yield


@contextmanager
def hold_in_turn(path: Path) -> Iterator[None]:
    """Wait for the lock at `path`, then hold it."""
    with path.open("a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
