"""Data sets prepared for training: the sealed test split, and arrays on disk that workers map.

A prepared data set is a folder of .npy files: `train/` and `validation/`, which workers are given, and `test/`, which
`open_test_split` alone opens, after selection is over.
"""

import hashlib
import json
import os
import shutil
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sweep.data.files import Array, DataSet
from sweep.durable.disk import sync
from sweep.durable.failpoint import failpoint
from sweep.errors import StorageError, translate
from sweep.study.config import derive_seed
from sweep.study.schema import Data

CACHE_VERSION = 3  # of the layout below; part of a prepared folder's name
ROW_NUMBERS = "row_numbers.npy"  # beside test rows that were drawn


@dataclass(frozen=True)
class DataFacts:
    """What a model and a record must know of the data."""

    name: str  # "mnist" or a file name
    sha256: str  # of all rows and labels, test included
    n_train: int
    n_validation: int
    n_test: int
    n_features: int
    classes: tuple[str, ...]
    scaling: Literal["pixels", "standardize"]  # uint8 is divided by 255 in the model; numbers are standardized there
    feature_shape: tuple[int, ...]  # of one row before it was flattened, such as (28, 28)

    @property
    def n_classes(self) -> int:
        return len(self.classes)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "DataFacts":
        """Rebuild facts from `asdict`, as JSON keeps them. Raises KeyError or TypeError where they are none."""
        tuples = {name: tuple(values[name]) for name in ("classes", "feature_shape")}
        return cls(**{**values, **tuples})


@dataclass(frozen=True)
class Split:
    """Rows, shape (n, n_features), uint8 or float32, and their class numbers, shape (n,), int32."""

    x: Array
    y: Array


@dataclass(frozen=True)
class PreparedData:
    """A data set split and written below `folder`, ready to be mapped."""

    folder: Path
    facts: DataFacts


def open_training_split(prepared: PreparedData, part: Literal["train", "validation"]) -> Split:
    """Rows to train or select by, mapped: side by side processes share one copy, and none can change the file."""
    return _map(prepared.folder / part)


def open_test_split(prepared: PreparedData) -> Split:
    """The sealed rows. Only the scoring of confirmed replicates may call this; a test holds the imports to it."""
    return _map(prepared.folder / "test")


def prepare(data: DataSet, spec: Data, seed: int, cache: Path) -> PreparedData:
    """Split `data` by `seed` and write it below `cache`, or find it there from an earlier call.

    The split is stratified by class; it follows from the rows, the row counts asked for and the seed alone.
    Raises StorageError where it cannot be written or read.
    """
    digest = data.sha256()
    folder = _prepared_folder(spec, digest, seed, cache)
    if not folder.exists():
        with _translate(folder):
            _write_prepared(data, spec, seed, digest, folder)
    return _opened(folder)


def find_prepared(spec: Data, sha256: str, seed: int, cache: Path) -> PreparedData | None:
    """What `prepare` left below `cache` of the data whose identity is `sha256`; None where nothing is left."""
    folder = _prepared_folder(spec, sha256, seed, cache)
    return _opened(folder) if folder.exists() else None


def read_drawn_test_rows(prepared: PreparedData) -> Array | None:
    """Which rows of the source were drawn as the test split, in its order; None where the source has one of its own."""
    path = prepared.folder / "test" / ROW_NUMBERS
    return np.load(path) if path.exists() else None


def _prepared_folder(spec: Data, sha256: str, seed: int, cache: Path) -> Path:
    asked = [CACHE_VERSION, sha256, spec.validation_rows, spec.train_rows, spec.test_rows, seed]
    return cache / hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]


def _opened(folder: Path) -> PreparedData:
    with _translate(folder):
        facts = DataFacts.from_dict(json.loads((folder / "facts.json").read_bytes()))
        for part, n_rows in (("train", facts.n_train), ("validation", facts.n_validation), ("test", facts.n_test)):
            split = _map(folder / part)
            if split.x.shape != (n_rows, facts.n_features) or split.y.shape != (n_rows,):
                raise ValueError(
                    f"{part} is {split.x.shape} and {split.y.shape}, not {n_rows} rows of {facts.n_features}"
                )
    return PreparedData(folder, facts)


def _translate(folder: Path) -> AbstractContextManager[None]:
    def into(error: Exception) -> StorageError:
        return StorageError(
            f"{folder}: cannot be written or read ({error}); make room, remove it, or choose another --runs-dir"
        )

    return translate(OSError, ValueError, into=into)


def _write_prepared(data: DataSet, spec: Data, seed: int, digest: str, folder: Path) -> None:
    classes = np.unique(data.y_train)
    rest = np.arange(len(data.y_train))
    sealed: Array | None = None
    if data.x_test is not None and data.y_test is not None:
        test = (data.x_test, data.y_test)
    else:
        rest, sealed = _stratified(rest, data.y_train, spec.test_rows or 0, derive_seed(seed, "test"))
        test = (data.x_train[sealed], data.y_train[sealed])
    train, validation = _stratified(rest, data.y_train, spec.validation_rows, derive_seed(seed, "validation"))
    if spec.train_rows is not None:
        _, train = _stratified(train, data.y_train, spec.train_rows, derive_seed(seed, "train"))
    parts = {
        "train": (data.x_train[train], data.y_train[train]),
        "validation": (data.x_train[validation], data.y_train[validation]),
        "test": test,
    }
    n_features = int(np.prod(data.x_train.shape[1:]))
    facts = DataFacts(
        name=data.name,
        sha256=digest,
        n_train=len(train),
        n_validation=len(validation),
        n_test=len(test[0]),
        n_features=n_features,
        classes=tuple(str(c) for c in classes),
        scaling="pixels" if data.x_train.dtype == np.uint8 else "standardize",
        feature_shape=tuple(data.x_train.shape[1:]),
    )
    draft = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)  # of a process that had our id and was killed
    for part, (x, y) in parts.items():
        (draft / part).mkdir(parents=True)
        np.save(draft / part / "x.npy", x.reshape(len(x), n_features))
        np.save(draft / part / "y.npy", np.searchsorted(classes, y).astype(np.int32))
    if sealed is not None:
        np.save(draft / "test" / ROW_NUMBERS, sealed)
    (draft / "facts.json").write_text(json.dumps(asdict(facts)))
    failpoint("data.draft")
    for path in (*draft.rglob("*"), draft):
        sync(path)
    try:
        draft.rename(folder)
    except OSError:  # another command prepared the same rows in the meantime
        shutil.rmtree(draft)
    sync(folder.parent)
    failpoint("data.prepared")


def _stratified(rows: Array, labels: Array, n_second: int, seed: int) -> tuple[Array, Array]:
    """Split row numbers in two, the second of `n_second` rows, classes in equal shares; each part in rising order."""
    from sklearn.utils import resample

    if n_second == 0:
        return rows, rows[:0]
    # Not train_test_split: it wants a row of every class among those that a subset leaves over.
    second = resample(rows, replace=False, n_samples=n_second, random_state=seed, stratify=labels[rows])
    return np.setdiff1d(rows, second), np.sort(second)


def _map(folder: Path) -> Split:
    # Copy on write: the tensors of `train/graph/trainer.py` want writable memory, though nobody writes; the file stays as it is.
    x, y = (np.load(folder / f"{name}.npy", mmap_mode="c") for name in "xy")
    return Split(x, y)
