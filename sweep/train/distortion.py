"""The distortion of images that is common to both engines: its strengths, and the places where pixels are read.

Every image gets a map of its own: it is moved, turned and scaled, and its points are displaced by a smooth random field
(elastic deformation: Simard et al. 2003, ICDAR, section 2; Ciresan et al. 2010, arXiv 1003.0358). The engines draw and
resample, `train/graph/augment.py` and `train/cohort/augment.py`; a test holds both to one arithmetic.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sweep.study.config import Config

N_NODES = 7  # of the grid of noise, along each axis; with SMOOTHNESS it reaches half a node beyond the image
SMOOTHNESS = 0.2  # standard deviation of the Gaussian that smooths noise, in sides of the image; 5.6 pixels of MNIST


class Strengths(NamedTuple):
    """How far images may be distorted. At 0, a part of the distortion does nothing, exactly.

    Numbers, or arrays of one number where they are data of a program.
    """

    shift: Any  # pixels along each axis, drawn evenly from -shift to shift
    rotation: Any  # degrees, drawn evenly from -rotation to rotation
    scale: Any  # the size is multiplied by a factor drawn evenly from 1 - scale to 1 + scale; below 1
    elastic: Any  # pixels: root mean square, along each axis, by which a point is displaced

    @classmethod
    def of(cls, config: Config) -> "Strengths":
        """Return the strengths that a config asks for."""
        return cls(config.augment_shift, config.augment_rotation, config.augment_scale, config.augment_elastic)


def build_basis(height: int, width: int) -> NDArray[np.float32]:
    """Build what a map's parameters are multiplied with to give the place where each pixel is read.

    Shape (3 + N_NODES**2, height * width), rows of an image: its y and its x, from the center of the image; ones;
    and the weight of each node of noise. A place is one row of parameters times this: along y, for a rotation by `a` and
    a size multiplied by `z`, the parameters are cos(a) / z, -sin(a) / z, the center plus the shift, and noise.
    """
    y, x = (np.arange(n) - (n - 1) / 2 for n in (height, width))
    affine = [np.repeat(y, width), np.tile(x, height), np.ones(height * width)]
    elastic = np.kron(_smooth(height), _smooth(width)).T
    return np.concatenate([affine, elastic]).astype(np.float32)


def _smooth(n: int) -> NDArray[np.float64]:
    """Return the weights of the nodes at each of `n` pixels, shape (n, N_NODES).

    Simard et al. draw noise at every pixel. A Gaussian has nothing finer than a grid with steps of its standard deviation
    holds, so fewer draws and products give the same field. The squares of a pixel's weights sum to 1: then the
    displacement has the variance of the noise everywhere, near the border too.
    """
    spread = SMOOTHNESS * n
    nodes = (n - 1) / 2 + spread * (np.arange(N_NODES) - (N_NODES - 1) / 2)
    weights = np.exp(-(((np.arange(n)[:, None] - nodes) / spread) ** 2) / 2)
    weights /= np.sqrt((weights**2).sum(axis=1, keepdims=True))
    return np.asarray(weights, np.float64)
