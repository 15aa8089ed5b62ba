"""Dropout with a cheaper mask."""

from typing import Any

import keras
import tensorflow as tf

STEPS = 2**16  # values that a 16-bit draw can take


class HalfwordDropout(keras.layers.Dropout):
    """`keras.layers.Dropout` that draws 16 random bits per element, where Keras draws 32 and converts them to a float.

    The draw is most of dropout's cost on a CPU. The rate actually used differs from `rate` by at most 2^-17. Kept
    elements are scaled by the rate used, so the expectation is exact (inverted dropout, Srivastava et al. 2014,
    JMLR 15, section 10).
    """

    def call(self, inputs: Any, training: bool = False) -> Any:
        n_dropped = round(self.rate * STEPS)  # draws below this drop their element
        if not training or not n_dropped:
            return inputs
        seed = tf.cast(self.seed_generator.next(), tf.int64)
        n = tf.size(inputs)
        words = tf.random.stateless_uniform([(n + 3) // 4], seed, None, None, tf.uint64)
        draws = tf.reshape(tf.bitcast(words, tf.uint16), [-1])[:n]
        is_kept = tf.reshape(draws, tf.shape(inputs)) >= tf.constant(n_dropped, tf.uint16)
        return inputs * (tf.cast(is_kept, inputs.dtype) * (STEPS / (STEPS - n_dropped)))


def replace_dropout(model: keras.Sequential) -> keras.Sequential:
    """Build a model that shares the layers of `model`, and so its weights, but drops out with HalfwordDropout."""
    layers = [
        HalfwordDropout(layer.rate, dtype=layer.dtype_policy) if isinstance(layer, keras.layers.Dropout) else layer
        for layer in model.layers
    ]
    return keras.Sequential([keras.Input(model.input_shape[1:]), *layers])
