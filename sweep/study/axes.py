"""The `[space]` table of a study file: reads TOML as axes; its errors say what was wanted."""

from dataclasses import dataclass
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, PlainValidator

from sweep.study.config import LATER, Activation, Optimizer, Schedule
from sweep.study.space import Axis, Choice, Float, Int, Scalar, Space, list_values

MAX_VALUES = 1_000_000  # of one axis with a step
MAX_STEP = 65536


@dataclass(frozen=True, kw_only=True)
class KeyRule:
    """The rule of one key of `[space]`: reads a fixed value, `{int = [..]}`, `{float = [..]}` or `{choice = [..]}` as an axis."""

    kind: type[bool] | type[int] | type[float] | type[str]
    wanted: str  # a fixed value, in words
    names: tuple[str, ...] = ()  # of kind str: the values
    low: float = 0
    high: float = 1
    is_high_open: bool = False  # then the values end below `high`
    is_per_layer: bool = False  # then a list gives each hidden layer an axis of its own

    @property
    def shapes(self) -> str:
        """Every way to write the key, in words."""
        ranges = [f"{{{self.kind.__name__} = [low, high]}}"] if self._has_ranges else []
        return " or ".join([self.wanted, *ranges, "{choice = [...]}"])

    @property
    def _has_ranges(self) -> bool:
        return self.kind in (int, float)

    def read(self, value: Any) -> Axis | tuple[Axis, ...]:
        """Return the axis, or the axis of each layer, that a TOML value describes. Raises ValueError."""
        if not self.is_per_layer or not isinstance(value, list):
            return self._axis(value)
        if not value:
            raise ValueError("wanted one entry for each hidden layer, got none")
        return tuple(self._axis(entry) for entry in value)

    def _axis(self, value: Any) -> Axis:
        if isinstance(value, Int | Float | Choice):
            return value
        if not isinstance(value, dict):
            return self._scalar(value)
        if "choice" in value:
            return self._choice(value)
        if self._has_ranges and self.kind.__name__ in value:
            return self._range(value, self.kind.__name__)
        raise ValueError(f"wanted {self.shapes}")

    def _scalar(self, value: Any) -> Scalar:
        if not self._is_of_kind(value):
            raise ValueError(f"wanted {self.shapes}")
        if not self._is_allowed(value):
            raise ValueError(f"wanted {self.wanted}")
        return self.kind(value)

    def _is_allowed(self, value: Any) -> bool:
        if self.kind is str:
            return value in self.names
        return bool(self.low <= value < self.high if self.is_high_open else self.low <= value <= self.high)

    def _is_of_kind(self, value: Any) -> bool:
        """Return whether the TOML type of `value` fits. A whole number fits float; unlike in Python, true is none."""
        if isinstance(value, bool):
            return self.kind is bool
        return isinstance(value, int | float if self.kind is float else self.kind)

    def _choice(self, table: dict[str, Any]) -> Choice:
        if table.keys() != {"choice"} or not isinstance(table["choice"], list) or not table["choice"]:
            raise ValueError("wanted {choice = [...]} with at least one value and no other key")
        options = tuple(self._scalar(option) for option in table["choice"])
        if len(set(options)) < len(options):
            raise ValueError("wanted each value of a choice once")
        return Choice(options)

    def _range(self, table: dict[str, Any], name: str) -> Int | Float:
        if unknown := table.keys() - {name, "log", "step"}:
            raise ValueError(f"unknown key {min(unknown)!r}; beside {name!r} only ['log', 'step'] are known")
        low, high = self._bounds(table[name], name)
        log = _read_log(table, low)
        step = self._step(table["step"], high - low) if "step" in table else None
        if self.kind is int:
            return Int(low, high, step=1 if step is None else step, log=log)
        return Float(low, high, step=step, log=log)

    def _bounds(self, pair: Any, name: str) -> tuple[Any, Any]:
        if not isinstance(pair, list) or len(pair) != 2:
            raise ValueError(f"wanted {name} = [low, high]")
        low: Any = self._scalar(pair[0])
        high: Any = self._scalar(pair[1])
        if low >= high:
            raise ValueError(f"wanted low below high in {name} = [low, high]")
        return low, high

    def _step(self, step: Any, width: float) -> Any:
        if not self._is_of_kind(step) or not 0 < step <= MAX_STEP:
            raise ValueError(f"wanted a step above 0, up to {MAX_STEP}")
        if width / step > MAX_VALUES:
            raise ValueError(f"wanted a step that gives up to {MAX_VALUES} values")
        return self.kind(step)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        """Have pydantic check an annotated field with `read`."""
        return PlainValidator(self.read).__get_pydantic_core_schema__(source, handler)


