"""Files and folders that are whole or absent: written under another name, synced, renamed; checked by sha256."""

import hashlib
import os
import shutil
import socket
from pathlib import Path

from sweep.durable.disk import sync
from sweep.durable.failpoint import failpoint


def make_folder(folder: Path) -> None:
    """Create a folder with its parents, and sync the name of each that is new to the disk."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        sync(path.parent)


def name_draft(path: Path) -> Path:
    """Return the path beside `path` under which this process writes it. On a shared disk, processes of two machines have the same id."""
    return path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}")


def make_draft(folder: Path) -> Path:
    """Create an empty folder beside `folder`, to be filled and then renamed to `folder`."""
    draft = name_draft(folder)
    shutil.rmtree(draft, ignore_errors=True)  # left by a process that had our id and was killed
    draft.mkdir(parents=True)
    return draft


def sync_folder(folder: Path) -> None:
    """Sync the files of a folder, then the folder itself, to the disk."""
    for path in (*sorted(folder.iterdir()), folder):
        sync(path)


def write_durably(path: Path, content: bytes) -> None:
    """Replace the content of `path`, as a whole or not at all."""
    draft = name_draft(path)
    draft.write_bytes(content)
    sync(draft)
    failpoint("durable.draft")
    draft.replace(path)
    sync(path.parent)


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
