"""Build the Keras model of a config, and load one safely from its file."""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from sweep.data.prepared import DataFacts
from sweep.errors import DamagedResultError
from sweep.study.config import Config

MEMBERS = {"metadata.json", "config.json", "model.weights.h5"}  # of a .keras file
CLASSES = {  # the only ones in a model of `build_model`, by module
    "keras": {"Sequential", "DTypePolicy"},
    "keras.layers": {"InputLayer", "Rescaling", "Normalization", "Dense", "BatchNormalization", "Dropout"},
    "keras.initializers": {"GlorotUniform", "Ones", "Zeros"},
}
MAX_BYTES = 2**30  # unpacked


Moments = tuple[NDArray[np.float32], NDArray[np.float32]]
Weights = dict[str, NDArray[np.float32]]  # by layer and name, see `list_weight_shapes`


def compute_moments(x: NDArray[Any], facts: DataFacts) -> Moments | None:
    """Compute mean and variance of each feature, shape (n_features,); None for pixels, which are not standardized."""
    if facts.scaling == "pixels":
        return None
    exact = x.astype(np.float64)
    return exact.mean(axis=0).astype(np.float32), exact.var(axis=0).astype(np.float32)


def build_model(
    config: Config, facts: DataFacts, moments: Moments | None = None, initializer: str = "glorot_uniform"
) -> keras.Sequential:
    """Build an untrained MLP: scaling, hidden blocks, softmax. Input raw rows (n, n_features), output (n, n_classes).

    A hidden block is Dense(units, relu) -> BatchNormalization -> Dropout, as in the notebook. Weights are Glorot
    uniform unless another `initializer` is named.
    Scaling is part of the model, so a saved model takes raw rows. uint8 rows are divided by 255; others are
    standardized by `moments` (mean and variance of each feature of the training rows, shape (n_features,)).
    Weights are drawn from Keras' global seed. Layer names depend on the config alone.
    """
    layers: list[keras.Layer] = [keras.Input((facts.n_features,), name="rows"), _make_scaling(facts, moments)]
    for i, units in enumerate(config.units, start=1):
        layers.append(keras.layers.Dense(units, activation="relu", kernel_initializer=initializer, name=f"dense_{i}"))
        if config.batch_norm:
            layers.append(keras.layers.BatchNormalization(name=f"batch_norm_{i}"))
        if config.dropout:
            layers.append(keras.layers.Dropout(config.dropout, name=f"dropout_{i}"))
    layers.append(
        keras.layers.Dense(facts.n_classes, activation="softmax", kernel_initializer=initializer, name="classes")
    )
    return keras.Sequential(layers, name="mlp")


def list_weight_shapes(config: Config, facts: DataFacts) -> dict[str, tuple[int, ...]]:
    """List the shape of every weight of `build_model`'s model, by layer and name, such as `dense_1/kernel`."""
    shapes: dict[str, tuple[int, ...]] = {}
    widths = (facts.n_features, *config.units, facts.n_classes)
    names = [*(f"dense_{i}" for i in range(1, len(widths) - 1)), "classes"]
    for i, (name, before, after) in enumerate(zip(names, widths[:-1], widths[1:], strict=True), 1):
        shapes |= {f"{name}/kernel": (before, after), f"{name}/bias": (after,)}
        if config.batch_norm and name != "classes":
            shapes |= {f"batch_norm_{i}/{w}": (after,) for w in ("gamma", "beta", "moving_mean", "moving_variance")}
    return shapes


def get_weight_name(variable: keras.Variable) -> str:
    """Return the name that `list_weight_shapes` gives to a model's variable."""
    return "/".join(variable.path.split("/")[-2:])


def _make_scaling(facts: DataFacts, moments: Moments | None) -> keras.Layer:
    if facts.scaling == "pixels":
        return keras.layers.Rescaling(1 / 255, name="scale")
    if moments is None:
        raise ValueError("rows that are not pixels are standardized, so moments are needed; got None")
    mean, variance = moments
    return keras.layers.Normalization(mean=mean, variance=variance, name="scale")


def load_model(path: Path) -> keras.Sequential:
    """Load a model of `build_model` from its .keras file, uncompiled.

    Raises DamagedResultError if the file is no model, or holds anything that `build_model` does not make. Keras' own
    safe mode has been bypassed often (CVE-2025-1550, -8747, -9906, ...), and no classes other than CLASSES are needed.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename: member.file_size for member in archive.infolist()}
            strange = sorted(members.keys() ^ MEMBERS)
            if not strange and sum(members.values()) <= MAX_BYTES:
                strange = sorted(set(_find_strange_classes(json.loads(archive.read("config.json")))))
            elif not strange:
                strange = [f"{sum(members.values())} bytes"]
        if not strange:
            return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, zipfile.BadZipFile) as error:
        raise DamagedResultError(f"{path}: not a Keras model ({error})") from error
    raise DamagedResultError(f"{path}: not a model of this program, so it is not loaded: {', '.join(strange)}")


def _find_strange_classes(config: Any) -> Iterator[str]:
    """Find the classes that are named anywhere in a model's config but are not among CLASSES."""
    if isinstance(config, dict):
        if "class_name" in config:
            module, name = str(config.get("module")), config["class_name"]
            if name not in CLASSES.get(module, ()) or config.get("registered_name"):
                yield f"{module}.{name}"
        config = list(config.values())
    if isinstance(config, list):
        for part in config:
            yield from _find_strange_classes(part)
