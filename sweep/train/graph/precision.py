"""Matrix products in bfloat16 on a CPU: which layers compute in it, and what the processor gains by it."""

import time
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from sweep.train.model import HEADS

N_PRODUCTS, N_REPEATS = 50, 5
SHAPES = (128, 784), (784, 400)  # of the factors: a batch of pictures, a layer


def compute_in_bfloat16(net: keras.Sequential) -> keras.Sequential:
    """Have the hidden layers of `net` compute in bfloat16. Weights, scaling, softmax and loss stay in float32.

    As the policy `mixed_bfloat16` of Keras (Micikevicius et al. 2018, arXiv 1710.03740, section 3.1: master weights).
    bfloat16 has float32's range, so losses need no scaling.
    """
    for layer in net.layers:
        if layer.name not in ("scale", *HEADS.values()):
            layer.dtype_policy = keras.DTypePolicy("mixed_bfloat16")
    return net


def measure_speedup() -> float:
    """Return how many times as fast as float32 this process multiplies in bfloat16, at its number of threads."""
    multiply = {dtype: tf.function(partial(_multiply, dtype), autograph=False) for dtype in (tf.float32, tf.bfloat16)}
    for one in multiply.values():
        one()
    seconds: dict[Any, list[float]] = {dtype: [] for dtype in multiply}
    for _ in range(N_REPEATS):  # alternating: other processes come and go
        for dtype, one in multiply.items():
            began = time.perf_counter()
            one().numpy()
            seconds[dtype].append(time.perf_counter() - began)
    return min(seconds[tf.float32]) / min(seconds[tf.bfloat16])


def _multiply(dtype: Any) -> Any:
    one, other = (tf.random.stateless_uniform(shape, [1, 2]) for shape in SHAPES)
    one, other = tf.cast(one, dtype), tf.cast(other, dtype)

    def body(i: Any, total: Any) -> tuple[Any, Any]:
        return i + 1, total + tf.matmul(one + tf.cast(i, dtype), other)[0, 0]

    start = tf.constant(0), tf.constant(0, dtype)
    return tf.while_loop(lambda i, _: i < N_PRODUCTS, body, start, parallel_iterations=1)[1]
