"""Convert a Keras model to an .onnx file, and check that both predict the same."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.external_data_helper import uses_external_data

from sweep.champion import verify
from sweep.champion.bundle import N_ROWS, Parity
from sweep.champion.coded_onnx import add_columns, to_inputs
from sweep.data.coding import draw_rows
from sweep.data.columns import Column, code
from sweep.data.prepared import PreparedData, read_sample
from sweep.errors import ConversionError
from sweep.train.model import load_model


def convert(model: Path, into: Path, data: PreparedData | None, columns: Sequence[Column] = ()) -> Parity:
    """Convert the saved `model` to the .onnx file `into`, and compare their predictions on N_ROWS rows.

    The rows are training rows, topped up with randomly drawn ones; without `data` all are drawn. With the `columns` of a
    table, the .onnx form takes these, and codes them itself.
    Raises ConversionError if the file is not sound, or if a probability differs by more than verify.TOLERANCE; of regression,
    a number by more than verify.OF_VALUES, see `verify.off_by`.
    """
    trained = load_model(model)
    of_data = read_sample(data)[:N_ROWS] if data is not None else None
    n_drawn, rng = N_ROWS - (0 if of_data is None else len(of_data)), np.random.default_rng(0)
    drawn = draw_rows(columns, n_drawn, rng) if columns else _draw_rows(trained, n_drawn, rng)
    rows = drawn if of_data is None else np.concatenate([of_data, drawn])
    coded = (code(rows, columns) if columns else rows).astype(trained.inputs[0].dtype)
    expected = np.asarray(trained(coded))  # Keras exports only what has been called
    target = _find_target(trained)
    scale = trained.get_layer("scale")
    if isinstance(scale, keras.layers.Normalization):
        # Keras 3.15 keeps the moments as tensors, not variables, and exports those as inputs. Arrays become constants.
        scale.mean, scale.variance = np.asarray(scale.mean), np.asarray(scale.variance)
    for layer in trained.layers:
        if getattr(layer, "activation", None) is keras.activations.gelu:
            layer.activation = _gelu_by_erf
    trained.export(str(into), format="onnx", verbose=False)
    if columns:
        onnx.save(add_columns(onnx.load(into), columns), into)
    _check_file(into)
    asked = to_inputs(rows, columns) if columns else coded
    try:
        n_classes = 0 if target else expected.shape[1]
        predicted = verify.open_model(into, coded.shape[1], n_classes, [asdict(column) for column in columns])(asked)
    except verify.BundleError as error:
        raise ConversionError(str(error)) from error
    difference = float(verify.off_by(predicted, expected, target).max())
    tolerance = verify.OF_VALUES if target else verify.TOLERANCE
    if not difference <= tolerance:
        raise ConversionError(
            f"the .onnx form of the champion differs from its Keras model by {difference:.3g}, wanted "
            f"{tolerance} at most on {N_ROWS} rows; nothing is exported"
        )
    return Parity(N_ROWS, N_ROWS - n_drawn, difference)


def _find_target(model: keras.Model) -> dict[str, float] | None:
    """Return the mean and the standard deviation of the label that a model of regression holds; None for any other."""
    last: Any = model.layers[-1]
    return {"center": last.offset, "spread": last.scale} if last.name == "unit" else None


def _gelu_by_erf(x: Any) -> Any:
    """Return GELU by the error function. TensorFlow's own takes its complement, for which ONNX has no operation."""
    return 0.5 * x * (1 + keras.ops.erf(x / np.sqrt(np.float32(2))))


def _draw_rows(model: keras.Model, n: int, rng: np.random.Generator) -> NDArray[Any]:
    """Draw n rows in the range of the data: pixels, or numbers up to 3 spreads from the centers that the model holds."""
    shape = n, model.input_shape[1]
    scale: Any = model.get_layer("scale")
    if isinstance(scale, keras.layers.Normalization):  # of an earlier version
        center, spread = np.asarray(scale.mean), np.sqrt(np.asarray(scale.variance))
    elif isinstance(scale.scale, np.ndarray):
        center, spread = -model.get_layer("center").offset, 1 / scale.scale
    else:
        return rng.integers(0, 256, shape)
    return np.asarray(center + spread * rng.uniform(-3, 3, shape))


def _check_file(path: Path) -> None:
    """Check that the file is sound and contains its weights. Raises ConversionError."""
    proto = onnx.load(path, load_external_data=False)
    outside = [tensor.name for tensor in proto.graph.initializer if uses_external_data(tensor)]
    if outside:
        raise ConversionError(f"{path.name}: keeps weights outside itself: {', '.join(outside)[:200]}")
    try:
        onnx.checker.check_model(proto, full_check=True)
    except onnx.checker.ValidationError as error:
        raise ConversionError(f"{path.name}: not a sound .onnx file: {str(error).splitlines()[0]}") from error
