"""Configs as points in a cube, for a model over hyperparameters."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from sweep.study.config import WHOLE_NET, Config
from sweep.study.space import Axis, Choice, Float, Int, Scalar, Space, count, list_values

ABSENT = 0.5  # where the width of a layer lies that a net does not have
Points = NDArray[np.float64]
Encode = Callable[[Sequence[Scalar]], Points]  # values of one axis, n of them -> (n, coordinates)


class Encoder:
    """Places the configs of a space in a cube: each axis that varies from 0 to 1, in its logarithm if it is drawn so.

    Values without an order have a coordinate each, so far apart that two of them lie at distance 1.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self._deepest = int(max(list_values(space.hidden_layers)))
        axes = {name: getattr(space, name) for name in ("hidden_layers", *WHOLE_NET)}
        self._whole = {name: _encode_axis(axis) for name, axis in axes.items() if count(axis) > 1}
        widths = {i: space.units_at(i) for i in range(1, self._deepest + 1)}
        self._widths = {i: _encode_axis(axis) for i, axis in widths.items() if count(axis) > 1}

    def encode(self, configs: Sequence[Config]) -> Points:
        """Return the points of configs of the space, shape (n, coordinates)."""
        parts = [encode([getattr(config, name) for config in configs]) for name, encode in self._whole.items()]
        depths = np.array([len(config.units) for config in configs])
        for layer, encode in self._widths.items():
            is_there = depths >= layer
            part = np.full((len(configs), 1), ABSENT)
            if is_there.any():
                of_those = encode([config.units[layer - 1] for config in configs if len(config.units) >= layer])
                part = np.full((len(configs), of_those.shape[1]), ABSENT)
                part[is_there] = of_those
            parts.append(part)
        return np.hstack(parts) if parts else np.zeros((len(configs), 1))


def _encode_axis(axis: Axis) -> Encode:
    match axis:
        case Int(low, high, _, log) | Float(low, high, _, log):
            scale: Callable[[Points], Points] = np.log if log else np.asarray
            start, end = scale(np.array([low, high], float))
            return lambda values: ((scale(np.array(values, float)) - start) / (end - start))[:, None]
        case Choice(options) if not any(isinstance(option, bool | str) for option in options):
            ordered = np.sort(np.array(options, float))
            places = np.linspace(0, 1, len(ordered))
            return lambda values: np.interp(np.array(values, float), ordered, places)[:, None]
        case Choice(options):
            side = 1 / math.sqrt(2)
            return lambda values: side * np.array([[v == o for o in options] for v in values]).reshape(-1, len(options))
        case _:
            raise TypeError(f"{axis!r} does not vary")
