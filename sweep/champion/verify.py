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
import hashlib
import json
import math
import os
import re
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from io import BufferedReader
from pathlib import Path
from tokenize import TokenError
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

SUMS, SUMMARY, MODEL, RECORDED = "SHA256SUMS", "summary.json", "model.onnx", "predictions.npz"
OPERATORS, GIVEN_ROWS = "onnx_operators.py", "given_rows.py"  # files beside this one
TOLERANCE = 1e-5  # between the probabilities of the model here and where it was trained
OF_VALUES = 1e-4  # the same of numbers that it predicts, see `off_by`
MAX_TEXT_BYTES, MAX_MODEL_BYTES, MAX_DATA_BYTES = 2**22, 2**30, 2**36
BATCH = 4096  # rows
ROW_TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64}  # of a model's input

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
    session = _open_session(path)
    takes = {end.name: (end.type, end.shape[1:]) for end in session.get_inputs()}
    given = [(end.type, end.shape[1:]) for end in session.get_outputs()]
    gives = ("tensor(float)", [n_classes]) if n_classes else ("tensor(double)", [1])
    wanted = {c["name"]: ("tensor(string)" if c["kind"] == "category" else "tensor(double)", [1]) for c in columns}
    is_array = not columns and [*takes.values()] in [[(rows, [n_features])] for rows in ROW_TYPES]
    if not (is_array or (columns and takes == wanted)) or given != [gives]:
        what = "the columns of its table" if columns else f"numbers (n, {n_features})"
        ends = f"{[*takes.values()]} and {given}"[:200]
        raise BundleError(f"{path}: wanted {what} -> (n, {gives[1][0]}), it takes and gives {ends}")
    inputs = {name: ROW_TYPES.get(kind, object) for name, (kind, _) in (wanted or takes).items()}

    def ask(rows: Rows, start: int) -> NDArray[Any]:
        arrays = [cells[:, np.newaxis] for cells in rows] if isinstance(rows, list) else [rows]
        batch = [array[start : start + BATCH] for array in arrays]
        given = {name: part.astype(dtype) for (name, dtype), part in zip(inputs.items(), batch, strict=True)}
        return np.asarray(session.run(None, given)[0])

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


def _open_session(path: Path) -> Any:
    """Open the .onnx file, once its operators are known to be harmless. Raises BundleError."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read when it is loaded; else it writes to the home folder
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors are told once, in our words
    # ONNX, and no other format that it would know by its bytes.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        content = _bytes(path, MAX_MODEL_BYTES)
        _load(OPERATORS).check_operators(content)
        with tempfile.TemporaryDirectory() as empty:  # weights must lie in the file: nothing beside it is read
            options.add_session_config_entry("session.model_external_initializers_file_folder_path", empty)
            return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except BundleError:
        raise
    except Exception as error:  # the runtime's errors have no narrower base
        raise BundleError(f"{path}: not a model that can be run: {_first_line(error)}") from error


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
    try:
        return np.asarray(_load(GIVEN_ROWS).flat_rows(x, summary["input"]))
    except ValueError as error:
        raise BundleError(f"{data}: x_{part}: {error}") from error


def _test_cells(data: Path, summary: dict[str, Any], recorded: dict[str, NDArray[Any]]) -> Rows:
    """Find the test rows in a table of text: the cells of each column. Their labels must match."""
    reader, wanted, numbers = _load(GIVEN_ROWS), summary["input"], recorded["row_numbers"]
    names = [wanted["label"], *(column["name"] for column in wanted["columns"])]
    try:
        cells = reader.read_table(_bytes(data, MAX_DATA_BYTES), names, wanted["separator"])
        if numbers.max(initial=-1) >= len(cells[names[0]]):
            raise BundleError(f"{data}: has {len(cells[names[0]])} rows, the test rows go up to {numbers.max()}")
        chosen = {name: [column[i] for i in numbers] for name, column in cells.items()}
        if not _are_labels(reader.read_labels(chosen[names[0]]), recorded["labels"], summary):
            raise BundleError(f"{data}: not the data that the model was scored on: its labels differ")
        missing = {"", *wanted["missing"]}
        return [reader.read_cells(chosen[column["name"]], column["kind"], missing) for column in wanted["columns"]]
    except BundleError:
        raise
    except (OSError, EOFError, ValueError, IndexError, MemoryError, csv.Error, zlib.error) as error:
        raise BundleError(f"{data}: not the table that the model was scored on: {_first_line(error)}") from error


def _are_labels(y: NDArray[Any], recorded: NDArray[Any], summary: dict[str, Any]) -> bool:
    """Return whether labels as a data file holds them are those recorded."""
    if not summary.get("target"):
        return bool(_load(GIVEN_ROWS).class_names(y) == [summary["classes"][number] for number in recorded])
    is_column = y.dtype.kind in "biuf" and y.shape in (recorded.shape, (*recorded.shape, 1))
    # Parsers of text differ in the last bit.
    return bool(is_column and np.allclose(y.astype(np.float64).reshape(-1), recorded, rtol=1e-12, atol=0))


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


def _load(name: str) -> Any:
    """Load a file that lies beside this one, here as in a bundle, where its checksum was found right."""
    path, module = Path(__file__).with_name(name), ModuleType(name.removesuffix(".py"))
    exec(compile(_text(path), path, "exec"), module.__dict__)  # an import would leave its cache in the bundle
    return module


def _text(path: Path) -> str:
    try:
        return _bytes(path, MAX_TEXT_BYTES).decode()
    except UnicodeDecodeError as error:
        raise BundleError(f"{path}: not text") from error


def _bytes(path: Path, limit: int) -> bytes:
    with _open(path, limit) as file:
        return file.read(os.fstat(file.fileno()).st_size)


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
