"""Check a bundle: its files are whole, and its model predicts the test rows as recorded.

    python verify.py DATA

The data are those that README.md names: arrays (.npz), or a table of text (.csv, .tsv, also .gz). Needs numpy and onnxruntime alone; says one line, and ends with 0 if all holds, 1 if
not. This file is a room of the program that writes bundles, and a copy of it lies in each of them.
"""

import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    del sys.path[0]  # the bundle's own folder: what lies there under the name of a module is not to be run

import argparse
import csv
import gzip
import hashlib
import io
import json
import math
import os
import re
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from io import BufferedReader
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

SUMS, SUMMARY, MODEL, RECORDED = "SHA256SUMS", "summary.json", "model.onnx", "predictions.npz"
TOLERANCE = 1e-5  # between the probabilities of the model here and where it was trained
OF_VALUES = 1e-4  # the same of numbers that it predicts, see `off_by`
MAX_TEXT_BYTES, MAX_MODEL_BYTES = 2**22, 2**30
BATCH = 4096  # rows
# What an MLP needs. None repeats anything, so a model of these ends: Loop, Scan and If, and what makes much of little, are out.
OPERATORS = {
    "Abs", "Add", "And", "BatchNormalization", "Cast", "Clip", "Constant", "Div", "Dropout", "Elu", "Equal", "Erf",
    "Exp", "Flatten", "Gemm", "Greater", "GreaterOrEqual", "HardSigmoid", "Identity", "LeakyRelu", "Less",
    "LessOrEqual", "Log", "LogSoftmax", "MatMul", "Max", "Min", "Mul", "Neg", "Not", "Or", "Pow", "PRelu",
    "Reciprocal", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "Relu", "Reshape", "Selu", "Shape",
    "Sigmoid", "Sign", "Softmax", "Softplus", "Softsign", "Sqrt", "Squeeze", "Sub", "Sum", "Tanh", "Transpose",
    "Unsqueeze", "Where",
    "ai.onnx.ml.LabelEncoder", "Concat", "Cos", "IsNaN", "Sin",  # to code the columns of a table
}  # fmt: skip
ONCE = "Concat"  # a chain of these would make much of little
ROW_TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64}  # of a model's input
BOOLEANS = {
    "true": 1.0,
    "t": 1.0,
    "yes": 1.0,
    "y": 1.0,
    "1": 1.0,
    "false": 0.0,
    "f": 0.0,
    "no": 0.0,
    "n": 0.0,
    "0": 0.0,
}

# Rows, shape (n, n_features), or the cells of each column of a table, shape (n,) each: text of a category, "" where it is
# missing, else float64, NaN where it is missing.
Rows = NDArray[Any] | list[NDArray[Any]]
# Rows -> probabilities, (n, n_classes); of regression, -> numbers in the unit of the label, (n, 1), float64.
Model = Callable[[Rows], NDArray[Any]]


class BundleError(ValueError):
    """A bundle that is not whole, or data that its model cannot be asked about."""


def check_sums(folder: Path, data: Path | None = None) -> int:
    """Check every file that SHA256SUMS names, and that there is no other but `data`; return how many. Raises BundleError."""
    path = folder / SUMS
    sums: dict[str, str] = {}
    for line in _text(path).splitlines():
        entry = re.fullmatch(r"([0-9a-f]{64})  (\w[\w.-]*)", line, re.ASCII)
        if entry is None:
            raise BundleError(f"{path}: holds a line that is not `sha256  name`: {line[:80]!r}")
        sums[entry[2]] = entry[1]
    if missing := sorted({SUMMARY, MODEL} - sums.keys()):
        raise BundleError(f"{path}: does not name {', '.join(missing)}")
    for name, digest in sums.items():
        if _sha256(folder / name) != digest:
            raise BundleError(f"{folder / name}: not what was exported (sha256)")
    given = {SUMS} if data is None or data.resolve().parent != folder.resolve() else {SUMS, data.name}
    if strange := sorted({entry.name for entry in os.scandir(folder)} - sums.keys() - given):
        raise BundleError(
            f"{folder / strange[0]}: not named by {SUMS}, so it was not exported; move it out of the folder"
        )
    return len(sums)


