"""Data sets: reading and checking them, sealing off the test split, and arrays on disk that workers map.

A prepared data set is a folder of .npy files: `train/` and `validation/`, which workers are given, and `test/`, which
`open_test_split` alone opens, after selection is over.
"""

import hashlib
import json
import os
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sweep.config import derived_seed
from sweep.disk import sync
from sweep.errors import InvalidDataError, StorageError
from sweep.failpoint import failpoint
from sweep.study import Data

MNIST_SHA256 = {
    "x_train": "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
    "y_train": "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
    "x_test": "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
    "y_test": "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
}
CACHE_VERSION = 3  # of the layout below; part of a prepared folder's name
ROW_NUMBERS = "row_numbers.npy"  # beside test rows that were drawn

Array = NDArray[Any]


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


@dataclass(frozen=True)
class _DataSet:
    name: str
    x_train: Array
    y_train: Array
    x_test: Array | None
    y_test: Array | None

    def sha256(self) -> str:
        digest = hashlib.sha256()
        for array in (self.x_train, self.y_train, self.x_test, self.y_test):
            if array is not None:
                digest.update(f"{array.dtype.str}{array.shape}".encode())
                digest.update(_bytes_of(array))
        return digest.hexdigest()


def open_training_split(prepared: PreparedData, part: Literal["train", "validation"]) -> Split:
    """Rows to train or select by, mapped: side by side processes share one copy, and none can change the file."""
    return _map(prepared.folder / part)


def open_test_split(prepared: PreparedData) -> Split:
    """The sealed rows. Only the scoring of confirmed replicates may call this; a test holds the imports to it."""
    return _map(prepared.folder / "test")


def read(spec: Data, base: Path) -> "_DataSet":
    """The rows that `spec` names, checked; a relative path starts at `base`. Raises InvalidDataError."""
    if spec.source == "mnist":
        return _read_mnist()
    path = base / spec.source
    if not path.is_file():
        raise InvalidDataError(f"{path}: no such file; data.source is 'mnist' or a path relative to the study file")
    check_size(path)
    match path.suffix:
        case ".npz":
            return _checked(_read_npz(path), path)
        case ".csv" | ".parquet":
            return _checked(_read_table(path, spec.label), path)
        case other:
            raise InvalidDataError(
                f"{path}: cannot read {other or 'a file without a suffix'}; wanted .npz, .csv or .parquet"
            )


def prepare(data: _DataSet, spec: Data, seed: int, cache: Path) -> PreparedData:
    """Split `data` by `seed` and write it below `cache`, or find it there from an earlier call.

    The split is stratified by class; it follows from the rows, the row counts asked for and the seed alone.
    Raises StorageError where it cannot be written or read.
    """
    digest = data.sha256()
    folder = _prepared_folder(spec, digest, seed, cache)
    if not folder.exists():
        with _told(folder):
            _write_prepared(data, spec, seed, digest, folder)
    return _opened(folder)


def find_prepared(spec: Data, sha256: str, seed: int, cache: Path) -> PreparedData | None:
    """What `prepare` left below `cache` of the data whose identity is `sha256`; None where nothing is left."""
    folder = _prepared_folder(spec, sha256, seed, cache)
    return _opened(folder) if folder.exists() else None


def drawn_test_rows(prepared: PreparedData) -> Array | None:
    """Which rows of the source were drawn as the test split, in its order; None where the source has one of its own."""
    path = prepared.folder / "test" / ROW_NUMBERS
    return np.load(path) if path.exists() else None


def _prepared_folder(spec: Data, sha256: str, seed: int, cache: Path) -> Path:
    asked = [CACHE_VERSION, sha256, spec.validation_rows, spec.train_rows, spec.test_rows, seed]
    return cache / hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]


def _opened(folder: Path) -> PreparedData:
    with _told(folder):
        facts = json.loads((folder / "facts.json").read_bytes())
    facts |= {"classes": tuple(facts["classes"]), "feature_shape": tuple(facts["feature_shape"])}
    return PreparedData(folder, DataFacts(**facts))


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    """A prepared folder that cannot be written or read as a StorageError."""
    try:
        yield
    except InvalidDataError:
        raise
    except (OSError, ValueError) as error:
        raise StorageError(
            f"{folder}: cannot be written or read ({error}); make room, remove it, or choose another --runs-dir"
        ) from error


