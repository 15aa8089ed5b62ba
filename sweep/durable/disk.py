"""What a disk must do for us: keep what was written through a power cut, and keep a database's locks."""

import os
import re
from pathlib import Path

from sweep.errors import StorageError

MOUNTS = Path("/proc/self/mounts")
# Between machines these lose locks, delay them, or leave them out; SQLite then damages its file. https://sqlite.org/faq.html#q5
NETWORK = re.compile(r"nfs\d?|cifs|smb\d?|smbfs|lustre|beegfs|afs|fuse\.(sshfs|s3fs|gcsfuse|rclone|glusterfs|juicefs)")


def sync(path: Path) -> None:
    """Have a file's content, or the names in a folder, on the disk before this returns."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def check_keeps_locks(path: Path, mounts: Path = MOUNTS) -> None:
    """Raises StorageError where `path` lies on a file system of the network, as far as this machine tells."""
    kind = _file_system(path.resolve(), mounts.read_text()) if mounts.exists() else None
    if kind is not None and NETWORK.fullmatch(kind):
        raise StorageError(
            f"{path} lies on {kind}, a file system of the network, where the locks of a database do not hold; "
            "choose a --runs-dir on a disk of this machine"
        )


def _file_system(path: Path, mounts: str) -> str | None:
    """The kind of the mount that `path` lies below; of two at one place, the later hides the earlier."""
    n_parts, found = 0, None
    for line in mounts.splitlines():
        _, place, kind, *_ = line.split(" ")
        where = Path(place.replace("\\040", " "))
        if path.is_relative_to(where) and len(where.parts) >= n_parts:
            n_parts, found = len(where.parts), kind
    return found