def _read_log(table: dict[str, Any], low: float) -> bool:
    log = table.get("log", False)
    if not isinstance(log, bool):
        raise ValueError("wanted log = true or false")
    if log and low <= 0:
        raise ValueError("wanted low above 0 where log = true")
    if log and "step" in table:
        raise ValueError("wanted either log or step, not both")
    return log


def _name_one_of(names: tuple[str, ...]) -> KeyRule:
    return KeyRule(kind=str, names=names, wanted=f"{', '.join(map(repr, names[:-1]))} or {names[-1]!r}")


_WIDTH = "a whole number from 1 to 65536"
_RATE = KeyRule(kind=float, wanted="a rate from 0 to below 1", is_high_open=True)
_LENGTH = KeyRule(kind=float, wanted="a number of pixels from 0 to 1000", high=1000)
# What the keys of a config mean, here and in `[[baselines]]`.
DESCRIPTIONS = {
    "dropout": "Dropout rate after each hidden layer; 0 adds no layer.",
    "batch_size": "Rows in a step of training.",
    "learning_rate": 'Learning rate of the optimizer; with `schedule = "cosine"`, the highest.',
    "batch_norm": "Batch normalization after each hidden layer.",
    "optimizer": "`adam`, `sgd` (with Nesterov momentum of 0.9) or `rmsprop`, otherwise with Keras' defaults.",
    "schedule": "`constant`, or `cosine`: the learning rate rises linearly over the first tenth of the steps of `max_epochs` "
    "epochs, then falls along a cosine to 0 at the last of them.",
    "weight_decay": "Share of a kernel, times the learning rate, that each step takes off (decoupled, as in AdamW); biases and "
    "batch norm do not decay.",
    "label_smoothing": "Share of a label that is spread evenly over all classes in the loss that is trained, which is what "
    "`loss` is in curves; validation and test losses are plain cross-entropy.",
    "input_dropout": "Dropout rate on the scaled rows; 0 adds no layer.",
    "activation": "`relu`, `gelu` or `silu`, of hidden layers.",
    "max_norm": "Upper limit of the norm of the weights into a hidden unit; 0 is no limit.",
    "ema": "Momentum, per step, of an exponential average of the weights, which is what is evaluated after each epoch, kept "
    "and exported, while training goes on from the weights themselves; 0 is no average.",
    "augment_shift": "Pixels by which an image may be moved along each axis in training. Each image is distorted anew in each "
    "epoch, evenly up to this; images are rows of bytes (uint8) of shape (height, width) or (height, width, channels).",
    "augment_rotation": "Degrees by which an image may be turned in training, either way.",
    "augment_scale": "Share by which an image may be made larger or smaller in training.",
    "augment_elastic": "Pixels, root mean square along each axis, by which a smooth random field displaces the points of an "
    "image in training (elastic deformation).",
}


