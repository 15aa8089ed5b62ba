"""Tables of learning curves: configs that were all trained to the end, for searches to be replayed on."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweep.study.config import WHOLE_NET, Config
from sweep.study.space import Axis, Choice, Draw, Float, Int, Scalar, Space, list_values
from sweep.trial import Logs

FEW = 12  # an axis of so many values or fewer is a choice among them
LOGARITHMIC = 8  # an axis is drawn in its logarithm where its largest value is that many times its smallest, or more
LOGS = ("loss", "accuracy", "val_loss", "val_accuracy")  # the search sees these; then come test loss and accuracy
VAL_ACCURACY, TEST_ACCURACY = 3, 5

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class CurveTable:
    """n configs and their curves."""

    configs: tuple[Config, ...]
    curves: Floats  # (n, epochs, 6)

    @classmethod
    def read(cls, path: Path) -> "CurveTable":
        """Read a table: `configs` (n, 9), hidden layers, five widths, dropout, batch size, learning rate; `curves`."""
        with np.load(path) as arrays:
            rows, curves = arrays["configs"].astype(float), arrays["curves"].astype(float)
        if rows.shape[1:] != (9,) or curves.shape[0] != len(rows) or curves.shape[2:] != (6,):
            raise ValueError(
                f"{path}: configs {rows.shape} and curves {curves.shape}, wanted (n, 9) and (n, epochs, 6)"
            )
        return cls(tuple(map(_to_config, rows)), curves)

    @property
    def n_epochs(self) -> int:
        return self.curves.shape[1]

    def logs(self, i: int, epoch: int) -> Logs:
        """Return what a training of config i reports after an epoch, counted from 1. Test metrics are left out."""
        return dict(zip(LOGS, self.curves[i, epoch - 1].tolist(), strict=False))

    def space(self) -> "TableSpace":
        """Return the configs of the table as a space: its axes reach as far as the table does."""
        return TableSpace.of(self.configs)


@dataclass(frozen=True, kw_only=True)
class TableSpace(Space):
    """The configs of a table. What a sampler draws becomes the nearest config of the table that was not drawn before."""

    configs: tuple[Config, ...]
    _drawn: set[int] = field(default_factory=set, repr=False, compare=False)

    @classmethod
    def of(cls, configs: tuple[Config, ...]) -> "TableSpace":
        values: dict[str, list[Any]] = {name: [getattr(c, name) for c in configs] for name in WHOLE_NET}
        axes: dict[str, Any] = {name: _to_axis(of_name) for name, of_name in values.items()}
        axes["hidden_layers"] = _to_axis([c.hidden_layers for c in configs])
        axes["units"] = _to_axis([units for c in configs for units in c.units])
        return cls(**axes, configs=configs)

    @cached_property
    def points(self) -> Floats:
        """The places of the configs in a cube, (n, coordinates)."""
        return np.array([self._place(config) for config in self.configs])

    def config(self, draw: Draw) -> Config:
        squared = ((self.points - self._place(super().config(draw))) ** 2).sum(axis=1)
        squared[list(self._drawn)] = np.inf
        nearest = int(squared.argmin())
        self._drawn.add(nearest)
        return self.configs[nearest]

    def draw(self, n: int, rng: np.random.Generator) -> list[Config]:
        return [self.configs[i] for i in rng.permutation(len(self.configs))[:n]]

    def n_configs(self) -> float:
        return len(self.configs)

    def grid(self) -> Iterator[Config]:
        return iter(self.configs)

    def to_dict(self) -> dict[str, Any]:
        return {"configs": len(self.configs)}

    def _place(self, config: Config) -> list[float]:
        """Place a config in a cube, to tell which of the table is near: an absent layer lies in the middle."""
        of_net = [_share(getattr(self, name), getattr(config, name)) for name in ("hidden_layers", *WHOLE_NET)]
        widths = [_share(self.units_at(layer), units) for layer, units in enumerate(config.units, start=1)]
        return of_net + widths + [0.5] * (int(max(list_values(self.hidden_layers))) - len(widths))


def _to_config(row: Floats) -> Config:
    depth, widths = int(row[0]), row[1:6]
    return Config(
        units=tuple(map(int, widths[:depth])),
        dropout=row[6].item(),
        batch_size=int(row[7]),
        learning_rate=row[8].item(),
    )


def _to_axis(values: list[Any]) -> Axis:
    options = tuple(sorted(set(values)))
    if len(options) <= FEW:
        return Choice(options) if len(options) > 1 else options[0]
    low, high = options[0], options[-1]
    log = low > 0 and high >= LOGARITHMIC * low
    return Int(low, high, log=log) if isinstance(low, int) else Float(low, high, log=log)


def _share(axis: Axis, value: Scalar) -> float:
    match axis:
        case Choice(options):
            return options.index(value) / (len(options) - 1)
        case Int(low, high, _, log) | Float(low, high, _, log):
            scale = np.log if log else float
            return float((scale(value) - scale(low)) / (scale(high) - scale(low)))
        case _:
            return 0.0
