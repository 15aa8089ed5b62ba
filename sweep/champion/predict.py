"""Predictions of a bundle's model, with onnxruntime and numpy alone."""

from pathlib import Path

from sweep.champion import bundle, verify
from sweep.data.files import read_arrays
from sweep.data.unpacked import check_file
from sweep.errors import InvalidDataError, MissingRunsError
from sweep.plain_text import to_csv

NAMES = ("x", "x_test")  # of the array to take: the first that is there


def predict(folder: Path, images: Path) -> str:
    """Predict the class of each row of an .npz file, or its number; return row, class and probability, or row and value, as CSV.

    Raises DamagedResultError for a bundle that is not what was exported, before any of it is used; InvalidDataError for rows
    that its model cannot be asked about.
    """
    if not folder.is_dir():
        raise MissingRunsError(f"{folder}: no such folder; wanted a bundle, such as mlruns/exports/mnist")
    summary = bundle.read_bundle(folder)
    with bundle.translate_errors():
        model = verify.open_model(folder / bundle.ONNX_MODEL, summary["input"]["features"], len(summary["classes"]))
    check_file(images, "wanted an .npz file with an array of rows")
    [(name, rows)] = read_arrays(images, lambda names: [_chosen(images, names)]).items()
    try:
        flat = verify.flat_rows(rows, summary["input"], f"{images}: {name}")
    except verify.BundleError as error:
        raise InvalidDataError(str(error)) from error
    with bundle.translate_errors():
        probabilities = model(flat)
    if summary.get("target"):
        values = enumerate(probabilities[:, 0].tolist())
        return to_csv([["row", "value"], *([row, repr(value)] for row, value in values)])
    predicted, certainty = probabilities.argmax(axis=1).tolist(), probabilities.max(axis=1).tolist()
    lines = [
        [row, summary["classes"][number], f"{probability:.6f}"]
        for row, (number, probability) in enumerate(zip(predicted, certainty, strict=True))
    ]
    return to_csv([["row", "class", "certainty"], *lines])


def _chosen(path: Path, names: list[str]) -> str:
    for name in NAMES:
        if name in names:
            return name
    if len(names) != 1:
        raise InvalidDataError(
            f"{path}: holds {', '.join(names)[:200] or 'no array'}; wanted rows as `x`, as `x_test`, or as its only array"
        )
    return names[0]
