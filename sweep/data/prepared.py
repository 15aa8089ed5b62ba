"""Data sets prepared for training: split, sealed, written as arrays that workers map.

A prepared data set is a folder of .npy files: `train/` and `validation/`, which workers are given, and `test/`, which
`open_test_split` alone opens, after selection is over. Numbers to train on are scaled here, once for all trials; what is
fitted and saved as a model scales raw rows itself (`train.model.add_scaling`).
"""

import hashlib
import json
import logging
import re
import shutil
import stat
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast, get_args

import numpy as np

from sweep.data.coding import fit_columns, place_levels, word_kinds
from sweep.data.columns import Column, code
from sweep.data.facts import DataFacts, ScalingKind
from sweep.data.files import UNREADABLE, Array, DataSet
from sweep.data.scaling import Kind, Scaling, Target, fit_scaling, fit_target
from sweep.data.splits import Drawn, draw_rows
from sweep.data.wording import list_some
from sweep.durable.disk import sync
from sweep.durable.failpoint import failpoint
from sweep.durable.files import make_draft, sha256_of
from sweep.durable.given import MAX_RECORD_BYTES, read_given
from sweep.errors import InvalidDataError, StorageError, translate
from sweep.study.objective import Task
from sweep.study.schema import Data, shorten

logger = logging.getLogger(__name__)

CACHE_VERSION = 3  # of the layout below; part of a prepared folder's name
FACTS = "facts.json"
ROW_NUMBERS = "row_numbers.npy"  # beside test rows that were drawn
SCALING, SAMPLE = "scaling.npy", "sample.npy"  # of numbers: how they were scaled, and some that were not
SUMS = "sums.json"  # the sha256 of every other file
N_SAMPLE = 1000  # rows
TRAINING_PARTS: tuple[Literal["train", "validation"], ...] = ("train", "validation")  # what workers are given


@dataclass(frozen=True)
class Split:
    """Rows, shape (n, n_features), and their labels, shape (n,): class numbers, int32, or numbers to predict.

    Rows are uint8 or numbers: scaled, as float32, in the splits to train and select by; not scaled in the test split. So are
    numbers to predict. Columns of a table are coded as features in all of them.
    """

    x: Array
    y: Array


@dataclass(frozen=True)
class PreparedData:
    """A data set split and written below `folder`, ready to be mapped."""

    folder: Path
    facts: DataFacts


def open_training_split(prepared: PreparedData, part: Literal["train", "validation"]) -> Split:
    """Map the rows to train or select by. Processes side by side share one copy, and none can change the file."""
    return _map(prepared.folder / part)


def open_test_split(prepared: PreparedData) -> Split:
    """Map the sealed rows. Only the scoring of confirmed replicates may call this; a test holds the imports to it."""
    return _map(prepared.folder / "test")


def open_scaling(prepared: PreparedData) -> Scaling | None:
    """Read how the numbers to train on were scaled; None for pixels, which a model divides by 255."""
    if prepared.facts.scaling == "pixels":
        return None
    with _translate(prepared.folder):
        center, spread = np.load(prepared.folder / SCALING)
    return Scaling(cast(Kind, prepared.facts.scaling), center, spread)


def read_sample(prepared: PreparedData) -> Array:
    """Read the first training rows, N_SAMPLE at most, as they are in the data; shape (n, n_features).

    Of a table with columns, shape (n, n_columns), as `columns.code` takes them.
    """
    if not (prepared.folder / SAMPLE).exists():  # pixels, or numbers that an earlier version left as they are
        return np.array(open_training_split(prepared, "train").x[:N_SAMPLE])
    with _translate(prepared.folder):
        return cast(Array, np.load(prepared.folder / SAMPLE))


def pack_training_rows(prepared: PreparedData) -> dict[str, bytes]:
    """Read the files that training needs, by their paths in the folder: those of the test split are not among them."""
    paths = [path for part in TRAINING_PARTS for path in sorted((prepared.folder / part).glob("*.npy"))]
    paths += [path for name in (SCALING, SAMPLE) if (path := prepared.folder / name).exists()]
    with _translate(prepared.folder):
        return {str(path.relative_to(prepared.folder)): path.read_bytes() for path in paths}


def unpack_training_rows(packed: Mapping[str, bytes], facts: DataFacts, folder: Path) -> PreparedData:
    """Write what `pack_training_rows` read below `folder`, on another machine."""
    for name, content in packed.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return PreparedData(folder, facts)


