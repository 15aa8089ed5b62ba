"""Dropout with a cheaper mask."""

from typing import Any

import keras
import tensorflow as tf

STEPS = 2**16  # of a 16-bit draw


class HalfwordDropout(keras.layers.Dropout):
    """`keras.layers.Dropout` from 16 random bits for each element, where Keras draws 32 and turns them into a float.

    The draw is most of what dropout costs on a CPU. The rate is met to within 2^-17, and what is kept is scaled by the rate
    that was met, so that the expectation is exact (inverted dropout, Srivastava et al. 2014, JMLR 15, section 10).
    """

    def call(self, inputs: Any, training: bool = False) -> Any:
        n_dropped = round(self.rate * STEPS)  # of the values that a draw can take
        if not training or not n_dropped:
            return inputs
        seed = tf.cast(self.seed_generator.next(), tf.int64)
        n = tf.size(inputs)
        words = tf.random.stateless_uniform([(n + 3) // 4], seed, None, None, tf.uint64)
        draws = tf.reshape(tf.bitcast(words, tf.uint16), [-1])[:n]
        is_kept = tf.reshape(draws, tf.shape(inputs)) >= tf.constant(n_dropped, tf.uint16)
        return inputs * (tf.cast(is_kept, inputs.dtype) * (STEPS / (STEPS - n_dropped)))


def replace_dropout(model: keras.Sequential) -> keras.Sequential:
    """A model of the same layers, and so of the same weights, but for its dropout."""
    layers = [_replaced(layer) for layer in model.layers]
    return keras.Sequential([keras.Input(model.input_shape[1:]), *layers])


def _replaced(layer: keras.Layer) -> keras.Layer:
    return HalfwordDropout(layer.rate) if isinstance(layer, keras.layers.Dropout) else layer
