"""Distort images in the epoch's graph; what is drawn, and why, is in `train/distortion.py`."""

from typing import Any

import numpy as np
import tensorflow as tf

from sweep.study.config import derive_seed
from sweep.train.distortion import N_NODES, Strengths, build_basis


def derive_step_seed(seed: int, epoch: Any, start: Any) -> Any:
    """Derive what `augment` draws from in one step, shape (2,), int64: from a training's seed, its epoch and the step's first row."""
    step = tf.cast(epoch, tf.int64) * 2**32 + tf.cast(start, tf.int64)
    return tf.stack([tf.constant(derive_seed(seed, "augment"), tf.int64), step])


def augment(images: Any, seed: Any, strengths: Strengths, shape: tuple[int, int, int]) -> Any:
    """Distort each image by a map of its own. Beyond its edges an image is 0.

    images: shape (n, height * width * channels), uint8. seed: shape (2,), integers; the same seed gives the same maps.
    shape: height, width and channels. Returns float32 of the same shape, from 0 to 255.
    """
    draws, noise = draw(tf.shape(images)[0], seed)
    return resample(images, locate(draws, noise, strengths, shape), shape)


def draw(n: Any, seed: Any) -> tuple[Any, Any]:
    """Draw evenly from [-1, 1): four numbers for each image, shape (4, n), and its noise, shape (2 * n, N_NODES**2)."""
    numbers = tf.random.stateless_uniform([n * (4 + 2 * N_NODES**2)], seed, -1.0, 1.0)
    return tf.reshape(numbers[: 4 * n], [4, n]), tf.reshape(numbers[4 * n :], [2 * n, N_NODES**2])


def locate(draws: Any, noise: Any, strengths: Strengths, shape: tuple[int, int, int]) -> Any:
    """Return where each pixel is read, shape (2 * n, height * width): y in all images, then x, in pixels."""
    height, width, _ = shape
    size = 1 + strengths.scale * draws[2]
    angle = np.pi / 180 * strengths.rotation * draws[3]
    along, across = tf.cos(angle) / size, tf.sin(angle) / size
    y = tf.stack([along, -across, (height - 1) / 2 + strengths.shift * draws[0]], axis=1)
    x = tf.stack([across, along, (width - 1) / 2 + strengths.shift * draws[1]], axis=1)
    displacement = 3**0.5 * strengths.elastic * noise  # the root mean square of the noise is 1 / sqrt(3)
    return tf.concat([tf.concat([y, x], axis=0), displacement], axis=1) @ build_basis(height, width)


def resample(images: Any, places: Any, shape: tuple[int, int, int]) -> Any:
    """Read images at `places` (see `locate`), bilinearly between the four pixels around each."""
    height, width, channels = shape
    y, x = tf.unstack(tf.reshape(places, [2, -1, height * width]))
    y, x = tf.clip_by_value(y, -1.0, height), tf.clip_by_value(x, -1.0, width)  # further out there are zeros as well
    top, left = tf.floor(y), tf.floor(x)
    index = (tf.cast(top, tf.int32) + 1) * (width + 2) + tf.cast(left, tf.int32) + 1
    index += tf.range(tf.shape(images)[0])[:, None] * ((height + 2) * (width + 2))
    around = tf.gather(_pack_neighbours(images, shape), index)
    here, right, below, opposite = (tf.cast(tf.bitwise.right_shift(around, 8 * i) & 255, tf.float32) for i in range(4))
    dy, dx = (y - top)[..., None], (x - left)[..., None]
    upper, lower = here + dx * (right - here), below + dx * (opposite - below)
    return tf.reshape(upper + dy * (lower - upper), [-1, height * width * channels])


def _pack_neighbours(images: Any, shape: tuple[int, int, int]) -> Any:
    """Pack a pixel, the one to its right, the one below and the one between these into the bytes of an int32.

    Then one gather reads what takes four, in half the time on a CPU. An image stands in a frame of zeros, one pixel wide.
    Shape (pixels of all frames, channels).
    """
    framed = tf.cast(tf.pad(tf.reshape(images, [-1, *shape]), [[0, 0], [1, 2], [1, 2], [0, 0]]), tf.int32)
    pairs = framed[:, :, :-1] | tf.bitwise.left_shift(framed[:, :, 1:], 8)
    fours = pairs[:, :-1] | tf.bitwise.left_shift(pairs[:, 1:], 16)
    return tf.reshape(fours, [-1, shape[2]])
