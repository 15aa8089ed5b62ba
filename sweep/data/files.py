"""Data sets as their files hold them: rows and labels are read and checked here."""

import hashlib
import json
import logging
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path, PurePath
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweep.data.coding import RawColumn
from sweep.data.columns import MAX_NUMBER
from sweep.data.labels import looks_like_numbers, to_labels
from sweep.data.splits import count_rows
from sweep.data.tables import SUFFIXES as TABLE_SUFFIXES
from sweep.data.tables import read_table
from sweep.data.text_table import SUFFIXES as TEXT_SUFFIXES
from sweep.data.text_table import suffix_of
from sweep.data.unpacked import check_file
from sweep.errors import InvalidDataError
from sweep.study.objective import Task
from sweep.study.schema import Data

logger = logging.getLogger(__name__)

MNIST_SHA256 = {
    "x_train": "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
    "y_train": "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
    "x_test": "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
    "y_test": "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
}

# What numpy raises for a file that is no .npz of plain arrays. RuntimeError: encrypted, or a compression that zipfile does not
# know. TokenError, TypeError: a header that is no Python, or of things that are no type.
UNREADABLE = (
    OSError, ValueError, EOFError, TypeError, RuntimeError, MemoryError, SyntaxError, TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
MAX_CHANNELS = 4  # of an image: red, green, blue and opacity

Array = NDArray[Any]


@dataclass(frozen=True)
class DataSet:
    """Rows and labels of a source, checked. `x_test` and `y_test` are None where it has no test split."""

    name: str
    x_train: Array
    y_train: Array
    x_test: Array | None
    y_test: Array | None
    # (n,), whole numbers: rows of one stay together when `x_train` is split, see `splits.py`.
    groups: Array | None = None
    columns: tuple[RawColumn, ...] = ()  # of a table: what the columns of `x_train` hold

    @property
    def task(self) -> Task:
        """What the labels are for: numbers to predict are float64, classes are of another type."""
        return "regression" if self.y_train.dtype.kind == "f" else "classification"

    def sha256(self) -> str:
        """Return the sha256 of all rows, labels and groups, of their shapes and types, and of what columns hold."""
        digest = hashlib.sha256()
        for array in (self.x_train, self.y_train, self.x_test, self.y_test, self.groups):
            if array is not None:
                digest.update(f"{array.dtype.str}{array.shape}".encode())
                digest.update(_to_bytes(array))
        if not all(column.is_plain for column in self.columns):  # of numbers alone, the bytes say all
            digest.update(json.dumps([[column.kind, column.levels] for column in self.columns]).encode())
        return digest.hexdigest()


def read(spec: Data, base: Path) -> DataSet:
    """Read and check the rows that `spec` names; a relative path starts at `base`. Raises InvalidDataError."""
    if spec.source == "mnist":
        _check_keys(spec, "mnist", "")
        if spec.task == "regression":
            raise InvalidDataError(
                "mnist: its labels are digits, which are classes; leave data.task = 'regression' out"
            )
        return _read_mnist()
    path = base / spec.source
    check_file(path, "data.source is 'mnist' or a path relative to the study file")
    suffix = suffix_of(path)
    if suffix not in (".npz", *TABLE_SUFFIXES):
        raise InvalidDataError(
            f"{path}: cannot read {suffix or 'a file without a suffix'}; wanted .npz, {', '.join(TABLE_SUFFIXES)}"
        )
    _check_keys(spec, path, suffix)
    if suffix == ".npz":
        return _check_arrays(_read_npz(path), path, spec)
    return _check_table(path, spec)


def _check_table(path: Path, spec: Data) -> DataSet:
    rows = read_table(path, spec)
    y, task = _find_task(rows.labels, spec, path)
    _check_several(y, task, f"column {spec.label!r}", path)
    return DataSet(path.name, np.ascontiguousarray(rows.x), y, None, None, rows.groups, rows.columns)


def _check_several(y: Array, task: Task, name: str, path: Path) -> None:
    if len(np.unique(y)) < 2:
        only = "class" if task == "classification" else "value"
        raise InvalidDataError(f"{path}: {name} has one {only} only, wanted two or more")


def is_table(source: str) -> bool:
    """Return whether `data.source` names a table, whose label is a column."""
    return suffix_of(PurePath(source)) in TABLE_SUFFIXES


def is_text(source: str) -> bool:
    """Return whether `data.source` names a table that is a file of text."""
    return suffix_of(PurePath(source)) in TEXT_SUFFIXES


def _check_keys(spec: Data, source: Path | str, suffix: str) -> None:
    """Refuse keys that a source of this kind has no use for. Raises InvalidDataError."""
    of_tables, of_text = ("label", "drop", "columns", "group", "order"), ("missing", "separator")
    useless = () if suffix in TEXT_SUFFIXES else of_text if suffix in TABLE_SUFFIXES else (*of_tables, *of_text)
    for key in useless:
        if getattr(spec, key) != Data.model_fields[key].get_default(call_default_factory=True):
            kinds = TABLE_SUFFIXES if key in of_tables else TEXT_SUFFIXES
            raise InvalidDataError(f"{source}: data.{key} is for tables ({', '.join(kinds)}); leave it out")


def find_image_shape(feature_shape: tuple[int, ...]) -> tuple[int, int, int] | None:
    """Return height, width and channels of rows of bytes of this shape; None where they are no images, or not known to be."""
    height, width, channels = (*feature_shape, 1, 1)[:3]
    is_image = 2 <= len(feature_shape) <= 3 and min(height, width) > 1 and channels <= MAX_CHANNELS
    return (height, width, channels) if is_image else None


def check_images(data: DataSet, key: str) -> None:
    """Check that the rows are images that can be distorted, as `key` of a study asks. Raises InvalidDataError."""
    if data.x_train.dtype == np.uint8 and find_image_shape(data.x_train.shape[1:]):
        return
    shape = ", ".join(map(str, ("n", *data.x_train.shape[1:])))
    raise InvalidDataError(
        f"{key}: {data.name} holds rows of {data.x_train.dtype}, shape ({shape}), which are no images; wanted bytes (uint8) in "
        f"an .npz, shape (n, height, width) or (n, height, width, channels) with up to {MAX_CHANNELS} channels; store them so, "
        "or leave the key out"
    )


def check_rows(data: DataSet, spec: Data) -> None:
    """Check that `data` holds the rows that `spec` asks for. Raises InvalidDataError."""
    available = len(data.x_train)
    if spec.test_rows and data.x_test is not None:
        raise InvalidDataError(
            f"data.test_rows = {spec.test_rows}: {data.name} has a test split of its own; leave it out"
        )
    held_out = count_rows(spec.validation_rows, available) + count_rows(spec.test_rows, available)
    asked = held_out + (spec.train_rows or 2)
    if asked > available:
        raise InvalidDataError(
            f"{data.name} has {available} rows to train on, but validation_rows, test_rows and train_rows take {asked}"
        )
    if data.groups is not None:
        _check_groups(len(np.unique(data.groups)), data.name, spec)
    if data.task == "regression":
        _check_have_spread(data, spec)
    else:
        _check_classes(data, spec, available - held_out)


def _check_groups(n_groups: int, name: str, spec: Data) -> None:
    n_parts = 1 + bool(spec.validation_rows) + bool(spec.test_rows)
    if n_groups < n_parts:
        key = "group" if spec.group is not None else "order"
        raise InvalidDataError(
            f"data.{key} = {spec.split_by!r}: {name} has {n_groups} different values of it, wanted one or more for each of "
            f"{n_parts} parts"
        )


def _check_have_spread(data: DataSet, spec: Data) -> None:
    for key in ("validation_rows", "test_rows"):
        if getattr(spec, key) is not None and count_rows(getattr(spec, key), len(data.y_train)) == 1:
            raise InvalidDataError(
                f"data.{key} = {getattr(spec, key)}: an error of one row says nothing of {data.name}; wanted two or more"
            )


def _check_classes(data: DataSet, spec: Data, n_left: int) -> None:
    classes, sizes = np.unique(data.y_train, return_counts=True)
    if sizes.min() < 2:
        is_number = data.y_train.dtype.kind in "iu"
        raise InvalidDataError(
            f"{data.name}: class {classes[sizes.argmin()]} has a single row, which cannot be split; wanted two"
            + "; if it is a number to predict, set data.task = 'regression'" * is_number
        )
    for key in ("validation_rows", "test_rows", "train_rows"):
        if getattr(spec, key) and count_rows(getattr(spec, key), len(data.y_train)) < len(classes):
            raise InvalidDataError(
                f"data.{key} = {getattr(spec, key)}: fewer than the {len(classes)} classes of {data.name}"
            )
    if n_left < len(classes):
        raise InvalidDataError(f"{data.name}: fewer rows are left to train on than it has classes ({len(classes)})")


def _read_mnist() -> DataSet:
    with resources.as_file(resources.files("sweep") / "datasets" / "mnist.npz") as path, np.load(path) as arrays:
        found = {name: arrays[name] for name in MNIST_SHA256}
    for name, digest in MNIST_SHA256.items():
        if hashlib.sha256(_to_bytes(found[name])).hexdigest() != digest:
            raise InvalidDataError(f"the embedded mnist.npz is damaged: {name} has another sha256; restore it from git")
    return DataSet("mnist", **found)


def read_arrays(path: Path, choose: Callable[[list[str]], list[str]]) -> dict[str, Array]:
    """Read the arrays of an .npz file that `choose` picks by name. Unpickles nothing. Raises InvalidDataError."""
    try:
        with path.open("rb") as file, np.lib.npyio.NpzFile(file, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in choose(arrays.files)}
    except InvalidDataError:  # raised by `choose`
        raise
    except UNREADABLE as error:
        raise InvalidDataError(f"{path}: not a readable .npz of plain arrays: {_first_line(error)}") from error
    for name, array in found.items():
        if not isinstance(array, np.ndarray):
            raise InvalidDataError(f"{path}: {name} is not an array")
    return found


def _read_npz(path: Path) -> DataSet:
    found = read_arrays(path, lambda names: [name for name in MNIST_SHA256 if name in names])
    for name in ("x_train", "y_train"):
        if name not in found:
            raise InvalidDataError(f"{path}: has no array {name}; wanted x_train, y_train and, if any, x_test, y_test")
    if ("x_test" in found) != ("y_test" in found):
        raise InvalidDataError(f"{path}: has one of x_test and y_test; wanted both or neither")
    return DataSet(path.name, found["x_train"], found["y_train"], found.get("x_test"), found.get("y_test"))


def _check_arrays(data: DataSet, path: Path, spec: Data) -> DataSet:
    """Return `data` with rows of uint8, float32 or float64, every array of a kind and shape that can be trained on."""
    x_train = _to_rows(data.x_train, "x_train", path)
    y_train, task = _find_task(_to_labels(data.y_train, "y_train", len(x_train), path, spec.task), spec, path)
    _check_several(y_train, task, "y_train", path)
    if data.x_test is None or data.y_test is None:
        return DataSet(data.name, x_train, y_train, None, None)
    x_test = _to_rows(data.x_test, "x_test", path)
    y_test = _to_labels(data.y_test, "y_test", len(x_test), path, task)
    if x_test.dtype != x_train.dtype and np.uint8 not in (x_test.dtype, x_train.dtype):
        x_train, x_test = x_train.astype(np.float64), x_test.astype(np.float64)
    if x_test.shape[1:] != x_train.shape[1:] or x_test.dtype != x_train.dtype:
        raise InvalidDataError(
            f"{path}: x_test has rows of {x_test.dtype} {x_test.shape[1:]}, x_train of {x_train.dtype} {x_train.shape[1:]}"
        )
    if (y_test.dtype.kind == "b") != (y_train.dtype.kind == "b"):  # True equals 1, and is another name
        raise InvalidDataError(
            f"{path}: y_test holds {y_test.dtype}, y_train {y_train.dtype}; wanted labels of one kind"
        )
    unknown = sorted(set(y_test.tolist()) - set(y_train.tolist())) if task == "classification" else []
    if unknown:
        raise InvalidDataError(f"{path}: y_test holds a class that y_train does not: {unknown[0]!r}")
    return DataSet(data.name, x_train, y_train, x_test, y_test)


def _find_task(y: Array, spec: Data, path: Path) -> tuple[Array, Task]:
    """Return labels in the form of their task, and the task: the study's, or else the one that they look like, which is said."""
    if spec.task is None and looks_like_numbers(y):
        y = to_labels(y, "y_train", path, "regression")
    if y.dtype.kind != "f":
        return y, "classification"
    if spec.task is None:
        n_values = len(np.unique(y))
        logger.info(
            "%s: its labels are a number to predict (%d values in %d rows), so this is a regression; data.task says otherwise",
            path.name,
            n_values,
            len(y),
        )
    return y, "regression"


def _to_rows(x: Array, name: str, path: Path) -> Array:
    """Return bytes as they are, and other numbers as float32 where that holds each of their type, else as float64."""
    if x.dtype.kind not in "biuf" or x.ndim < 2 or x.size == 0:
        raise InvalidDataError(f"{path}: {name} is {x.dtype} {x.shape}, wanted rows of numbers, shape (n, ...)")
    if x.dtype == np.uint8:
        return np.ascontiguousarray(x)
    if not np.isfinite(x).all():
        raise InvalidDataError(f"{path}: {name} holds {int((~np.isfinite(x)).sum())} values that are NaN or infinite")
    if max(abs(float(x.min())), abs(float(x.max()))) > MAX_NUMBER:
        raise InvalidDataError(f"{path}: {name} holds numbers beyond {MAX_NUMBER:g}; rescale it")
    return np.ascontiguousarray(x, dtype=np.float32 if np.can_cast(x.dtype, np.float32) else np.float64)


def _to_labels(y: Array, name: str, n_rows: int, path: Path, task: Task | None) -> Array:
    if y.ndim and len(y) != n_rows:
        raise InvalidDataError(f"{path}: {name} has {len(y)} labels for {n_rows} rows")
    return to_labels(y, name, path, task)


def _to_bytes(array: Array) -> memoryview | bytes:
    return np.ascontiguousarray(array).data if array.dtype.kind not in "US" else array.tobytes()


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
