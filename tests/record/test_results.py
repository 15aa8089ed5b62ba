"""Result folders: whole or not there, and no byte changes unseen."""

import json

import pytest

from sweep.durable.files import make_folder
from sweep.errors import DamagedResultError
from sweep.record import results
from sweep.trial import TrialResult

RESULT = TrialResult(
    key="trial-00000", state="complete", metrics={"val_accuracy": 0.1 + 0.2}, history=[{"loss": 0.1}], started_at=1.0, ended_at=2.0,
)  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    results.save(tmp_path / "trial-00000", RESULT, lambda draft: (draft / results.MODEL).write_bytes(b"weights"))
    results.save_score(tmp_path / "trial-00000", {"test_accuracy": 1 / 3}, b"predictions")
    return tmp_path / "trial-00000"


def load(folder):
    return results.load(folder), results.load_score(folder)


def test_what_was_saved_is_read_to_the_bit(folder):
    result, score = load(folder)
    assert result.metrics == RESULT.metrics
    assert result.files.keys() == {results.MODEL}
    assert score.metrics == {"test_accuracy": 1 / 3}
    assert score.files.keys() == {results.PREDICTIONS}


@pytest.mark.parametrize("name", [results.RESULT, results.SCORE, results.MODEL, results.PREDICTIONS])
def test_a_byte_flipped_anywhere_in_any_file_is_named(folder, name):
    good = (folder / name).read_bytes()
    for at in range(len(good)):
        for bit in (0x01, 0x20, 0x80):
            (folder / name).write_bytes(good[:at] + bytes([good[at] ^ bit]) + good[at + 1 :])
            with pytest.raises(DamagedResultError, match=r"trial-00000"):
                load(folder)


@pytest.mark.parametrize("name", [results.RESULT, results.SCORE, results.MODEL, results.PREDICTIONS])
def test_a_file_cut_anywhere_or_longer_is_named(folder, name):
    good = (folder / name).read_bytes()
    for wrong in [*(good[:n] for n in range(len(good))), good + b"\n"]:
        (folder / name).write_bytes(wrong)
        with pytest.raises(DamagedResultError):
            load(folder)


def test_a_file_that_is_gone_is_named(folder):
    (folder / results.MODEL).unlink()
    with pytest.raises(DamagedResultError, match=r"model\.keras"):
        results.load(folder)


def test_a_sealed_file_is_json_for_anyone(folder):
    assert json.loads((folder / results.RESULT).read_text())["content"]["metrics"] == RESULT.metrics


def test_a_writer_that_fails_leaves_a_draft_that_no_one_takes_for_a_result(tmp_path):
    def fail(draft):
        (draft / results.MODEL).write_bytes(b"half")
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        results.save(tmp_path / "trial-00000", RESULT, fail)
    assert results.find(tmp_path / "trial-00000") is None
    results.remove_drafts(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_results_is_on_the_disk_with_those_above_it(tmp_path, disk_calls):
    make_folder(tmp_path / "mlruns" / "results" / "tiny")
    make_folder(tmp_path / "mlruns" / "results" / "tiny")
    assert disk_calls == [("sync", tmp_path / path) for path in ("mlruns/results", "mlruns", ".")]


def test_a_result_is_on_the_disk_before_it_has_its_name_and_its_name_is_on_the_disk_after(tmp_path, disk_calls):
    results.save(tmp_path / "trial-00000", RESULT, lambda draft: (draft / results.MODEL).write_bytes(b"weights"))
    [at] = [i for i, (call, _) in enumerate(disk_calls) if call == "rename"]
    draft = disk_calls[at][1]
    assert {path for _, path in disk_calls[:at]} == {draft, draft / results.MODEL, draft / results.RESULT}
    assert disk_calls[at + 1 :] == [("sync", tmp_path)]


def test_a_score_is_on_the_disk_before_it_has_its_name_and_its_name_is_on_the_disk_after(folder, disk_calls):
    score = results.save_score(folder, {"test_accuracy": 0.5}, b"others")
    calls, drafts = zip(*disk_calls, strict=True)
    assert calls == ("sync", "rename", "sync") * 2
    assert [path.name.split(".")[1] for path in drafts[1::3]] == ["predictions", "score"]
    for draft, renamed, parent in zip(drafts[::3], drafts[1::3], drafts[2::3], strict=True):
        assert (draft, parent) == (renamed, folder)
    assert results.load_score(folder) == score


def test_a_result_that_is_found_is_on_the_disk_under_its_name_before_it_is_relied_on(folder, disk_calls):
    results.find(folder)
    assert disk_calls == [("sync", folder.parent)]
