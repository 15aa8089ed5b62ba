"""A lock is one on a file that is there."""

import fcntl
import os

import pytest

from sweep.durable import files
from sweep.durable.files import name_draft
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


def test_a_lock_that_another_program_holds_names_its_process_and_not_the_last_sweep(tmp_path):
    path = tmp_path / ".lock"
    with hold(path):
        pass
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        said = rf"{path} is locked by process {os.getpid()}, which is no sweep; wait for it or stop it"
        path.write_text("host elsewhere, pid 1, since long ago")
        with pytest.raises(StudyInUseError, match=said), hold(path):
            pass


def test_one_process_id_in_two_containers_writes_two_drafts(tmp_path, monkeypatch):
    here = name_draft(tmp_path / "rows")
    files._name_namespace.cache_clear()
    monkeypatch.setattr(files.socket, "gethostname", lambda: "another")
    there = name_draft(tmp_path / "rows")
    files._name_namespace.cache_clear()
    assert here != there
