"""Files and folders that are whole or not there: written beside, synced, renamed; known by their sha256."""

import hashlib
import os
import shutil
from pathlib import Path

from sweep.durable.disk import sync
from sweep.durable.failpoint import failpoint


def make_folder(folder: Path) -> None:
    """Make the folder that result folders go into, on the disk with every folder above it that had to be made."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        sync(path.parent)


def make_draft(folder: Path) -> Path:
    """An empty folder beside `folder`, to write what then becomes `folder`."""
    draft = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    return draft


def sync_folder(folder: Path) -> None:
    """Have the files of a folder, and the folder, on the disk."""
    for path in (*sorted(folder.iterdir()), folder):
        sync(path)


def write_durably(path: Path, content: bytes) -> None:
    """Replace `path` by `content`, whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_bytes(content)
    sync(draft)
    failpoint("durable.draft")
    draft.replace(path)
    sync(path.parent)


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
