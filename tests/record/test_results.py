"""Result folders: whole or not there, and no byte changes unseen."""

import json
import math
import re
from dataclasses import replace

import pytest

from sweep.durable.files import make_folder
from sweep.errors import DamagedResultError, MissingRunsError
from sweep.layout import RunsDir
from sweep.record import results
from sweep.trial import State, TrialResult

RESULT = TrialResult(
    key="trial-00000", state=State.COMPLETE, metrics={"val_accuracy": 0.1 + 0.2}, history=[{"loss": 0.1}], epoch_ended_at=[1.5],
    best_epoch=1, started_at=1.0, ended_at=2.0,
)  # fmt: skip

# Bytes that an earlier version wrote. They stay readable, and are still what is written.
OLD_RESULT = r"""{"sha256": "ddacdcaae1142c4a923885f60778f30049d5d8a27c2bc9289572ad7357c9fa31",
"content": {
 "key": "trial-00000",
 "state": "pruned",
 "started_at": 1.0,
 "ended_at": 2.5,
 "reason": "pruned at epoch 2 \u2014 \u00bd",
 "history": [
  {
   "loss": 0.30000000000000004,
   "val_loss": Infinity
  },
  {
   "loss": -0.0,
   "val_loss": 1e-300
  }
 ],
 "epoch_ended_at": [
  1.5,
  2.0
 ],
 "best_epoch": 1,
 "metrics": {
  "val_accuracy": 0.3333333333333333
 },
 "params_count": 12345,
 "train_seconds": 1e+22,
 "provenance": {
  "engine": "fa\"ke"
 },
 "files": {
  "model.keras": "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c"
 }
}}
"""
OLD_SCORE = r"""{"sha256": "a75e13841753f0db5e3d8ccd7c80f76fb8acef091ddd52a0a516cda385598d2a",
"content": {
 "metrics": {
  "test_accuracy": 0.3333333333333333
 },
 "files": {
  "predictions.npz": "174824b02c8aa83d8316308abc2373adfc42a3c656c6c74525615f6bc706f296"
 }
}}
"""
OF_OLD_RESULT = TrialResult(
    key="trial-00000", state=State.PRUNED, started_at=1.0, ended_at=2.5, reason="pruned at epoch 2 \u2014 \u00bd",
    history=[{"loss": 0.1 + 0.2, "val_loss": math.inf}, {"loss": -0.0, "val_loss": 1e-300}], epoch_ended_at=[1.5, 2.0],
    best_epoch=1, metrics={"val_accuracy": 1 / 3}, params_count=12345, train_seconds=1e22, provenance={"engine": 'fa"ke'},
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


@pytest.fixture
def old_folder(tmp_path):
    files = {
        results.RESULT: OLD_RESULT.encode(), results.SCORE: OLD_SCORE.encode(),
        results.MODEL: b"weights", results.PREDICTIONS: b"predictions",
    }  # fmt: skip
    (tmp_path / "trial-00000").mkdir()
    for name, content in files.items():
        (tmp_path / "trial-00000" / name).write_bytes(content)
    return tmp_path / "trial-00000"


def test_what_an_earlier_version_sealed_is_read(old_folder):
    result, score = load(old_folder)
    assert replace(result, files={}) == OF_OLD_RESULT
    assert score.metrics == {"test_accuracy": 1 / 3}


def test_what_is_sealed_now_has_the_bytes_that_an_earlier_version_wrote(tmp_path):
    folder = tmp_path / "trial-00000"
    results.save(folder, OF_OLD_RESULT, lambda draft: (draft / results.MODEL).write_bytes(b"weights"))
    results.save_score(folder, {"test_accuracy": 1 / 3}, b"predictions")
    assert (folder / results.RESULT).read_bytes() == OLD_RESULT.encode()
    assert (folder / results.SCORE).read_bytes() == OLD_SCORE.encode()


@pytest.mark.parametrize("name", [results.RESULT, results.SCORE])
def test_a_byte_flipped_anywhere_in_what_an_earlier_version_sealed_is_refused(old_folder, name):
    good = (old_folder / name).read_bytes()
    for at in range(len(good)):
        (old_folder / name).write_bytes(good[:at] + bytes([good[at] ^ 1 << at % 8]) + good[at + 1 :])
        with pytest.raises(DamagedResultError):
            load(old_folder)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "null", '"content"', '{"content": {}}', '{"content": null}', "[" * 100_000]
)
@pytest.mark.parametrize("name", [results.RESULT, results.SCORE])
def test_json_that_is_not_sealed_is_refused_with_the_reason(folder, name, text):
    (folder / name).write_text(text)
    with pytest.raises(DamagedResultError, match=rf"{name} is not what was written \(sha256\).*remove"):
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


def test_of_two_results_of_one_trial_the_first_stays_and_is_what_the_second_writer_gets(folder):
    """A worker of a coordinator that was taken over ends the same trial on another machine."""
    first = results.load(folder)
    other = replace(RESULT, metrics={"val_accuracy": 0.5})
    assert results.save(folder, other, lambda draft: (draft / results.MODEL).write_bytes(b"other")) == first
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert (folder / results.MODEL).read_bytes() == b"weights"


def test_dot_files_are_drafts_but_for_the_lock_and_the_mark_of_a_deletion(tmp_path):
    make_folder(tmp_path / "replicate-00000")
    for name in (
        results.LOCK,
        results.DELETING,
        ".trial-00001.77",
        "replicate-00000/.score.json.77",
        "replicate-00000/file",
    ):
        (tmp_path / name).touch()
    assert results.list_drafts(tmp_path) == [tmp_path / ".trial-00001.77", tmp_path / "replicate-00000/.score.json.77"]


def test_a_stranger_is_a_folder_of_no_known_trial_and_no_file_that_lies_there(tmp_path):
    for name in ("trial-00000", "trial-00001", ".trial-00002.77"):
        make_folder(tmp_path / name)
    (tmp_path / "notes.txt").touch()
    (tmp_path / results.LOCK).touch()
    assert results.list_strangers(tmp_path, {"trial-00000"}) == [tmp_path / "trial-00001"]


def test_drafts_are_removed_whatever_they_are_and_nothing_behind_a_link(tmp_path):
    kept, folder = tmp_path / "elsewhere", tmp_path / "tiny"
    make_folder(kept)
    (kept / "file").touch()
    make_folder(folder / ".draft-of-a-folder" / "within")
    (folder / ".draft-of-a-file").touch()
    (folder / ".link").symlink_to(kept)
    results.remove_drafts(folder)
    assert list(folder.iterdir()) == []
    assert [path.name for path in kept.iterdir()] == ["file"]


def test_drafts_that_another_process_has_just_removed_are_no_trouble(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "list_drafts", lambda folder: [tmp_path / ".gone"])
    results.remove_drafts(tmp_path)


def test_a_half_deleted_study_is_refused_with_the_command_that_finishes_it(tmp_path):
    runs = RunsDir(tmp_path)
    results.refuse_deleted(runs, "tiny")
    make_folder(runs.results("tiny"))
    (runs.results("tiny") / results.DELETING).touch()
    with pytest.raises(MissingRunsError, match=rf"'tiny' is half deleted.*{re.escape(runs.delete_command('tiny'))}"):
        results.refuse_deleted(runs, "tiny")
