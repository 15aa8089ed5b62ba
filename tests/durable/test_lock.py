"""A lock is one on a file that is there."""

import fcntl

import pytest

from sweep.durable.lock import hold
from sweep.errors import StudyInUseError


@pytest.mark.parametrize("is_new_there", [False, True])
def test_a_lock_on_a_file_that_was_deleted_meanwhile_is_none(tmp_path, monkeypatch, is_new_there):
    path, flock = tmp_path / "study" / ".lock", fcntl.flock

    def delayed(file, how):
        path.unlink()  # by a deletion that held it until now
        if is_new_there:
            path.touch()
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", delayed)
    with pytest.raises(StudyInUseError, match="was deleted a moment ago; the same command starts it anew"), hold(path):
        pass
    monkeypatch.setattr(fcntl, "flock", flock)
    with hold(path), pytest.raises(StudyInUseError, match="another sweep is at work"), hold(path):
        pass
