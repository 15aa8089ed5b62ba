"""Distorted images, in the epoch's graph; what is drawn, and why, is in `train/distortion.py`."""

from typing import Any

import numpy as np
import tensorflow as tf

from sweep.train.distortion import N_NODES, Strengths, build_basis

BEFORE, AFTER = 1, 2  # zeros around an image: of a pixel's neighbours below and to the right, one may lie beyond the edge


def augment(images: Any, seed: Any, strengths: Strengths, shape: tuple[int, int, int]) -> Any:
    """Distort each image by a map of its own. Outside, images are 0.

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
    """Return where in the image each pixel is read, shape (2 * n, height * width): y of all images, then x, in pixels."""
    height, width, _ = shape
    size = 1 + strengths.scale * draws[2]
    angle = np.pi / 180 * strengths.rotation * draws[3]
    along, across = tf.cos(angle) / size, tf.sin(angle) / size
    y = tf.stack([along, -across, (height - 1) / 2 + strengths.shift * draws[0]], axis=1)
    x = tf.stack([across, along, (width - 1) / 2 + strengths.shift * draws[1]], axis=1)
    displacement = np.sqrt(3) * strengths.elastic * noise  # the root mean square of the noise is 1 / sqrt(3)
    return tf.concat([tf.concat([y, x], axis=0), displacement], axis=1) @ build_basis(height, width)


def resample(images: Any, places: Any, shape: tuple[int, int, int]) -> Any:
    """Read images at `places` (see `locate`), bilinearly between the four pixels around each."""
    height, width, channels = shape
    y, x = tf.unstack(tf.reshape(places, [2, -1, height * width]))
    y, x = tf.clip_by_value(y, -1.0, height), tf.clip_by_value(x, -1.0, width)  # further out there are zeros as well
    top, left = tf.floor(y), tf.floor(x)
    row, column = tf.cast(top, tf.int32) + BEFORE, tf.cast(left, tf.int32) + BEFORE
    frame = (height + BEFORE + AFTER - 1) * (width + BEFORE + AFTER - 1)
    first = tf.range(tf.shape(images)[0])[:, None] * frame
    around = tf.gather(_pack_neighbours(images, shape), first + row * (width + BEFORE + AFTER - 1) + column)
    here, right, below, opposite = (tf.cast(tf.bitwise.right_shift(around, 8 * i) & 255, tf.float32) for i in range(4))
    dy, dx = (y - top)[..., None], (x - left)[..., None]
    upper, lower = here + dx * (right - here), below + dx * (opposite - below)
    return tf.reshape(upper + dy * (lower - upper), [-1, height * width * channels])


def _pack_neighbours(images: Any, shape: tuple[int, int, int]) -> Any:
    """Pack a pixel, the one to its right, the one below and the one between these into the bytes of an int32.

    One gather of these takes half as long on a CPU as four gathers of pixels. Shape (pixels of all frames, channels).
    """
    border = [BEFORE, AFTER]
    framed = tf.pad(tf.reshape(images, [-1, *shape]), [[0, 0], border, border, [0, 0]])
    framed = tf.cast(framed, tf.int32)
    pairs = framed[:, :, :-1] | tf.bitwise.left_shift(framed[:, :, 1:], 8)
    fours = pairs[:, :-1] | tf.bitwise.left_shift(pairs[:, 1:], 16)
    return tf.reshape(fours, [-1, shape[2]])
