"""What someone else may have put into a folder: names that lead out of it, and links."""

import os
from pathlib import Path

import pytest

from sweep.durable.files import make_draft, name_draft, write_durably
from sweep.durable.inside import make_private, open_inside, refuse_links, walk_folders
from sweep.durable.lock import hold, hold_in_turn
from sweep.errors import StorageError


@pytest.fixture
def elsewhere(tmp_path):
    """A folder outside, with a file that nothing here may touch."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "file").write_text("mine")
    yield folder
    assert [path.name for path in folder.iterdir()] == ["file"]
    assert (folder / "file").read_text() == "mine"


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    "name", ["../elsewhere/file", "/etc/passwd", "..", ".", "", ".bashrc", "a/b", "a\nb", "a\0b", "x" * 300]
)
def test_a_name_that_leads_elsewhere_is_refused(folder, elsewhere, name):
    with pytest.raises(ValueError, match="is no name of a file here"):
        open_inside(folder, name, 100)


def test_neither_a_file_nor_a_folder_is_opened_through_a_link(tmp_path, folder, elsewhere):
    (folder / "link").symlink_to(elsewhere / "file")
    (tmp_path / "folder-link").symlink_to(elsewhere)
    for where, name in ((folder, "link"), (tmp_path / "folder-link", "file")):
        with pytest.raises(OSError, match=r"Too many levels of symbolic links|Not a directory"):
            open_inside(where, name, 100)


def test_a_pipe_or_a_folder_is_no_file_and_is_not_waited_for(folder):
    os.mkfifo(folder / "pipe")
    (folder / "inner").mkdir()
    for name in ("pipe", "inner"):
        with pytest.raises(OSError, match="no regular file"):
            open_inside(folder, name, 100)


def test_a_file_is_opened_as_it_is(folder):
    (folder / "model.keras").write_bytes(b"bytes")
    with open_inside(folder, "model.keras", 100) as file:
        assert file.read() == b"bytes"


def test_folders_are_walked_but_not_those_behind_links(folder, elsewhere):
    (folder / "inner").mkdir()
    (folder / "inner" / "file").touch()
    (folder / "link").symlink_to(elsewhere)
    assert [entry.name for entry in walk_folders(folder, lambda name: True)] == ["inner", "file", "link"]
    assert [entry.name for entry in walk_folders(folder, lambda name: name != "inner")] == ["inner", "link"]


def test_a_link_is_refused_by_name_and_by_where_it_leads(folder, elsewhere):
    (folder / "link").symlink_to(elsewhere)
    with pytest.raises(StorageError, match=f"{folder}/link: a link to {elsewhere}; .*--runs-dir itself may be a link"):
        refuse_links([folder, folder / "missing", folder / "link"])


@pytest.mark.parametrize("lock", [hold, hold_in_turn])
def test_a_lock_that_is_a_link_is_not_written_through(folder, elsewhere, lock):
    (folder / ".lock").symlink_to(elsewhere / "file")
    with pytest.raises(OSError, match="Too many levels of symbolic links"), lock(folder / ".lock"):
        pass


def test_a_planted_draft_is_removed_and_not_written_through(folder, elsewhere):
    name_draft(folder / "file").symlink_to(elsewhere / "file")
    write_durably(folder / "file", b"ours")
    assert (folder / "file").read_bytes() == b"ours"
    name_draft(folder / "result").symlink_to(elsewhere)
    assert make_draft(folder / "result").is_dir()
    assert not make_draft(folder / "result").is_symlink()


def mode(path):
    return path.stat().st_mode & 0o777


def test_a_private_folder_is_this_users_alone(tmp_path):
    make_private(tmp_path / "cache" / "programs")
    assert mode(tmp_path / "cache" / "programs") == 0o700


def test_what_was_private_keeps_its_files_and_what_others_could_write_in_does_not(folder):
    for before, kept in ((0o700, ["program"]), (0o755, ["program"]), (0o777, []), (0o770, [])):
        (folder / "program").touch()
        folder.chmod(before)
        make_private(folder)
        assert (mode(folder), [path.name for path in folder.iterdir()]) == (0o700, kept)


def test_a_private_folder_is_no_link_and_of_no_other(folder, elsewhere, monkeypatch):
    (folder / "link").symlink_to(elsewhere)
    with pytest.raises(StorageError, match="link: a link, or a folder of another user"):
        make_private(folder / "link")
    monkeypatch.setattr(os, "geteuid", lambda: Path(folder).stat().st_uid + 1)
    with pytest.raises(StorageError, match="folder: a link, or a folder of another user"):
        make_private(folder)
