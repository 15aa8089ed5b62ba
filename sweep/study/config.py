"""A config, which is one point of a space, with the key and the seeds derived from it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

Optimizer = Literal["adam", "sgd", "rmsprop"]
Schedule = Literal["constant", "cosine"]
Activation = Literal["relu", "gelu", "silu"]


@dataclass(frozen=True, kw_only=True)
class Config:
    """One MLP and its training steps: hidden blocks Dense(activation), batch norm, dropout, then softmax."""

    units: tuple[int, ...]  # one entry per hidden layer, first layer first
    dropout: float  # rate after each hidden layer; 0 adds no layer
    batch_size: int
    learning_rate: float
    batch_norm: bool = True
    optimizer: str = "adam"
    schedule: str = "constant"  # of the learning rate, over the steps of `max_epochs`
    weight_decay: float = 0.0  # of kernels, decoupled
    label_smoothing: float = 0.0  # of the loss that is trained; validation and test losses are plain
    input_dropout: float = 0.0  # rate on the scaled rows; 0 adds no layer
    activation: str = "relu"
    max_norm: float = 0.0  # of the weights into a hidden unit; 0 is no limit
    ema: float = 0.0  # momentum of the average of the weights, which is what is evaluated and kept; 0 is none
    augment_shift: float = 0.0  # of images in training, each distorted at random: see `train/distortion.py`; 0 is none
    augment_rotation: float = 0.0
    augment_scale: float = 0.0
    augment_elastic: float = 0.0

    @property
    def hidden_layers(self) -> int:
        return len(self.units)

    @property
    def key(self) -> str:
        """Identity in 12 hex digits: the same config has the same key on every machine and in every version."""
        # -0.0, which equals 0.0, is written as 0.0
        values = {name: value + 0.0 if isinstance(value, float) else value for name, value in self.to_dict().items()}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def label(self) -> str:
        """Short text for run names and tables, such as `400-100 · drop 0.50 · bs 100`; of the rest what is no default."""
        added = (form.format(getattr(self, name)) for name, form in _LABELS.items() if name in self.to_dict())
        return " · ".join([self.units_label, f"drop {self.dropout:.2f}", f"bs {self.batch_size}", *added])

    @property
    def augments(self) -> bool:
        """Whether images are distorted in training."""
        return any(getattr(self, name) > 0 for name in AUGMENTATION)

    @property
    def units_label(self) -> str:
        return "-".join(str(units) for units in self.units)

    def params(self) -> dict[str, Any]:
        """Return the values to track, by name; units both as one text and layer by layer."""
        return {
            "hidden_layers": self.hidden_layers,
            "units": self.units_label,
            **{f"units_{layer}": units for layer, units in enumerate(self.units, start=1)},
            **{name: getattr(self, name) for name in WHOLE_NET},
        }

    @classmethod
    def from_params(cls, params: Mapping[str, str]) -> "Config":
        """Rebuild a config from the texts of `params`. Raises KeyError or ValueError if they are of no config.

        Values that the texts of an earlier version do not name are the defaults.
        """
        named = {name: kind for name, kind in WHOLE_NET.items() if name in params or name not in LATER}
        whole: dict[str, Any] = {name: _read(kind, params[name]) for name, kind in named.items()}
        return cls(units=tuple(int(units) for units in params["units"].split("-")), **whole)

    def to_dict(self) -> dict[str, Any]:
        """Return the values by name, for JSON; of those in LATER none that is the default."""
        return leave_out_defaults({**asdict(self), "units": list(self.units)})

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Config":
        return cls(**{**values, "units": tuple(values["units"])})


# What a config says of the whole net, by name, with its type, in the order in which a space draws it.
WHOLE_NET: dict[str, Any] = {field.name: field.type for field in fields(Config) if field.name != "units"}
# Values that version 0.1.0 did not know, and their defaults. A default is left out of keys and of what is stored, so
# that a config or a study that does not use a value is what it was before there was one.
FIRST = {"units", "dropout", "batch_size", "learning_rate", "batch_norm"}
LATER: dict[str, Any] = {field.name: field.default for field in fields(Config) if field.name not in FIRST}
AUGMENTATION = tuple(name for name in LATER if name.startswith("augment_"))

_LABELS = {
    "optimizer": "{}",
    "schedule": "{}",
    "weight_decay": "decay {:.3g}",
    "label_smoothing": "smooth {:.3g}",
    "input_dropout": "drop in {:.3g}",
    "activation": "{}",
    "max_norm": "norm {:.3g}",
    "ema": "ema {:.6g}",
    "augment_shift": "shift {:.3g}",
    "augment_rotation": "rotate {:.3g}",
    "augment_scale": "scale {:.3g}",
    "augment_elastic": "elastic {:.3g}",
}


def leave_out_defaults(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values without those in LATER that are the default."""
    return {name: value for name, value in values.items() if name not in LATER or value != LATER[name]}


def _read(kind: Any, text: str) -> bool | int | float | str:
    """Read what `str` wrote of a value."""
    if kind is bool:
        return text == "True"
    value: int | float | str = kind(text)
    return value


def derive_training_seed(study_seed: int, config: Config, replicate: int) -> int:
    """Derive the seed (32 bits) of one training. Replicate 0 is for the search, 1 and up are for the confirmation.

    The seed depends on the config, not on trial number or time: a retry, a resume or another order of trials gives
    the same result for the same config.
    """
    return derive_seed(study_seed, config.key, replicate)


def derive_seed(*parts: int | str) -> int:
    """Derive 32 bits from `parts` alone; parts that differ at all give unrelated bits."""
    return int.from_bytes(hashlib.sha256("|".join(map(str, parts)).encode()).digest()[:4])
