"""Build the Keras model of a config, and load one safely from its file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from sweep.data.facts import DataFacts
from sweep.data.scaling import LIMIT, SMOOTH_LIMIT, Scaling, Target
from sweep.errors import DamagedResultError
from sweep.study.config import Config
from sweep.train.weights import UNREADABLE, read_config

CLASSES = {  # the only ones in a model of ours, by module; Normalization is in those of an earlier version
    "keras": {"Sequential", "DTypePolicy"},
    "keras.layers": {"InputLayer", "Rescaling", "Normalization", "Dense", "BatchNormalization", "Dropout"},
    "keras.initializers": {"GlorotUniform", "Ones", "Zeros"},
    "keras.src.models.functional": {"Functional"},
    "keras.src.ops.numpy": {"Clip", "Add", "Square", "Sqrt", "TrueDivide"},
    "keras.src.ops.core": {"Cast"},
    "None": {"__keras_tensor__", "__numpy__"},  # the output of another layer, an array of numbers
}
HEADS = {"classification": "classes", "regression": "value"}  # name of the last layer

Weights = dict[str, NDArray[np.float32]]  # by layer and name, see `list_weight_shapes`


def build_net(config: Config, facts: DataFacts, initializer: str = "glorot_uniform") -> keras.Sequential:
    """Build an untrained MLP: hidden blocks, then softmax or, for regression, one unit as it is. Input prepared rows.

    Shapes (n, n_features) to (n, n_classes), or to (n, 1), the standardized label.

    A hidden block is Dense(units, activation) -> BatchNormalization -> Dropout, as in the notebook. Weights are Glorot
    uniform unless another `initializer` is named, drawn from Keras' global seed. Layer names depend on the config alone.
    Pixels are prepared as they are, and divided by 255 here; numbers are prepared scaled.
    """
    layers: list[keras.Layer] = [keras.Input((facts.n_features,), name="rows")]
    if facts.scaling == "pixels":
        layers.append(keras.layers.Rescaling(1 / 255, name="scale"))
    if config.input_dropout:
        layers.append(keras.layers.Dropout(config.input_dropout, name="input_dropout"))
    for i, units in enumerate(config.units, start=1):
        layers.append(keras.layers.Dense(units, config.activation, kernel_initializer=initializer, name=f"dense_{i}"))
        if config.batch_norm:
            layers.append(keras.layers.BatchNormalization(name=f"batch_norm_{i}"))
        if config.dropout:
            layers.append(keras.layers.Dropout(config.dropout, name=f"dropout_{i}"))
    activation = "softmax" if facts.task == "classification" else None
    layers.append(
        keras.layers.Dense(
            facts.n_outputs, activation=activation, kernel_initializer=initializer, name=HEADS[facts.task]
        )
    )
    return keras.Sequential(layers, name="mlp")


def add_scaling(net: keras.Sequential, scaling: Scaling | None, target: Target | None = None) -> keras.Model:
    """Return a model of the layers of `net` that takes rows as they are in the data: it scales numbers as `scaling` does.

    With a `target` it gives float64, shape (n, 1), in the unit of the label.
    It scales in float64, so call it, `model(rows)`: Keras' `predict` rounds rows to float32 first (Keras 3.15).
    """
    if scaling is None and target is None:
        return net
    rows = keras.Input(net.input_shape[1:], dtype="float32" if scaling is None else "float64", name="rows")
    x = rows if scaling is None else _scale(rows, scaling)
    for layer in net.layers:
        x = layer(x)
    if target is not None:
        x = keras.layers.Rescaling(target.spread, target.center, dtype="float64", name="unit")(x)
    return keras.Model(rows, x, name=net.name)


def _scale(rows: Any, scaling: Scaling) -> Any:
    # Two layers, because one that multiplies before it subtracts would round away a small spread around a large center.
    # Arrays, because TensorFlow reads a list of numbers as float32.
    x = keras.layers.Rescaling(1.0, -scaling.center, dtype="float64", name="center")(rows)
    x = keras.layers.Rescaling(1 / scaling.spread, dtype="float64", name="scale")(x)
    x = keras.ops.clip(x, -LIMIT, LIMIT)
    if scaling.kind == "robust":
        x = x / keras.ops.sqrt(keras.ops.square(x / SMOOTH_LIMIT) + 1)
    return keras.ops.cast(x, "float32")


def list_weight_shapes(config: Config, facts: DataFacts) -> dict[str, tuple[int, ...]]:
    """List the shape of every weight of `build_net`'s net, by layer and name, such as `dense_1/kernel`."""
    shapes: dict[str, tuple[int, ...]] = {}
    widths, head = (facts.n_features, *config.units, facts.n_outputs), HEADS[facts.task]
    names = [*(f"dense_{i}" for i in range(1, len(widths) - 1)), head]
    for i, (name, before, after) in enumerate(zip(names, widths[:-1], widths[1:], strict=True), 1):
        shapes |= {f"{name}/kernel": (before, after), f"{name}/bias": (after,)}
        if config.batch_norm and name != head:
            shapes |= {f"batch_norm_{i}/{w}": (after,) for w in ("gamma", "beta", "moving_mean", "moving_variance")}
    return shapes


def get_weight_name(variable: keras.Variable) -> str:
    """Return the name that `list_weight_shapes` gives to a model's variable."""
    return "/".join(variable.path.split("/")[-2:])


def load_model(path: Path) -> keras.Model:
    """Load a model of ours from its .keras file, uncompiled.

    Raises DamagedResultError if the file is no model, or holds anything that `build_net` and `add_scaling` do not make. Keras' own
    safe mode has been bypassed often (CVE-2025-1550, -8747, -9906, ...), and no classes other than CLASSES are needed.
    """
    try:
        if strange := sorted(set(_find_strange_classes(read_config(path)))):
            raise ValueError(", ".join(strange))
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except UNREADABLE as error:
        raise DamagedResultError(
            f"{path}: not a Keras model of this program, so it is not loaded: {str(error) or type(error).__name__}"
        ) from error


def _find_strange_classes(config: Any) -> Iterator[str]:
    """Find the classes that are named anywhere in a model's config but are not among CLASSES."""
    if isinstance(config, dict):
        if "class_name" in config:
            module, name = str(config.get("module")), config["class_name"]
            # An operation bears its own name as a registered one; another name would have Keras look that up.
            if name not in CLASSES.get(module, ()) or config.get("registered_name") not in (None, name):
                yield f"{module}.{name}"
        config = list(config.values())
    if isinstance(config, list):
        for part in config:
            yield from _find_strange_classes(part)