def check_rows(data: _DataSet, spec: Data) -> None:
    """Raises InvalidDataError if `data` does not hold the rows that `spec` asks for."""
    available = len(data.x_train)
    if spec.test_rows and data.x_test is not None:
        raise InvalidDataError(
            f"data.test_rows = {spec.test_rows}: {data.name} has a test split of its own; leave it out"
        )
    asked = spec.validation_rows + (spec.test_rows or 0) + (spec.train_rows or 2)
    if asked > available:
        raise InvalidDataError(
            f"{data.name} has {available} rows to train on, but validation_rows, test_rows and train_rows take {asked}"
        )
    classes, sizes = np.unique(data.y_train, return_counts=True)
    n_classes = len(classes)
    if sizes.min() < 2:
        raise InvalidDataError(
            f"{data.name}: class {classes[sizes.argmin()]} has a single row, which cannot be split; wanted two"
        )
    for key in ("validation_rows", "test_rows", "train_rows"):
        if 0 < (getattr(spec, key) or 0) < n_classes:
            raise InvalidDataError(
                f"data.{key} = {getattr(spec, key)}: fewer than the {n_classes} classes of {data.name}"
            )
    if available - (spec.validation_rows + (spec.test_rows or 0)) < n_classes:
        raise InvalidDataError(f"{data.name}: fewer rows are left to train on than it has classes ({n_classes})")


def _write_prepared(data: _DataSet, spec: Data, seed: int, digest: str, folder: Path) -> None:
    classes = np.unique(data.y_train)
    rest = np.arange(len(data.y_train))
    sealed: Array | None = None
    if data.x_test is not None and data.y_test is not None:
        test = (data.x_test, data.y_test)
    else:
        rest, sealed = _stratified(rest, data.y_train, spec.test_rows or 0, derived_seed(seed, "test"))
        test = (data.x_train[sealed], data.y_train[sealed])
    train, validation = _stratified(rest, data.y_train, spec.validation_rows, derived_seed(seed, "validation"))
    if spec.train_rows is not None:
        _, train = _stratified(train, data.y_train, spec.train_rows, derived_seed(seed, "train"))
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
    # Copy on write: the tensors of `train/graph.py` want writable memory, though nobody writes; the file stays as it is.
    x, y = (np.load(folder / f"{name}.npy", mmap_mode="c") for name in "xy")
    return Split(x, y)


def _read_mnist() -> _DataSet:
    with resources.as_file(resources.files("sweep") / "datasets" / "mnist.npz") as path, np.load(path) as arrays:
        found = {name: arrays[name] for name in MNIST_SHA256}
    for name, digest in MNIST_SHA256.items():
        if hashlib.sha256(_bytes_of(found[name])).hexdigest() != digest:
            raise InvalidDataError(f"the embedded mnist.npz is damaged: {name} has another sha256; restore it from git")
    return _DataSet("mnist", **found)


def check_size(path: Path) -> None:
    """Raises InvalidDataError where a file unpacks to more than half of the memory: a few bytes can stand for terabytes."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    unpacked = _unpacked_bytes(path)
    if unpacked > memory / 2:
        raise InvalidDataError(
            f"{path}: unpacks to {unpacked / 2**30:,.1f} GiB, more than half of this machine's memory of "
            f"{memory / 2**30:,.1f} GiB; keep fewer rows, or smaller numbers such as uint8"
        )


def _unpacked_bytes(path: Path) -> int:
    """What a file's own directory says it holds; 0 where that cannot be read, which reading it then reports."""
    try:
        if path.suffix == ".npz":
            with zipfile.ZipFile(path) as archive:
                return sum(member.file_size for member in archive.infolist())
        if path.suffix == ".parquet":
            from pyarrow import parquet

            metadata = parquet.read_metadata(path)
            return int(metadata.num_rows * metadata.num_columns * 8)  # as float64
        return path.stat().st_size
    except (OSError, ValueError, zipfile.BadZipFile):
        return 0


def read_arrays(path: Path, choose: Callable[[list[str]], list[str]]) -> dict[str, Array]:
    """The arrays of an .npz file that `choose` picks from their names. Raises InvalidDataError; unpickles nothing."""
    try:
        with path.open("rb") as file, np.lib.npyio.NpzFile(file, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in choose(arrays.files)}
    except InvalidDataError:  # what `choose` says
        raise
    # RuntimeError: encrypted, or a compression that zipfile does not know
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError, MemoryError) as error:
        raise InvalidDataError(f"{path}: not a readable .npz of plain arrays: {_first_line(error)}") from error
    for name, array in found.items():
        if not isinstance(array, np.ndarray):
            raise InvalidDataError(f"{path}: {name} is not an array")
    return found