def prepare(data: DataSet, spec: Data, seed: int, cache: Path) -> PreparedData:
    """Split `data` by `seed` and write it below `cache`, or find it there from an earlier call.

    `splits.draw_rows` says how the rows are split; it follows from the rows, the row counts asked for and the seed alone.
    Raises StorageError where it cannot be written or read.
    """
    digest, scaling = data.sha256(), _choose_scaling(data, spec)
    folder = _prepared_folder(spec, digest, scaling, data.task, seed, cache, [c.name for c in data.columns])
    if not folder.exists():
        with _translate(folder):
            drawn = draw_rows(data.y_train, data.groups, spec, seed, has_test=data.y_test is not None)
            parts = _split(data, drawn)
            _say_what_parts_lack(data, parts, spec)
            columns, parts = _place(data, parts)
            _write(folder, parts, _describe(data, digest, scaling, parts, columns), drawn.test)
        if data.columns:
            logger.info("%s: %s; data.columns sets other kinds", data.name, word_kinds(data.columns, data.x_train))
    return _open(folder)


def find_prepared(spec: Data, facts: DataFacts, seed: int, cache: Path) -> PreparedData | None:
    """Find the folder that `prepare` wrote below `cache` for the data with these facts; None if there is none."""
    names = [column.name for column in facts.columns]
    folder = _prepared_folder(spec, facts.sha256, facts.scaling, facts.task, seed, cache, names)
    return _open(folder) if folder.exists() else None


def read_drawn_test_rows(prepared: PreparedData) -> Array | None:
    """Read which rows of the source were drawn as the test split, in its order; None if the source has a test split."""
    path = prepared.folder / "test" / ROW_NUMBERS
    return np.load(path) if path.exists() else None


def _choose_scaling(data: DataSet, spec: Data) -> ScalingKind:
    """Return how the rows of `data` are scaled: bytes as pixels, numbers as `spec` asks. Raises InvalidDataError."""
    if data.x_train.dtype != np.uint8:
        return spec.scaling or "robust"
    if spec.scaling is not None:
        raise InvalidDataError(
            f"data.scaling = {spec.scaling!r}: {data.name} holds bytes (uint8), which are pixels and divided by 255; "
            "leave the key out, or store the rows as another type"
        )
    return "pixels"


def _prepared_folder(
    spec: Data, sha256: str, scaling: ScalingKind, task: Task, seed: int, cache: Path, columns: list[str]
) -> Path:
    asked = [CACHE_VERSION, sha256, spec.validation_rows, spec.train_rows, spec.test_rows, seed]
    if scaling in get_args(Kind):
        asked.append(scaling)
    if task == "regression":  # whole numbers may be classes in another study
        asked.append(task)
    if spec.group is not None or spec.order is not None:
        asked += [spec.group, spec.order]
    if columns:  # the facts name them
        asked.append(columns)
    return cache / hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]


def _open(folder: Path) -> PreparedData:
    with _translate(folder):
        _refuse_links(folder)
        facts = DataFacts.from_dict(json.loads(read_given(folder / FACTS, MAX_RECORD_BYTES)))
        for part, n_rows in (("train", facts.n_train), ("validation", facts.n_validation), ("test", facts.n_test)):
            split = _map(folder / part)
            if split.x.shape != (n_rows, facts.n_features) or split.y.shape != (n_rows,):
                raise ValueError(
                    f"{part} is {split.x.shape} and {split.y.shape}, not {n_rows} rows of {facts.n_features}"
                )
        _check_sums(folder)
    return PreparedData(folder, facts)


def _refuse_links(folder: Path) -> None:
    """Raise ValueError if anything in `folder` is a link, a pipe or a device: what is behind is elsewhere, or has no end."""
    for path in folder.rglob("*"):
        if not stat.S_ISREG(mode := path.lstat().st_mode) and not stat.S_ISDIR(mode):
            raise ValueError(f"{path.relative_to(folder)} is no file")


def _check_sums(folder: Path) -> None:
    """Raise ValueError for a file whose bytes have changed. What an earlier version prepared has no sums."""
    if not (folder / SUMS).exists():
        return
    for name, digest in json.loads(read_given(folder / SUMS, MAX_RECORD_BYTES)).items():
        if not re.fullmatch(r"(\w+/)?\w+\.\w+", name) or sha256_of(folder / name) != digest:
            raise ValueError(f"{name} is not what was written (sha256)")


def _translate(folder: Path) -> AbstractContextManager[None]:
    def into(error: Exception) -> StorageError:
        return StorageError(
            f"{folder}: cannot be written or read ({error}); make room, remove it, or choose another --runs-dir"
        )

    return translate(*UNREADABLE, KeyError, AttributeError, into=into)


def _split(data: DataSet, drawn: Drawn) -> dict[str, Split]:
    """Return the rows of each part, flat, and their labels. Classes are numbered in the order of their labels."""
    classes = np.unique(data.y_train)

    def split(x: Array, y: Array) -> Split:
        flat = x.reshape(len(x), _n_features(data))
        return Split(flat, y if data.task == "regression" else np.searchsorted(classes, y).astype(np.int32))

    x, y = data.x_train, data.y_train
    if data.x_test is not None and data.y_test is not None:
        test = split(data.x_test, data.y_test)
    else:
        test = split(x[drawn.test], y[drawn.test])
    return {
        "train": split(x[drawn.train], y[drawn.train]),
        "validation": split(x[drawn.validation], y[drawn.validation]),
        "test": test,
    }


