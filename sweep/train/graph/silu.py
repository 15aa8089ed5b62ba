"""SiLU in a graph that can be let go."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras


@contextmanager
def use_lean_silu(*nets: keras.Sequential) -> Iterator[None]:
    """Trace `nets` with a SiLU of plain operations; outside, they have Keras' own again, so that they save as its.

    Keras calls `tf.nn.silu`, which registers a custom gradient that is never freed, and keeps every graph that it is
    traced in (TensorFlow 2.21), as Keras' reduction over replicas does (see `optimizers.py`).
    """
    layers = [layer for net in nets for layer in net.layers if getattr(layer, "activation", None) is _KERAS_SILU]
    for layer in layers:
        layer.activation = _silu
    try:
        yield
    finally:
        for layer in layers:
            layer.activation = _KERAS_SILU


_KERAS_SILU = keras.activations.silu


def _silu(x: Any) -> Any:
    return x * keras.ops.sigmoid(x)
