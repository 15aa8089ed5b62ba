"""Files and folders that are whole or absent: written under another name, synced, renamed; checked by sha256."""

import hashlib
import math
import os
import shutil
import socket
from functools import cache
from pathlib import Path

from sweep.durable.disk import sync
from sweep.durable.failpoint import failpoint
from sweep.durable.given import open_given


def make_folder(folder: Path) -> None:
    """Create a folder with its parents, and sync the name of each that is new to the disk."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        sync(path.parent)


def make_draft(folder: Path) -> Path:
    """Create an empty folder beside `folder`, to be filled and then renamed to `folder`."""
    draft = name_draft(folder)
    _clear(draft)
    draft.mkdir(parents=True)
    return draft


def name_draft(path: Path) -> Path:
    """Return where this process writes `path` before it has its name. No process that lives uses the same."""
    return path.with_name(f".{path.name}.{os.getpid()}-{_name_namespace()}")


@cache
def _name_namespace() -> str:
    """Return a word for where process ids count: two containers, or two machines, may have one of the same id each."""
    place = Path("/proc/self/ns/pid")
    counted_in = os.readlink(place) if place.is_symlink() else ""
    return hashlib.sha256(f"{socket.gethostname()} {counted_in}".encode()).hexdigest()[:8]


def sync_folder(folder: Path) -> None:
    """Sync the files of a folder, then the folder itself, to the disk."""
    for path in (*sorted(folder.iterdir()), folder):
        sync(path)


def write_durably(path: Path, content: bytes) -> None:
    """Replace the content of `path`, as a whole or not at all."""
    draft = name_draft(path)
    _clear(draft)
    with draft.open("xb") as file:  # x: another's link of that name is not written through
        file.write(content)
    sync(draft)
    failpoint("durable.draft")
    draft.replace(path)
    sync(path.parent)


def _clear(draft: Path) -> None:
    """Remove what a process left here that had our id and was killed."""
    if draft.is_dir() and not draft.is_symlink():
        shutil.rmtree(draft)
    else:
        draft.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file. Raises OSError, also for what is no file: a pipe would be waited for."""
    with open_given(path, math.inf) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