class SpaceTable(BaseModel):
    """Gives each key a fixed value or a range.

    `{int = [low, high]}` and `{float = [low, high]}` are ranges with both ends included; `{choice = [...]}` lists values
    that have no order. In a range, `log = true` draws evenly in the logarithm, and `step = 0.1` keeps low, low + 0.1, and
    so on, up to the last that is not above high; a range has one of the two at most.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    hidden_layers: Annotated[Any, KeyRule(kind=int, wanted="a whole number from 1 to 20", low=1, high=20)] = Field(
        description="Number of hidden layers."
    )
    units: Annotated[Any, KeyRule(kind=int, wanted=_WIDTH, low=1, high=65536, is_per_layer=True)] = Field(
        description="Units of a hidden layer, drawn for each layer by itself. A list gives each layer a range of its own; "
        "it needs as many entries as the deepest net has hidden layers."
    )
    dropout: Annotated[Any, _RATE] = Field(0.0, description=DESCRIPTIONS["dropout"])
    batch_size: Annotated[Any, KeyRule(kind=int, wanted=_WIDTH, low=1, high=65536)] = Field(
        128, description=DESCRIPTIONS["batch_size"]
    )
    learning_rate: Annotated[Any, KeyRule(kind=float, wanted="a number from 1e-8 to 10", low=1e-8, high=10)] = Field(
        0.001, description=DESCRIPTIONS["learning_rate"]
    )
    batch_norm: Annotated[Any, KeyRule(kind=bool, wanted="true or false")] = Field(
        True, description=DESCRIPTIONS["batch_norm"]
    )
    optimizer: Annotated[Any, _name_one_of(get_args(Optimizer))] = Field(
        LATER["optimizer"], description=DESCRIPTIONS["optimizer"]
    )
    schedule: Annotated[Any, _name_one_of(get_args(Schedule))] = Field(
        LATER["schedule"], description=DESCRIPTIONS["schedule"]
    )
    weight_decay: Annotated[Any, KeyRule(kind=float, wanted="a number from 0 to 1")] = Field(
        LATER["weight_decay"], description=DESCRIPTIONS["weight_decay"]
    )
    label_smoothing: Annotated[Any, _RATE] = Field(
        LATER["label_smoothing"], description=DESCRIPTIONS["label_smoothing"]
    )
    input_dropout: Annotated[Any, _RATE] = Field(LATER["input_dropout"], description=DESCRIPTIONS["input_dropout"])
    activation: Annotated[Any, _name_one_of(get_args(Activation))] = Field(
        LATER["activation"], description=DESCRIPTIONS["activation"]
    )
    max_norm: Annotated[Any, KeyRule(kind=float, wanted="a number from 0 to 1000", high=1000)] = Field(
        LATER["max_norm"], description=DESCRIPTIONS["max_norm"]
    )
    ema: Annotated[Any, _RATE] = Field(LATER["ema"], description=DESCRIPTIONS["ema"])
    augment_shift: Annotated[Any, _LENGTH] = Field(LATER["augment_shift"], description=DESCRIPTIONS["augment_shift"])
    augment_rotation: Annotated[Any, KeyRule(kind=float, wanted="a number from 0 to 180", high=180)] = Field(
        LATER["augment_rotation"], description=DESCRIPTIONS["augment_rotation"]
    )
    augment_scale: Annotated[Any, _RATE] = Field(LATER["augment_scale"], description=DESCRIPTIONS["augment_scale"])
    augment_elastic: Annotated[Any, _LENGTH] = Field(
        LATER["augment_elastic"], description=DESCRIPTIONS["augment_elastic"]
    )


def read_space(value: Any) -> Space:
    """Return the space of a `[space]` table. Raises ValueError; every layer that can be drawn must have units."""
    if isinstance(value, Space):
        return value
    space = Space(**dict(SpaceTable.model_validate(value)))
    deepest = int(max(list_values(space.hidden_layers)))
    if isinstance(space.units, tuple) and len(space.units) < deepest:
        raise ValueError(
            f"units names {len(space.units)} hidden layers, wanted {deepest}, as many as the deepest net has"
        )
    return space