def _say_what_parts_lack(data: DataSet, parts: dict[str, Split], spec: Data) -> None:
    """Say which classes a split between groups has left out of a part; a split row by row gives each part its share."""
    if data.groups is None or data.task == "regression":
        return
    classes, key = np.unique(data.y_train), "group" if spec.group is not None else "order"
    for part, rows in parts.items():
        lacking = [str(name) for name in np.delete(classes, np.unique(rows.y))] if len(rows.y) else []
        if lacking:
            logger.warning(
                "%s: data.%s = %r leaves the %s rows without class %s",
                data.name, key, spec.split_by, "training" if part == "train" else part, list_some(map(shorten, lacking)),
            )  # fmt: skip


def _place(data: DataSet, parts: dict[str, Split]) -> tuple[tuple[Column, ...], dict[str, Split]]:
    """Fit the columns of a table to the rows to train on; return them, and the rows as `columns.code` takes them."""
    columns = fit_columns(data.columns, parts["train"].x) if data.columns else ()
    if not columns:
        return (), parts
    return columns, {n: Split(place_levels(rows.x, data.columns, columns), rows.y) for n, rows in parts.items()}


def _describe(
    data: DataSet, digest: str, scaling: ScalingKind, parts: dict[str, Split], columns: tuple[Column, ...]
) -> DataFacts:
    n_features = sum(len(column.features) for column in columns) or _n_features(data)
    facts = DataFacts(
        name=data.name,
        sha256=digest,
        n_train=len(parts["train"].y),
        n_validation=len(parts["validation"].y),
        n_test=len(parts["test"].y),
        n_features=n_features,
        classes=(),
        scaling=scaling,
        feature_shape=(n_features,) if columns else tuple(data.x_train.shape[1:]),
        columns=columns,
    )
    if data.task == "regression":
        return replace(facts, target=fit_target(parts["train"].y))
    classes = np.unique(data.y_train)
    counts = np.bincount(parts["validation"].y, minlength=len(classes))
    return replace(facts, classes=tuple(map(str, classes)), class_counts=tuple(counts.tolist()))


def _n_features(data: DataSet) -> int:
    return int(np.prod(data.x_train.shape[1:]))


def _write(folder: Path, parts: dict[str, Split], facts: DataFacts, drawn_test: Array | None) -> None:
    """Write a prepared folder, whole or not at all."""
    draft = make_draft(folder)
    if facts.scaling != "pixels":
        parts = _scale(parts, facts, draft)
    if facts.target is not None:
        parts = _standardize(parts, facts.target)
    for part, rows in parts.items():
        (draft / part).mkdir()
        np.save(draft / part / "x.npy", rows.x)
        np.save(draft / part / "y.npy", rows.y)
    if drawn_test is not None:
        np.save(draft / "test" / ROW_NUMBERS, drawn_test)
    (draft / FACTS).write_text(json.dumps(facts.to_dict()), encoding="utf-8")
    sums = {str(path.relative_to(draft)): sha256_of(path) for path in sorted(draft.rglob("*.*"))}
    (draft / SUMS).write_text(json.dumps(sums), encoding="utf-8")
    failpoint("data.draft")
    for path in (*draft.rglob("*"), draft):
        sync(path)
    try:
        draft.rename(folder)
    except OSError:  # another command prepared the same rows in the meantime
        shutil.rmtree(draft)
    sync(folder.parent)
    failpoint("data.prepared")


def _scale(parts: dict[str, Split], facts: DataFacts, draft: Path) -> dict[str, Split]:
    """Code the columns of a table, scale the rows to train and select by as the training rows ask for, and write down how."""
    np.save(draft / SAMPLE, parts["train"].x[:N_SAMPLE])
    if facts.columns:
        parts = {part: Split(code(rows.x, facts.columns), rows.y) for part, rows in parts.items()}
    have_units = [has_unit for column in facts.columns for has_unit in column.scaled]
    scaling = fit_scaling(parts["train"].x, cast(Kind, facts.scaling), have_units or None)
    np.save(draft / SCALING, np.array([scaling.center, scaling.spread]))
    return {part: rows if part == "test" else Split(scaling.apply(rows.x), rows.y) for part, rows in parts.items()}


def _standardize(parts: dict[str, Split], target: Target) -> dict[str, Split]:
    """Standardize the numbers to predict of the rows to train and select by."""
    return {part: rows if part == "test" else Split(rows.x, target.apply(rows.y)) for part, rows in parts.items()}


def _map(folder: Path) -> Split:
    # Copy on write: the tensors of `train/graph/trainer.py` want writable memory, though nobody writes; the file stays as it is.
    x, y = (np.load(folder / f"{name}.npy", mmap_mode="c") for name in "xy")
    return Split(x, y)
