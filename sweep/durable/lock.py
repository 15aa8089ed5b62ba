"""Locks: one coordinator at a time on a study, one process at a time that creates a database."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from sweep.errors import StudyInUseError


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Hold the lock at `path`, a file that names its holder. Raises StudyInUseError if another process holds it.

    The kernel drops the lock when its holder dies, however it dies, so there is none to clear by hand.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _open(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise StudyInUseError(f"{_name_holder(path, file)}; wait for it or stop it") from None
        if not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
            raise StudyInUseError("this study was deleted a moment ago; the same command starts it anew")
        file.truncate(0)
        file.write(f"host {socket.gethostname()}, pid {os.getpid()}, since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC\n")
        file.flush()
        yield


@contextmanager
def hold_in_turn(path: Path) -> Iterator[None]:
    """Wait for the lock at `path`, then hold it."""
    with _open(path) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def read_holder(path: Path) -> str | None:
    """Return what the lock at `path` says of the process that holds it; None where none does, as Linux tells. Takes no lock."""
    if not path.is_file() or path.is_symlink():
        return None
    with path.open(encoding="utf-8") as file:
        return file.read().strip() if _list_holders(file) else None


def _name_holder(path: Path, file: TextIO) -> str:
    """Say who holds a lock: whom the file names, unless the kernel names another, who only opened it."""
    said, pids = file.read().strip(), _list_holders(file)
    if pids and not any(f"pid {pid}," in said for pid in pids):
        return f"{path} is locked by process {', '.join(map(str, pids))}, which is no sweep"
    return f"another sweep is at work on this study: {said}"


def _list_holders(file: TextIO, locks: Path = Path("/proc/locks")) -> list[int]:
    """List the processes that hold a lock on `file`, as Linux tells; none where it does not, or they run in another container."""
    inode = os.fstat(file.fileno()).st_ino
    lines = locks.read_text(encoding="utf-8").splitlines() if locks.exists() else []
    held = [line.split() for line in lines if f":{inode} " in line and " -> " not in line]  # an arrow: only waits
    return [int(fields[4]) for fields in held if int(fields[4]) > 0]


def _open(path: Path) -> TextIO:
    """Open a lock, created where it is missing. Raises OSError for a link: what is behind it would be truncated."""
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o666), "a+", encoding="utf-8")
