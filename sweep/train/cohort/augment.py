"""Distort images inside a cohort's program; what is drawn, and why, is in `train/distortion.py`."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sweep.train.distortion import N_NODES, Strengths, build_basis


def derive_step_key(epoch_key: Any, step: Any) -> Any:
    """Derive the key of one step from that of an epoch, shape (2,), uint32: derive_seed(seed, "augment"), and the epoch."""
    return jax.random.fold_in(jax.random.wrap_key_data(epoch_key), step)


def augment(images: Any, key: Any, strengths: Strengths, shape: tuple[int, int, int]) -> Any:
    """Distort each image by a map of its own. Beyond its edges an image is 0.

    images: shape (n, height * width * channels), uint8. key: a key of JAX; the same key gives the same maps.
    strengths: may be data, one of each for a member under `vmap`. shape: height, width and channels.
    Returns float32 of the same shape, from 0 to 255.
    """
    draws, noise = draw(len(images), key)
    return resample(images, locate(draws, noise, strengths, shape), shape)


def draw(n: int, key: Any) -> tuple[Any, Any]:
    """Draw evenly from [-1, 1): four numbers for each image, shape (4, n), and its noise, shape (2 * n, N_NODES**2)."""
    numbers = jax.random.uniform(key, (n * (4 + 2 * N_NODES**2),), minval=-1.0)
    return numbers[: 4 * n].reshape(4, n), numbers[4 * n :].reshape(2 * n, N_NODES**2)


def locate(draws: Any, noise: Any, strengths: Strengths, shape: tuple[int, int, int]) -> Any:
    """Return where each pixel is read, shape (2 * n, height * width): y in all images, then x, in pixels."""
    height, width, _ = shape
    size = 1 + strengths.scale * draws[2]
    angle = np.pi / 180 * strengths.rotation * draws[3]
    along, across = jnp.cos(angle) / size, jnp.sin(angle) / size
    y = jnp.stack([along, -across, (height - 1) / 2 + strengths.shift * draws[0]], axis=1)
    x = jnp.stack([across, along, (width - 1) / 2 + strengths.shift * draws[1]], axis=1)
    displacement = 3**0.5 * strengths.elastic * noise  # the root mean square of the noise is 1 / sqrt(3)
    parameters = jnp.concatenate([jnp.concatenate([y, x]), displacement], axis=1)
    # Rounded to TensorFloat-32, as the program's own products may be, places would be off by hundredths of a pixel.
    return jnp.matmul(parameters, build_basis(height, width), precision=jax.lax.Precision.HIGHEST)


def resample(images: Any, places: Any, shape: tuple[int, int, int]) -> Any:
    """Read images at `places` (see `locate`), bilinearly between the four pixels around each."""
    height, width, channels = shape
    y, x = places.reshape(2, -1, height * width)
    y, x = jnp.clip(y, -1, height), jnp.clip(x, -1, width)  # further out there are zeros as well
    top, left = jnp.floor(y), jnp.floor(x)
    index = (top.astype(jnp.int32) + 1) * (width + 2) + left.astype(jnp.int32) + 1
    around = jax.vmap(jax.vmap(_read), (0, None))(_pack_neighbours(images, shape), index)
    here, right, below, opposite = ((around >> 8 * i & 255).astype(jnp.float32) for i in range(4))
    dy, dx = y - top, x - left
    upper, lower = here + dx * (right - here), below + dx * (opposite - below)
    return jnp.moveaxis(upper + dy * (lower - upper), 0, -1).reshape(-1, height * width * channels)


def _read(frame: Any, index: Any) -> Any:
    return frame.at[index].get(mode="promise_in_bounds")


def _pack_neighbours(images: Any, shape: tuple[int, int, int]) -> Any:
    """Pack a pixel, the one to its right, the one below and the one between these into the bytes of a uint32.

    Then one gather reads what takes four. An image stands in a frame of zeros, one pixel wide. The last axis is that of
    the pixels, because XLA gathers along another axis at half the speed on a CPU. Shape (channels, n, pixels of a frame).
    """
    height, width, channels = shape
    framed = jnp.pad(images.reshape(-1, *shape), ((0, 0), (1, 2), (1, 2), (0, 0))).astype(jnp.uint32)
    pairs = framed[:, :, :-1] | framed[:, :, 1:] << 8
    fours = pairs[:, :-1] | pairs[:, 1:] << 16
    return jnp.moveaxis(fours, -1, 0).reshape(channels, -1, (height + 2) * (width + 2))