def read_summary(folder: Path) -> dict[str, Any]:
    """Read summary.json, and check that it holds everything this file needs. Raises BundleError."""
    path = folder / SUMMARY
    try:
        summary = json.loads(_text(path))
        rows, classes, target = summary["input"], summary["classes"], summary.get("target")
        is_good = (
            rows["rows_dtype"] in ("uint8", "float32", "float64")
            and all(isinstance(listed, list) for listed in (rows["shape"], classes))
            and all(isinstance(n, int) and n > 0 for n in rows["shape"])
            and rows["features"] == math.prod(rows["shape"])
            and all(isinstance(name, str) for name in classes)
            and _are_columns(rows)
            and (summary["test"] is None or summary["test"]["part"] in ("train", "test"))
            and (summary["test"] is None or isinstance(summary["test"]["rmse" if target else "accuracy"], float))
            and (target is None or all(math.isfinite(target[name]) for name in ("center", "spread")))
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BundleError(f"{path}: not a summary of a bundle ({type(error).__name__}: {error})") from error
    if not is_good:
        raise BundleError(f"{path}: not a summary of a bundle (input, classes or test are not what they must be)")
    return dict(summary)


def _are_columns(rows: dict[str, Any]) -> bool:
    """Return whether an `input` of a summary describes columns of a table as they must be, or none."""
    columns = rows.get("columns", [])
    texts = [rows["label"], *rows["missing"], *(column["name"] for column in columns)] if columns else []
    kinds = {column["kind"] for column in columns}
    return all(isinstance(text, str) for text in texts) and kinds <= {"number", "boolean", "category", "date"}


def open_model(path: Path, n_features: int, n_classes: int, columns: Sequence[dict[str, Any]] = ()) -> Model:
    """Open the model of an .onnx file, from rows to probabilities. Raises BundleError; so does the model.

    n_classes: 0 for regression, whose model gives one number, float64. columns: of a table, which the model takes by name.
    """
    gives = ("tensor(float)", [n_classes]) if n_classes else ("tensor(double)", [1])
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read when it is loaded; else it writes to the home folder
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors are told once, in our words
    options.add_session_config_entry(
        "session.load_model_format", "ONNX"
    )  # and no other that it would know by its bytes
    try:
        content = _bytes(path, MAX_MODEL_BYTES)
        if strange := sorted(set(operators := list(_operators(content))) - OPERATORS):
            raise BundleError(
                f"{path}: not a model of this program, so it is not run: it holds {', '.join(strange)[:200]}"
            )
        if operators.count(ONCE) > 1:
            raise BundleError(f"{path}: not a model of this program, so it is not run: it holds several {ONCE}")
        with tempfile.TemporaryDirectory() as empty:  # weights must lie in the file: nothing beside it is read
            options.add_session_config_entry("session.model_external_initializers_file_folder_path", empty)
            session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        takes = {end.name: (end.type, end.shape[1:]) for end in session.get_inputs()}
        given = [(end.type, end.shape[1:]) for end in session.get_outputs()]
    except BundleError:
        raise
    except Exception as error:  # the runtime's errors have no narrower base
        raise BundleError(f"{path}: not a model that can be run: {_first_line(error)}") from error
    wanted = {c["name"]: ("tensor(string)" if c["kind"] == "category" else "tensor(double)", [1]) for c in columns}
    is_array = not columns and [*takes.values()] in [[(rows, [n_features])] for rows in ROW_TYPES]
    if not (is_array or (columns and takes == wanted)) or given != [gives]:
        rows = "the columns of its table" if columns else f"numbers (n, {n_features})"
        ends = f"{[*takes.values()]} and {given}"[:200]
        raise BundleError(f"{path}: wanted {rows} -> (n, {gives[1][0]}), it takes and gives {ends}")

    def ask(rows: Rows, start: int) -> NDArray[Any]:
        arrays = [cells[:, np.newaxis] for cells in rows] if isinstance(rows, list) else [rows]
        batch = {
            name: array[start : start + BATCH].astype(ROW_TYPES.get(kind, object))
            for (name, (kind, _)), array in zip(takes.items(), arrays, strict=True)
        }
        return np.asarray(session.run(None, batch)[0])

    def answer(rows: Rows) -> NDArray[Any]:
        n_rows = len(rows[0]) if isinstance(rows, list) else len(rows)
        try:
            said = np.concatenate([ask(rows, start) for start in range(0, n_rows, BATCH)])
        except Exception as error:
            raise BundleError(f"{path}: cannot be run: {_first_line(error)}") from error
        if said.shape != (n_rows, n_classes or 1) or not np.isfinite(said).all():
            what = "a probability of each class" if n_classes else "a number"
            raise BundleError(f"{path}: does not give {what} for each row")
        return said

    return answer


def off_by(said: NDArray[Any], wanted: NDArray[Any], target: dict[str, float] | None) -> NDArray[Any]:
    """Return how far numbers that a model gives lie from those wanted, in the measure of its tolerance.

    Probabilities: by their difference, to TOLERANCE. With a `target`: as a share of the label's standard deviation, and where
    a number lies further than that from the mean, of its distance, to OF_VALUES: a net rounds what it gives, not what is left of it.
    """
    distance: NDArray[Any] = np.abs(said - wanted)
    if target is not None:
        distance = distance / np.maximum(target["spread"], np.abs(wanted - target["center"]))
    return distance


def _operators(content: bytes) -> Iterator[str]:
    """Name the operator of each node of a model, ONNX' own without a domain. Raises ValueError for what is no model.

    The fields are those of onnx.proto: 7 the graph and 25 a function of a model, 1 a node of a graph, 4 and 7 the operator and
    the domain of a node. Graphs within attributes belong to operators that are named here themselves.
    """
    for field, graph in _fields(memoryview(content)):
        if field == 25:
            yield "a function of its own"
        for _, node in (one for one in _fields(graph) if one[0] == 1) if field == 7 else ():
            parts = [(number, bytes(text).decode()) for number, text in _fields(node) if number in (4, 7)]
            domains = [f"{text}." for number, text in parts if number == 7 and text]
            yield from ("".join([*domains, text]) for number, text in parts if number == 4)


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield the fields of a message of protobuf that hold bytes, each with its number."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        if key & 7 == 0:
            _, at = _varint(message, at)
            continue
        size, at = _varint(message, at) if key & 7 == 2 else ({1: 8, 5: 4}.get(key & 7, len(message)), at)
        if size > len(message) - at:
            raise ValueError("its fields do not end where they say")
        if key & 7 == 2:
            yield key >> 3, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Read a number of protobuf at a place; return it and the place after it."""
    for n, byte in enumerate(message[at : at + 10]):
        if byte < 128:
            return sum((b & 127) << 7 * i for i, b in enumerate(message[at : at + n + 1])), at + n + 1
    raise ValueError("a number in it does not end")


def flat_rows(rows: NDArray[Any], wanted: dict[str, Any], name: str) -> NDArray[Any]:
    """Rows as the model takes them, shape (n, n_features), from an array of rows flat or in their own shape.

    wanted: `input` of summary.json. Scaling is in the model, so pixels must come as they are in the data: uint8. What is not
    a number that such a model was trained on is refused rather than guessed around. Raises BundleError.
    """
    n_features, shape = wanted["features"], tuple(wanted["shape"])
    if rows.ndim < 2 or rows.shape[1:] not in ((n_features,), shape) or len(rows) == 0:
        raise BundleError(f"{name}: has shape {rows.shape}, wanted (n, {n_features}) or (n, {str(shape)[1:]}")
    if wanted["rows_dtype"] == "uint8" and rows.dtype != np.uint8:
        raise BundleError(
            f"{name}: holds {rows.dtype}, wanted uint8 from 0 to 255; the model divides by 255 itself, so give pixels as they are"
        )
    if wanted["rows_dtype"] != "uint8" and (rows.dtype == np.uint8 or rows.dtype.kind not in "biuf"):
        raise BundleError(
            f"{name}: holds {rows.dtype}, wanted numbers as in the data, {wanted['rows_dtype']}; the model scales them itself"
        )
    flat = rows.reshape(len(rows), n_features)
    if flat.dtype != np.uint8:
        with np.errstate(over="ignore"):  # checked right below
            flat = flat.astype(wanted["rows_dtype"])
        if not np.isfinite(flat).all():
            raise BundleError(f"{name}: holds values that are NaN, infinite, or too large for {flat.dtype}")
    return flat


def verify(folder: Path, data: Path | None) -> str:
    """Verify the bundle; return a line that says what holds. Raises BundleError for anything that does not."""
    n_files = check_sums(folder, data)
    summary = read_summary(folder)
    held = f"{n_files} files are what {SUMS} says"
    if summary["test"] is None:
        return f"verified: {held}; the study has no test rows, so there is no test accuracy to reproduce"
    if data is None:
        raise BundleError("name the data as README.md says: python verify.py DATA")
    recorded = _recorded(folder / RECORDED, None if summary.get("target") else len(summary["classes"]))
    predicted, labels = recorded["predicted"], recorded["labels"]
    rows = _test_rows(data, summary, recorded)
    columns = summary["input"].get("columns", ())
    said = open_model(folder / MODEL, summary["input"]["features"], len(summary["classes"]), columns)(rows)
    if summary.get("target"):
        return f"verified: {held}; {_verify_values(said[:, 0], predicted, labels, summary)}"
    # Another processor rounds differently. Where two classes lie closer than that, either may be predicted.
    differs = np.flatnonzero(said[np.arange(len(said)), predicted] < said.max(axis=1) - TOLERANCE)
    if len(differs):
        raise BundleError(
            f"{len(differs)} of {len(said)} test rows are not classified as recorded, the first is row {differs[0]}"
        )
    accuracy = float((predicted == labels).mean())
    if accuracy != summary["test"]["accuracy"]:
        raise BundleError(f"test accuracy is {accuracy!r}, recorded is {summary['test']['accuracy']!r}")
    return (
        f"verified: {held}; {len(said)} of {len(said)} test rows are classified as recorded, test accuracy {accuracy!r}"
    )


def _verify_values(said: NDArray[Any], predicted: NDArray[Any], labels: NDArray[Any], summary: dict[str, Any]) -> str:
    """Check what a model of regression says of the test rows; return what holds. Raises BundleError."""
    differs = np.flatnonzero(off_by(said, predicted, summary["target"]) > OF_VALUES)
    if len(differs):
        raise BundleError(
            f"{len(differs)} of {len(said)} test rows are not predicted as recorded, the first is row {differs[0]}"
        )
    rmse = float(np.sqrt(np.square(predicted - labels).mean()))
    if not math.isclose(rmse, summary["test"]["rmse"], rel_tol=1e-9):
        raise BundleError(f"test RMSE is {rmse!r}, recorded is {summary['test']['rmse']!r}")
    return f"{len(said)} of {len(said)} test rows are predicted as recorded, test RMSE {rmse:.6g}"


def _recorded(path: Path, n_classes: int | None) -> dict[str, NDArray[Any]]:
    """Read class and predicted class of each test row, as class numbers, and its row number in the data if it was drawn.

    n_classes: None for regression, where the two are numbers.
    """
    recorded = _read(path, ("labels", "predicted", "row_numbers"), MAX_MODEL_BYTES)
    shapes = {array.shape for array in recorded.values()}
    is_whole = {"labels", "predicted"} <= recorded.keys() and len(shapes) == 1 and len(next(iter(shapes))) == 1
    answers = {name: array for name, array in recorded.items() if name != "row_numbers"}
    counted = recorded if n_classes is not None else {n: a for n, a in recorded.items() if n == "row_numbers"}
    is_counted = all(array.dtype.kind in "iu" and array.min(initial=0) >= 0 for array in counted.values())
    if n_classes is None:
        is_good = all(array.dtype == np.float64 and np.isfinite(array).all() for array in answers.values())
    else:
        is_good = is_counted and max((array.max(initial=0) for array in answers.values()), default=0) < n_classes
    if not (is_whole and is_counted and is_good):
        what = "a number" if n_classes is None else "a class number"
        raise BundleError(f"{path}: wanted {what} of each test row, as `labels` and as `predicted`")
    return recorded


def _test_rows(data: Path, summary: dict[str, Any], recorded: dict[str, NDArray[Any]]) -> Rows:
    """Find the test rows that the model was scored on in the data file. Their labels must match."""
    part = summary["test"]["part"]
    if part == "train" and "row_numbers" not in recorded:
        raise BundleError(
            "which rows of the data were the test split is not recorded here: the data was not at hand when this was exported"
        )
    if summary["input"].get("columns"):
        return _test_cells(data, summary, recorded)
    arrays = _read(data, (f"x_{part}", f"y_{part}"))
    if missing := sorted({f"x_{part}", f"y_{part}"} - arrays.keys()):
        raise BundleError(f"{data}: has no array {', '.join(missing)}; see README.md for the data that is meant")
    x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
    if part == "train":
        numbers = recorded["row_numbers"]
        if len(x) != len(y) or numbers.max(initial=-1) >= len(x):
            raise BundleError(f"{data}: has {len(x)} rows and {len(y)} labels, the test rows go up to {numbers.max()}")
        x, y = x[numbers], y[numbers]
    if len(x) != len(recorded["labels"]) or not _are_labels(y, recorded["labels"], summary):
        raise BundleError(f"{data}: not the data that the model was scored on: its labels differ")
    return flat_rows(x, summary["input"], f"{data}: x_{part}")


def _test_cells(data: Path, summary: dict[str, Any], recorded: dict[str, NDArray[Any]]) -> Rows:
    """Find the test rows in a table of text: the cells of each column. Their labels must match."""
    table, columns = summary["input"], summary["input"]["columns"]
    numbers = recorded["row_numbers"]
    cells, n_rows = _read_table(data, [table["label"], *(column["name"] for column in columns)], table["separator"])
    if numbers.max(initial=-1) >= n_rows:
        raise BundleError(f"{data}: has {n_rows} rows, the test rows go up to {numbers.max()}")
    chosen = {name: [column[i] for i in numbers] for name, column in cells.items()}
    if not _are_labels(_read_labels(chosen[table["label"]]), recorded["labels"], summary):
        raise BundleError(f"{data}: not the data that the model was scored on: its labels differ")
    try:
        return [read_cells(chosen[column["name"]], column["kind"], {"", *table["missing"]}) for column in columns]
    except ValueError as error:
        raise BundleError(f"{data}: not the data that the model was scored on: {_first_line(error)}") from error


def _read_table(path: Path, names: Sequence[str], separator: str | None) -> tuple[dict[str, list[str]], int]:
    """Read columns of a table of text by their names, and how many rows it has. Raises BundleError."""
    if path.suffix.lower() == ".parquet":
        raise BundleError(f"{path}: wanted a table of text, which README.md makes of it")
    try:
        with _open(path, math.inf) as file:
            content = gzip.decompress(file.read()) if path.suffix.lower() == ".gz" else file.read()
        text = content.decode("utf-8-sig")
        for mark in separator or ",;\t|":
            rows = [
                row
                for row in csv.reader(io.StringIO(text, newline=""), delimiter=mark)
                if len(row) > 1 or "".join(row).strip()
            ]
            if rows and set(names) <= set(rows[0]):
                at = {name: rows[0].index(name) for name in names}
                return {name: [row[i] for row in rows[1:]] for name, i in at.items()}, len(rows) - 1
    except (OSError, EOFError, ValueError, IndexError, MemoryError, csv.Error, zlib.error) as error:
        raise BundleError(f"{path}: not a readable table of text: {_first_line(error)}") from error
    raise BundleError(f"{path}: wanted a table with the columns {', '.join(names)[:200]}")


def read_cells(cells: Sequence[str], kind: str, missing: set[str]) -> NDArray[Any]:
    """Read the cells of a column as the model takes them, shape (n,). Raises ValueError for one that is not of its kind."""
    if kind == "category":
        return np.array(["" if cell in missing else cell for cell in cells], object)
    read: Callable[[str], float] = {"boolean": _to_boolean, "date": _to_days}.get(kind, float)
    return np.array([math.nan if cell in missing else read(cell) for cell in cells], np.float64)


def _to_boolean(cell: str) -> float:
    try:
        return BOOLEANS[cell.strip().lower().removesuffix(".0")]
    except KeyError as error:
        raise ValueError(f"{cell!r:.80} is no truth value") from error


def _to_days(cell: str) -> float:
    """Return days since 1970-01-01, in UTC where a zone is told."""
    moment = datetime.fromisoformat(cell.strip())
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - datetime.fromtimestamp(0, UTC)) / timedelta(
        days=1
    )


def _read_labels(cells: Sequence[str]) -> NDArray[Any]:
    """Read labels as they stand in a table of text: numbers or truth values where all are, else text."""
    if {cell.lower() for cell in cells} <= {"true", "false"}:
        return np.array([cell.capitalize() for cell in cells])
    try:
        return np.array([float(cell) for cell in cells])
    except ValueError:
        return np.array(cells)


def _are_labels(y: NDArray[Any], recorded: NDArray[Any], summary: dict[str, Any]) -> bool:
    """Return whether labels as a data file holds them are those recorded."""
    if not summary.get("target"):
        return class_names(y) == [summary["classes"][number] for number in recorded]
    is_column = y.dtype.kind in "biuf" and y.shape in (recorded.shape, (*recorded.shape, 1))
    # Parsers of text differ in the last bit.
    return bool(is_column and np.allclose(y.astype(np.float64).reshape(-1), recorded, rtol=1e-12, atol=0))


def class_names(y: NDArray[Any]) -> list[str]:
    """Name the classes of labels as data files hold them: one a row, shape (n,) or (n, 1), or one-hot, (n, k)."""
    if y.ndim == 2:
        y = y[:, 0] if y.shape[1] == 1 else y.argmax(axis=1)
    if y.dtype.kind == "S":
        y = np.char.decode(y, "utf-8", "replace")
    return [str(int(label) if isinstance(label, float) and label.is_integer() else label) for label in y.tolist()]


def _read(path: Path, names: Sequence[str], limit: float = math.inf) -> dict[str, NDArray[Any]]:
    try:
        with _open(path, limit) as file, zipfile.ZipFile(file) as archive:
            if (size := sum(member.file_size for member in archive.infolist())) > limit:
                raise BundleError(f"{path}: unpacks to {size} bytes, wanted {limit} at most")
            file.seek(0)
            with np.load(file, allow_pickle=False) as arrays:
                found = {name: arrays[name] for name in names if name in arrays.files}
            if not all(isinstance(array, np.ndarray) and array.ndim for array in found.values()):
                raise BundleError(f"{path}: holds something else than arrays of rows")
            return found
    except BundleError:
        raise
    except (OSError, ValueError, EOFError, AttributeError, TypeError, RuntimeError, MemoryError, SyntaxError, TokenError, zipfile.BadZipFile, zlib.error) as error:  # fmt: skip
        raise BundleError(f"{path}: not a readable .npz of plain arrays: {_first_line(error)}") from error


def _text(path: Path) -> str:
    try:
        return _bytes(path, MAX_TEXT_BYTES).decode()
    except UnicodeDecodeError as error:
        raise BundleError(f"{path}: not text") from error


def _bytes(path: Path, limit: int) -> bytes:
    with _open(path, limit) as file:
        return file.read(limit)


def _sha256(path: Path) -> str:
    if path.is_symlink():
        raise BundleError(f"{path}: a link, wanted the file itself")
    with _open(path, 2 * MAX_MODEL_BYTES) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _open(path: Path, limit: float) -> BufferedReader:
    """Open a file, if it is one and not larger than `limit`: a pipe or a device need not end. Raises BundleError."""
    try:
        # O_NONBLOCK: a pipe without a writer would be waited for. O_BINARY is of Windows.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror}") from error
    status = os.fstat(handle)
    if stat.S_ISREG(status.st_mode) and status.st_size <= limit:
        return os.fdopen(handle, "rb")
    os.close(handle)
    if not stat.S_ISREG(status.st_mode):
        raise BundleError(f"{path}: no file, but a folder, a pipe or a device")
    raise BundleError(f"{path}: has {status.st_size} bytes, wanted {limit} at most")


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Check this bundle, and reproduce its test accuracy.")
    parser.add_argument("data", type=Path, nargs="?", metavar="DATA", help="the data that README.md names")
    try:
        print(verify(Path(__file__).parent, parser.parse_args(argv).data))
    except BundleError as error:
        print("not verified:", "".join(char if char.isprintable() else ascii(char)[1:-1] for char in str(error)))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
