"""The space of a study: each axis is a fixed value, an `Int`, a `Float` or a `Choice`."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sweep.study.config import WHOLE_NET, Config, leave_out_defaults

if TYPE_CHECKING:
    import numpy as np  # a study is read before numpy is loaded

Scalar = bool | int | float | str


@dataclass(frozen=True)
class Int:
    """Whole numbers low, low + step, ... up to high (inclusive); `log` draws evenly in the logarithm."""

    low: int
    high: int
    step: int = 1
    log: bool = False


@dataclass(frozen=True)
class Float:
    """Numbers from low to high (inclusive); `log` draws evenly in the logarithm.

    With `step` only low, low + step, ..., up to the last that is not above high. They are counted in decimals, as they
    are typed: in binary, 0.1 + 2 * 0.1 is above 0.3, and 3 * 0.15 below 0.45.
    """

    low: float
    high: float
    step: float | None = None
    log: bool = False

    @property
    def n_steps(self) -> int:
        """The number of steps from low to the last value. Only of an axis with a step."""
        return int((_decimal(self.high) - _decimal(self.low)) // _decimal(self._step))

    def value_at(self, i: int) -> float:
        """Return the value `i` steps above low. Only of an axis with a step."""
        return float(_decimal(self.low) + i * _decimal(self._step))

    def nearest(self, value: float) -> float:
        """Return the value of the axis that is nearest to `value`. Only of an axis with a step."""
        return self.value_at(min(max(round((value - self.low) / self._step), 0), self.n_steps))

    @property
    def _step(self) -> float:
        if self.step is None:
            raise ValueError(f"{self} is continuous and has no list of values")
        return self.step


@dataclass(frozen=True)
class Choice:
    """One of `options`, which have no order."""

    options: tuple[Scalar, ...]


Axis = Scalar | Int | Float | Choice
Draw = Callable[[str, Int | Float | Choice], Scalar]


@dataclass(frozen=True, kw_only=True)
class Space:
    """All configs that a study may try. `units` is one axis that serves every hidden layer, or one axis per layer."""

    hidden_layers: Axis
    units: Axis | tuple[Axis, ...]
    dropout: Axis = 0.0
    batch_size: Axis = 128
    learning_rate: Axis = 0.001
    batch_norm: Axis = True
    optimizer: Axis = "adam"
    schedule: Axis = "constant"
    weight_decay: Axis = 0.0
    label_smoothing: Axis = 0.0
    input_dropout: Axis = 0.0
    activation: Axis = "relu"
    max_norm: Axis = 0.0
    ema: Axis = 0.0
    augment_shift: Axis = 0.0
    augment_rotation: Axis = 0.0
    augment_scale: Axis = 0.0
    augment_elastic: Axis = 0.0

    def units_at(self, layer: int) -> Axis:
        """Return the axis of the units of a hidden layer, counted from 1."""
        return self.units[layer - 1] if isinstance(self.units, tuple) else self.units

    def config(self, draw: Draw) -> Config:
        """Build a config; call `draw(name, axis)` for each axis that varies, the depth before the widths it needs."""

        def value(name: str, axis: Axis) -> Any:
            drawn: Any = draw(name, axis) if isinstance(axis, Int | Float | Choice) else axis
            return axis.nearest(drawn) if isinstance(axis, Float) and axis.step is not None else drawn

        hidden_layers = int(value("hidden_layers", self.hidden_layers))
        return Config(
            units=tuple(int(value(f"units_{i}", self.units_at(i))) for i in range(1, hidden_layers + 1)),
            **{name: kind(value(name, getattr(self, name))) for name, kind in WHOLE_NET.items()},
        )

    def axes_of(self, config: Config) -> dict[str, tuple[Axis, Scalar]]:
        """Return every axis that decides `config` and its value, by parameter name."""
        axes: dict[str, tuple[Axis, Scalar]] = {"hidden_layers": (self.hidden_layers, config.hidden_layers)}
        if not isinstance(self.units, tuple) or len(self.units) >= config.hidden_layers:
            for layer, units in enumerate(config.units, start=1):
                axes[f"units_{layer}"] = (self.units_at(layer), units)
        for name in WHOLE_NET:
            axes[name] = (getattr(self, name), getattr(config, name))
        return axes

    def n_configs(self) -> float:
        """Count the different configs of the space; infinity where an axis is continuous."""
        shared = math.prod(count(getattr(self, name)) for name in WHOLE_NET)
        if math.isinf(shared):
            return math.inf
        return shared * sum(
            math.prod(count(self.units_at(i)) for i in range(1, int(hidden_layers) + 1))
            for hidden_layers in list_values(self.hidden_layers)
        )

    def n_values(self, name: str) -> float:
        """Count the values of the axis called `name`; infinity where it is continuous."""
        return count(getattr(self, name))

    def grid(self) -> Iterator[Config]:
        """Yield every config once. Raises ValueError if an axis is continuous."""
        shared = [list_values(getattr(self, name)) for name in WHOLE_NET]
        for hidden_layers in list_values(self.hidden_layers):
            layers = [list_values(self.units_at(i)) for i in range(1, int(hidden_layers) + 1)]
            for units in itertools.product(*layers):
                for values in itertools.product(*shared):
                    whole = {name: kind(v) for (name, kind), v in zip(WHOLE_NET.items(), values, strict=True)}
                    yield Config(units=tuple(int(u) for u in units), **whole)

    def draw(self, n: int, rng: "np.random.Generator") -> list[Config]:
        """Draw n configs, each axis by itself, evenly in its own range. Some may be equal."""
        depths = [int(depth) for depth in draw_values(self.hidden_layers, n, rng)]
        widths = [draw_values(self.units_at(layer), n, rng) for layer in range(1, max(depths) + 1)]
        whole = [list(map(kind, draw_values(getattr(self, k), n, rng))) for k, kind in WHOLE_NET.items()]
        return [
            Config(
                units=tuple(int(of_layer[i]) for of_layer in widths[: depths[i]]),
                **dict(zip(WHOLE_NET, values, strict=True)),
            )
            for i, values in enumerate(zip(*whole, strict=True))
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return the axes by name, for JSON; none that earlier versions did not know and that is the default."""
        return leave_out_defaults(asdict(self))


