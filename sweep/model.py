"""Config -> Keras model."""

from typing import Any

import keras

from sweep.config import Config
from sweep.data import DataFacts


def build_model(config: Config, facts: DataFacts, moments: tuple[Any, Any] | None = None) -> keras.Sequential:
    """An untrained MLP on raw rows: scaling, hidden blocks, softmax. Input (n, n_features), output (n, n_classes).

    A hidden block is Dense(units, relu) -> BatchNormalization -> Dropout, as in the notebook; weights are Glorot uniform.
    Scaling is part of the model, so that a saved one takes rows as they come: uint8 rows are divided by 255, others
    standardized by `moments` (mean and variance of each feature, shape (n_features,), of the training rows).
    Draws from Keras' global seed. Layer names depend on the config alone.
    """
    layers: list[keras.Layer] = [keras.Input((facts.n_features,), name="rows"), _scaling(facts, moments)]
    for i, units in enumerate(config.units, start=1):
        layers.append(keras.layers.Dense(units, activation="relu", name=f"dense_{i}"))
        if config.batch_norm:
            layers.append(keras.layers.BatchNormalization(name=f"batch_norm_{i}"))
        if config.dropout:
            layers.append(keras.layers.Dropout(config.dropout, name=f"dropout_{i}"))
    layers.append(keras.layers.Dense(facts.n_classes, activation="softmax", name="classes"))
    return keras.Sequential(layers, name="mlp")


def _scaling(facts: DataFacts, moments: tuple[Any, Any] | None) -> keras.Layer:
    if facts.scaling == "pixels":
        return keras.layers.Rescaling(1 / 255, name="scale")
    if moments is None:
        raise ValueError("rows that are not pixels are standardized: moments are needed")
    mean, variance = moments
    return keras.layers.Normalization(mean=mean, variance=variance, name="scale")
