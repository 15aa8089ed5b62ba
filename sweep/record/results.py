"""Result folders of trials: complete or absent, with a sha256 over every byte."""

import errno
import hashlib
import json
import shutil
from collections.abc import Callable, Container
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from sweep.durable.disk import sync
from sweep.durable.failpoint import failpoint
from sweep.durable.files import make_draft, sha256_of, sync_folder, write_durably
from sweep.durable.given import MAX_MODEL_BYTES, MAX_RECORD_BYTES
from sweep.durable.inside import open_inside, walk_folders
from sweep.errors import DamagedResultError, MissingRunsError
from sweep.layout import RunsDir
from sweep.trial import Logs, Score, TrialResult, check_logs

MODEL = "model.keras"
HISTORY = "history.json"
SUMMARY = "summary.txt"
CURVES = "curves.png"
PREDICTIONS = "predictions.npz"  # of a scored replicate; `predictions.py` packs it
TRACKED = (HISTORY, SUMMARY, CURVES, PREDICTIONS)  # become artifacts of the trial's MLflow run, beside its model
DELETING = ".deleting"  # in the same folder: the study is being deleted
LOCK = ".lock"  # the coordinator's, in the folder that holds a study's result folders
RESULT = "result.json"
SCORE = "score.json"
WAY_OUT = "restore the folder from a copy; if its trial is not recorded yet, remove it and it is trained again"


def save(folder: Path, result: TrialResult, write_files: Callable[[Path], None]) -> TrialResult:
    """Make `result` durable as `folder`, with the files that `write_files` writes. Return it with their hashes.

    The folder is written under another name, synced, then renamed: a reader finds the whole folder or none. Where there
    is one already, it stays, and its result is returned: a worker of a coordinator that was taken over has trained the
    same config with the same seed.
    """
    draft = make_draft(folder)
    failpoint("result.draft")
    write_files(draft)
    failpoint("result.files")
    result = replace(result, files={path.name: sha256_of(path) for path in sorted(draft.iterdir())})
    (draft / RESULT).write_text(_seal(result.to_dict()), encoding="utf-8")
    failpoint("result.written")
    sync_folder(draft)
    failpoint("result.synced")
    if not _is_renamed(draft, folder):
        return load(folder)
    failpoint("result.renamed")
    sync(folder.parent)
    failpoint("result.saved")
    return result


def _is_renamed(draft: Path, folder: Path) -> bool:
    """Give a whole draft its name. Return False, and remove it, if there is such a folder: the first one counts."""
    try:
        draft.rename(folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        shutil.rmtree(draft)
        return False
    return True


def remove_drafts(folder: Path) -> None:
    """Remove the drafts that killed processes left. Call this only while no trial is being trained."""
    for path in list_drafts(folder):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def list_drafts(folder: Path) -> list[Path]:
    """List unfinished drafts (dot-files) left below `folder` by writers that died."""
    if not folder.exists():
        return []
    # Below result folders, only scores are written: looking into those of 100,000 searched trials would take seconds.
    found = walk_folders(folder, lambda name: name.startswith("replicate-"))
    return sorted(Path(entry) for entry in found if entry.name.startswith(".") and entry.name not in (LOCK, DELETING))


def refuse_deleted(runs: RunsDir, study: str) -> None:
    """Raise MissingRunsError if the study was being deleted when that was cut off."""
    if (runs.results(study) / DELETING).exists():
        raise MissingRunsError(f"study {study!r} is half deleted; finish that first: {runs.delete_command(study)}")


def list_strangers(folder: Path, known: Container[str]) -> list[Path]:
    """List the result folders of trials whose keys are not in `known`."""
    unknown = (path for path in folder.glob("[!.]*") if path.name not in known)
    return sorted(path for path in unknown if path.is_dir())


def find(folder: Path) -> TrialResult | None:
    """Load the result in `folder` as `load` does. Return None if there is no folder."""
    if not folder.exists():
        return None
    sync(folder.parent)  # its writer may have died after the rename and before the sync, and callers rely on the name
    return load(folder)


def load(folder: Path) -> TrialResult:
    """Load the result in `folder`, and check every file against its hash.

    Raises DamagedResultError, naming the file, if a file is missing or is not what was written.
    """
    try:
        result = TrialResult.from_dict(_read_sealed(folder, RESULT))
        _check_files(folder, result.files, WAY_OUT)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DamagedResultError(f"{folder}: cannot be read ({error}); {WAY_OUT}") from error
    return result


def load_score(folder: Path) -> Score | None:
    """Load the score of a confirmed replicate, checked as `load` does. Return None if it is not scored yet."""
    path = folder / SCORE
    if not path.exists():
        return None
    way_out = f"remove {SCORE} to score it again"
    try:
        score = Score(**_read_sealed(folder, SCORE))
        check_logs(score.metrics)
        _check_files(folder, score.files, way_out)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DamagedResultError(f"{path}: cannot be read ({error}); {way_out}") from error
    return score


def _check_files(folder: Path, files: dict[str, str], way_out: str) -> None:
    for name, digest in files.items():
        with open_inside(folder, name, MAX_MODEL_BYTES) as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != digest:
            raise DamagedResultError(f"{folder / name}: not what was written (sha256); {way_out}")


def save_score(folder: Path, metrics: Logs, predictions: bytes) -> Score:
    """Make the test metrics of a replicate and its packed predictions durable."""
    write_durably(folder / PREDICTIONS, predictions)
    failpoint("score.predictions")
    score = Score(metrics, {PREDICTIONS: sha256_of(folder / PREDICTIONS)})
    write_durably(folder / SCORE, _seal(asdict(score)).encode())
    failpoint("score.saved")
    return score


def _seal(content: Any) -> str:
    """Return `content` as JSON with its sha256 in front, so that a changed byte shows wherever it is."""
    text = json.dumps(content, indent=1)
    return f'{{"sha256": "{hashlib.sha256(text.encode()).hexdigest()}",\n"content": {text}}}\n'


def _read_sealed(folder: Path, name: str) -> Any:
    """Read the content of a sealed file. Raises OSError, or ValueError if the file is not what was written."""
    with open_inside(folder, name, MAX_RECORD_BYTES) as file:
        text = file.read().decode()
    try:
        content = json.loads(text)["content"]
    except (ValueError, TypeError, KeyError, RecursionError):  # no JSON, or none of ours
        content = None
    if _seal(content) != text:
        raise ValueError(f"{name} is not what was written (sha256)")
    return content
