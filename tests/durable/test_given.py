"""A file that was handed over is a file, of a size that it may have."""

import os
from pathlib import Path

import pytest

from sweep.durable.given import open_given, read_given


def test_a_file_is_read_up_to_its_limit(tmp_path):
    (tmp_path / "file").write_bytes(b"12345")
    assert read_given(tmp_path / "file", 5) == b"12345"
    with pytest.raises(OSError, match="has 5 bytes, wanted 4 at most"):
        read_given(tmp_path / "file", 4)


@pytest.mark.parametrize("kind", ["pipe", "folder", "zeros"])
def test_what_is_no_file_is_not_waited_for(tmp_path, kind):
    path = tmp_path / kind
    {"pipe": os.mkfifo, "folder": os.mkdir, "zeros": lambda path: path.symlink_to("/dev/zero")}[kind](path)
    with pytest.raises(OSError, match="no regular file") as told:
        open_given(path, 100)
    assert told.value.strerror == "no regular file"


def test_a_file_of_the_kernel_that_says_it_is_empty_is_read_up_to_its_limit():
    with pytest.raises(OSError, match="has more than 10 bytes"):
        read_given(Path("/proc/self/status"), 10)
