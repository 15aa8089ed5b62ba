"""Demands on a disk: keep what was written through a power cut, and keep the locks of a database."""

import os
import re
from pathlib import Path

from sweep.errors import StorageError

MOUNTS = Path("/proc/self/mounts")
# These lose, delay or omit locks between machines, and SQLite then damages its file. https://sqlite.org/faq.html#q5
NETWORK = re.compile(
    r"nfs\d?|cifs|smb\d?|smbfs|lustre|beegfs|afs|9p|virtiofs|ceph|fuse\.(sshfs|s3fs|gcsfuse|rclone|glusterfs|juicefs|ceph)"
)


def sync(path: Path) -> None:
    """Write a file's content, or the names in a folder, to the disk before returning."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def check_keeps_locks(path: Path, mounts: Path = MOUNTS) -> None:
    """Raise StorageError if `path` lies on a network file system; trust a machine without a list of mounts."""
    kind = (
        _file_system(path.resolve(), mounts.read_text(encoding="utf-8", errors="surrogateescape"))
        if mounts.exists()
        else None
    )
    if kind is not None and NETWORK.fullmatch(kind):
        raise StorageError(
            f"{path} lies on {kind}, a network file system, where the locks of a database do not hold; "
            "choose a --runs-dir on a disk of this machine"
        )


def _file_system(path: Path, mounts: str) -> str | None:
    """Return the type of the deepest mount above `path`. Of two mounts at one place, the later hides the earlier."""
    n_parts, found = 0, None
    for line in mounts.splitlines():
        _, place, kind, *_ = line.split(" ")
        where = Path(place.replace("\\040", " "))
        if path.is_relative_to(where) and len(where.parts) >= n_parts:
            n_parts, found = len(where.parts), kind
    return found
