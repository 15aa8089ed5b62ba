"""Predictions of a bundle's model, with onnxruntime."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from sweep.champion import bundle, verify
from sweep.champion.given_rows import flat_rows
from sweep.data.files import is_table, read_arrays
from sweep.data.unpacked import check_file
from sweep.errors import InvalidDataError, InvalidSettingError, MissingRunsError
from sweep.plain_text import to_csv

NAMES = ("x", "x_test")  # of the array to take: the first that is there


@dataclass(frozen=True)
class Predictor:
    """The model of a bundle, checked and opened."""

    summary: dict[str, Any]
    model: verify.Model

    @classmethod
    def open(cls, folder: Path) -> "Predictor":
        """Open the model of a bundle. Raises DamagedResultError for one that is not what was exported, MissingRunsError."""
        if not folder.is_dir():
            raise MissingRunsError(f"{folder}: no such folder; wanted a bundle, such as mlruns/exports/mnist")
        summary = bundle.read_bundle(folder)
        columns, n_features = summary["input"].get("columns", ()), summary["input"]["features"]
        with bundle.translate_errors():
            model = verify.open_model(folder / bundle.ONNX_MODEL, n_features, len(summary["classes"]), columns)
        return cls(summary, model)

    def ask(self, rows: verify.Rows) -> NDArray[Any]:
        """Return the probability of each class, (n, n_classes), or the number that is predicted, (n, 1)."""
        with bundle.translate_errors():
            return self.model(rows)


def predict(folder: Path, given: Path, id_column: str | None = None) -> str:
    """Predict the class of each row of a file, or its number; return row, class and certainty, or row and value, as CSV.

    given: a table, or an .npz of rows. id_column: of a table, whose cells name the rows. Raises DamagedResultError for a
    bundle that is not what was exported, before any of it is used; InvalidDataError for rows that its model cannot be asked
    about.
    """
    predictor = Predictor.open(folder)
    summary = predictor.summary
    check_file(given, "wanted a table, or an .npz file with an array of rows")
    rows, named = _read_rows(given, summary["input"], id_column)
    answers = predictor.ask(rows)
    head = "row" if id_column is None else id_column
    if summary.get("target"):
        return to_csv(
            [[head, "value"], *([row, repr(value)] for row, value in zip(named, answers[:, 0].tolist(), strict=True))]
        )
    predicted, certainty = answers.argmax(axis=1).tolist(), answers.max(axis=1).tolist()
    lines = [
        [row, summary["classes"][number], f"{probability:.6f}"]
        for row, number, probability in zip(named, predicted, certainty, strict=True)
    ]
    return to_csv([[head, "class", "certainty"], *lines])


def _read_rows(path: Path, wanted: dict[str, Any], id_column: str | None) -> tuple[verify.Rows, list[str]]:
    """Read the rows of a file, and what names each. wanted: `input` of the bundle's summary. Raises InvalidDataError."""
    if wanted.get("columns"):
        from sweep.champion.given_table import read_file  # with pandas

        return read_file(path, wanted, id_column)
    if is_table(path.name):
        raise InvalidDataError(f"{path}: the model was trained on arrays; wanted an .npz file with an array of rows")
    if id_column is not None:
        raise InvalidSettingError(f"--id {id_column}: is for tables, whose columns have names; leave it out")
    [(name, rows)] = read_arrays(path, lambda names: [_chosen(path, names)]).items()
    try:
        return flat_rows(rows, wanted), list(map(str, range(len(rows))))
    except ValueError as error:
        raise InvalidDataError(f"{path}: {name}: {error}") from error


def _chosen(path: Path, names: list[str]) -> str:
    for name in NAMES:
        if name in names:
            return name
    if len(names) != 1:
        raise InvalidDataError(
            f"{path}: holds {', '.join(names)[:200] or 'no array'}; wanted rows as `x`, as `x_test`, or as its only array"
        )
    return names[0]
