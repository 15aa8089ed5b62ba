"""Files of a folder that may have come from someone else: no name leads out of it, and no link is followed."""

import os
import re
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from io import BufferedReader
from pathlib import Path

from sweep.durable.given import as_file
from sweep.errors import StorageError

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")


def check_name(name: str) -> None:
    """Raise ValueError unless `name` is that of a file of a folder itself, of plain characters."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r:.100} is no name of a file here")


def open_inside(folder: Path, name: str, limit: float) -> BufferedReader:
    """Open a file of `folder`, of `limit` bytes at most, for reading, if both are what they seem.

    Raises ValueError for a name that leads elsewhere, OSError where the folder or the file is a link, of another kind, or
    larger.
    """
    check_name(name)
    at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        # O_NONBLOCK: a pipe without a writer would be waited for.
        handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=at)
    finally:
        os.close(at)
    return as_file(handle, name, limit)


def walk_folders(folder: Path, enters: Callable[[str], bool]) -> Iterator[os.DirEntry[str]]:
    """Yield what lies in `folder`, and in those folders in it whose name `enters` says yes to. Looks behind no link."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        yield entry
        if enters(entry.name) and entry.is_dir(follow_symlinks=False):
            yield from sorted(os.scandir(entry), key=lambda inner: inner.name)


def refuse_links(paths: Iterable[Path]) -> None:
    """Raise StorageError if one of `paths` is a link: what is written or deleted there would be elsewhere."""
    for path in paths:
        if path.is_symlink():
            raise StorageError(
                f"{path}: a link to {os.readlink(path)}; links inside a runs directory are not followed: put a folder "
                "in its place (--runs-dir itself may be a link)"
            )


def make_private(folder: Path) -> None:
    """Create `folder`, or take the one that is there, as this user's alone. Others' writing in it, if they could, is removed.

    Raises StorageError for a link, or for a folder of another user.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise StorageError(f"{folder}: a link, or a folder of another user; what it holds is run, so remove it")
    if status.st_mode & 0o022:
        shutil.rmtree(folder)
        folder.mkdir(mode=0o700)
    folder.chmod(0o700)