def _read_npz(path: Path) -> _DataSet:
    found = read_arrays(path, lambda names: [name for name in MNIST_SHA256 if name in names])
    for name in ("x_train", "y_train"):
        if name not in found:
            raise InvalidDataError(f"{path}: has no array {name}; wanted x_train, y_train and, if any, x_test, y_test")
    if ("x_test" in found) != ("y_test" in found):
        raise InvalidDataError(f"{path}: has one of x_test and y_test; wanted both or neither")
    return _DataSet(path.name, found["x_train"], found["y_train"], found.get("x_test"), found.get("y_test"))


def _read_table(path: Path, label: str | None) -> _DataSet:
    import pandas as pd

    if label is None:
        raise InvalidDataError(f"{path}: name its label column with data.label")
    try:
        frame = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    except (OSError, ValueError) as error:  # parser, decoder and arrow errors are ValueErrors
        raise InvalidDataError(f"{path}: not a readable {path.suffix} table: {_first_line(error)}") from error
    if label not in frame:
        raise InvalidDataError(
            f"{path}: data.label = {label!r} is not one of its columns: {', '.join(map(str, frame))[:200]}"
        )
    features = frame.drop(columns=label)
    if features.empty:
        raise InvalidDataError(f"{path}: wanted rows and at least one column beside {label!r}")
    for column, kind in features.dtypes.items():
        if not pd.api.types.is_numeric_dtype(kind):
            raise InvalidDataError(f"{path}: column {column!r} holds {kind}, wanted numbers; encode or drop it")
    if frame[label].isna().any():
        raise InvalidDataError(f"{path}: column {label!r} has {frame[label].isna().sum()} rows without a label")
    labels = frame[label].to_numpy()
    if labels.dtype.kind == "O" and not all(isinstance(value, str | int | bool) for value in labels):
        raise InvalidDataError(
            f"{path}: column {label!r} holds {type(labels[0]).__name__}, wanted text or whole numbers"
        )
    return _DataSet(
        path.name, features.to_numpy(np.float64), labels.astype(str) if labels.dtype.kind == "O" else labels, None, None
    )


def _checked(data: _DataSet, path: Path) -> _DataSet:
    """`data` with uint8 or float32 rows, every array of a kind and shape that can be trained on."""
    x_train = _checked_rows(data.x_train, "x_train", path)
    y_train = _checked_labels(data.y_train, "y_train", len(x_train), path)
    if len(np.unique(y_train)) < 2:
        raise InvalidDataError(f"{path}: y_train has one class only, wanted two or more")
    if data.x_test is None or data.y_test is None:
        return _DataSet(data.name, x_train, y_train, None, None)
    x_test = _checked_rows(data.x_test, "x_test", path)
    y_test = _checked_labels(data.y_test, "y_test", len(x_test), path)
    if x_test.shape[1:] != x_train.shape[1:] or x_test.dtype != x_train.dtype:
        raise InvalidDataError(
            f"{path}: x_test has rows of {x_test.dtype} {x_test.shape[1:]}, x_train of {x_train.dtype} {x_train.shape[1:]}"
        )
    if unknown := sorted(set(y_test.tolist()) - set(y_train.tolist())):
        raise InvalidDataError(f"{path}: y_test holds a class that y_train does not: {unknown[0]!r}")
    return _DataSet(data.name, x_train, y_train, x_test, y_test)


def _checked_rows(x: Array, name: str, path: Path) -> Array:
    if x.dtype.kind not in "biuf" or x.ndim < 2 or x.size == 0:
        raise InvalidDataError(f"{path}: {name} is {x.dtype} {x.shape}, wanted rows of numbers, shape (n, ...)")
    if x.dtype == np.uint8:
        return np.ascontiguousarray(x)
    if not np.isfinite(x).all():
        raise InvalidDataError(f"{path}: {name} holds {int((~np.isfinite(x)).sum())} values that are NaN or infinite")
    with np.errstate(over="ignore"):  # checked right below
        x = np.ascontiguousarray(x, dtype=np.float32)
    if not np.isfinite(x).all():
        raise InvalidDataError(f"{path}: {name} holds values too large for float32; rescale it")
    return x


def _checked_labels(y: Array, name: str, n_rows: int, path: Path) -> Array:
    if y.ndim != 1 or y.dtype.kind not in "biuUS":
        raise InvalidDataError(
            f"{path}: {name} is {y.dtype} {y.shape}, wanted one whole number or text label a row, shape (n,)"
        )
    if len(y) != n_rows:
        raise InvalidDataError(f"{path}: {name} has {len(y)} labels for {n_rows} rows")
    return y


def _bytes_of(array: Array) -> memoryview | bytes:
    return np.ascontiguousarray(array).data if array.dtype.kind not in "US" else array.tobytes()


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
