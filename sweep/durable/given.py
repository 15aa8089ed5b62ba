"""Files that someone hands over: how large each may be, and that it is a file, not a pipe or a device without an end."""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

MAX_STUDY_BYTES = 2**20  # a study file is a page
MAX_RECORD_BYTES = 2**26  # a result with its history: 10,000 epochs take 4 MB
MAX_PREDICTIONS_BYTES = 2**30  # unpacked too
MAX_MODEL_BYTES = 2**30  # unpacked too


def open_given(path: Path, limit: float) -> BufferedReader:
    """Open `path` for reading, if it is a file of `limit` bytes at most. Raises OSError, whose `strerror` says why not."""
    # O_NONBLOCK: a pipe without a writer would be waited for.
    return as_file(os.open(path, os.O_RDONLY | os.O_NONBLOCK), str(path), limit)


def as_file(handle: int, name: str, limit: float) -> BufferedReader:
    """Return a file of an open `handle`, which is closed where it is of another kind, or larger than `limit`: OSError."""
    status = os.fstat(handle)
    if stat.S_ISREG(status.st_mode) and status.st_size <= limit:
        return os.fdopen(handle, "rb")
    os.close(handle)
    if not stat.S_ISREG(status.st_mode):
        kind = errno.EISDIR if stat.S_ISDIR(status.st_mode) else errno.EINVAL
        raise OSError(kind, "no regular file", name)
    raise OSError(errno.EFBIG, f"has {status.st_size} bytes, wanted {limit:.0f} at most", name)


def read_given(path: Path, limit: int) -> bytes:
    """Read a file of `limit` bytes at most. Raises OSError as `open_given` does."""
    with open_given(path, limit) as file:
        content = file.read(limit + 1)
    if len(content) > limit:  # one that says it is empty, as those of the kernel do
        raise OSError(errno.EFBIG, f"has more than {limit} bytes", str(path))
    return content
