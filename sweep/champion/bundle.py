"""Bundles: folders of a champion and its evidence, written whole or not at all, every file under a sha256."""

import re
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweep.champion import verify
from sweep.data.columns import Column
from sweep.data.prepared import PreparedData
from sweep.durable.disk import sync
from sweep.durable.failpoint import failpoint
from sweep.durable.files import make_draft, make_folder, sha256_of, sync_folder
from sweep.errors import DamagedResultError, translate

KERAS_MODEL, ONNX_MODEL, SUMMARY, CARD, CURVES = "model.keras", verify.MODEL, verify.SUMMARY, "README.md", "curves.png"
CONFUSION, CONFUSION_PICTURE, VALUES_PICTURE = "confusion.csv", "confusion.png", "values.png"
RECORDED = verify.RECORDED
STUDY, VERIFY, SUMS = "study.toml", "verify.py", verify.SUMS
N_ROWS = 1000  # for the comparison of the .onnx form with Keras


@dataclass(frozen=True)
class Parity:
    """The agreement of a model's .onnx form with Keras."""

    rows: int
    rows_of_data: int  # training rows among them; the others were drawn in the range of the data
    max_difference: float  # of any probability; of numbers that are predicted, as `verify.off_by` has it


# (.keras file, .onnx file to write, prepared data if it is at hand, columns of a table) -> agreement. Raises ConversionError.
Convert = Callable[[Path, Path, PreparedData | None, Sequence[Column]], Parity]


def write_bundle(folder: Path, write_files: Callable[[Path], None]) -> None:
    """Make `folder` a bundle of what `write_files` puts into the folder it is given, and of their checksums.

    A reader finds the old bundle, none, or the whole new one: it is written beside, synced, and renamed after the old one was
    renamed away. One at a time: the caller holds a lock.
    """
    make_folder(folder.parent)
    old = folder.with_name(f".{folder.name}.old")
    if old.exists() and not folder.exists():  # a kill between the two renames below
        old.rename(folder)
    for left in folder.parent.glob(f".{folder.name}.*"):
        if re.fullmatch(
            r"old|\d+(-[0-9a-f]{8})?", left.name.removeprefix(f".{folder.name}.")
        ):  # a study called `name.v2` has drafts of its own
            shutil.rmtree(left)
    draft = make_draft(folder)
    failpoint("export.draft")
    write_files(draft)
    failpoint("export.files")
    (draft / SUMS).write_text(_sums(draft), encoding="utf-8")
    sync_folder(draft)
    failpoint("export.synced")
    if folder.exists():
        folder.rename(old)
    failpoint("export.aside")
    draft.rename(folder)
    sync(folder.parent)
    failpoint("export.renamed")
    shutil.rmtree(old, ignore_errors=True)


def read_bundle(folder: Path) -> dict[str, Any]:
    """Check every file of a bundle and read its summary. Raises DamagedResultError."""
    with translate_errors():
        verify.check_sums(folder)
        return verify.read_summary(folder)


def read_summary(folder: Path) -> dict[str, Any]:
    """Read the summary of a bundle, without checking its other files. Raises DamagedResultError."""
    with translate_errors():
        return verify.read_summary(folder)


def translate_errors() -> AbstractContextManager[None]:
    """Raise what `verify` finds wrong with a bundle as an error of ours."""
    return translate(
        verify.BundleError, into=lambda error: DamagedResultError(f"{error}; `export` writes the bundle anew")
    )


def _sums(folder: Path) -> str:
    """Write checksums as `sha256sum` prints them and `sha256sum --check` reads them."""
    return "".join(f"{sha256_of(path)}  {path.name}\n" for path in sorted(folder.iterdir()))