def count(axis: Axis) -> float:
    """Count the values of an axis; infinity where it is continuous."""
    match axis:
        case Int(low, high, step):
            return (high - low) // step + 1
        case Float():
            return math.inf if axis.step is None else axis.n_steps + 1
        case Choice(options):
            return len(options)
        case _:
            return 1


def list_values(axis: Axis) -> tuple[Scalar, ...]:
    """Return every value of an axis, in order. Raises ValueError if it is continuous."""
    match axis:
        case Int(low, high, step):
            return tuple(range(low, high + 1, step))
        case Float():
            return tuple(axis.value_at(i) for i in range(axis.n_steps + 1))
        case Choice(options):
            return options
        case bool() | int() | float() | str():
            return (axis,)
        case _:
            raise TypeError(f"not an axis: {axis!r}")


def draw_values(axis: Axis, n: int, rng: "np.random.Generator") -> Sequence[Scalar]:
    """Draw n values of an axis, evenly in its range, or in the logarithm of it."""
    match axis:
        case Int(low, high, _, True):
            exponents = rng.uniform(math.log(low), math.log(high + 1), n).tolist()
            return [min(max(int(math.exp(exponent)), low), high) for exponent in exponents]
        case Int(low, high, step):
            return [low + step * i for i in rng.integers((high - low) // step + 1, size=n).tolist()]
        case Float(low, high, None, True):
            exponents = rng.uniform(math.log(low), math.log(high), n).tolist()
            return [min(max(math.exp(exponent), low), high) for exponent in exponents]
        case Float(low, high, None):
            return [min(value, high) for value in rng.uniform(low, high, n).tolist()]
        case Float():
            return [axis.value_at(i) for i in rng.integers(axis.n_steps + 1, size=n).tolist()]
        case Choice(options):
            return [options[i] for i in rng.integers(len(options), size=n).tolist()]
        case _:
            return [axis] * n


def _decimal(value: float) -> Decimal:
    """Return a number as a person would type it."""
    return Decimal(str(value))


def contains(axis: Axis, value: Scalar) -> bool:
    """Return whether the axis can take `value`."""
    match axis:
        case Choice(options):
            return value in options
        case Int(low, high, step) if not isinstance(value, str):
            return low <= value <= high and (value - low) % step == 0
        case Float(low, high, None) if not isinstance(value, str):
            return low <= value <= high
        case Float() if not isinstance(value, str):
            return math.isclose(value, axis.nearest(value))
        case _:
            return value == axis
