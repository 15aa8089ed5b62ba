"""A config, which is one point of a space, with the key and the seeds derived from it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Config:
    """One MLP and its training steps: hidden blocks Dense(relu), batch norm, dropout, then softmax; trained by Adam."""

    units: tuple[int, ...]  # one entry per hidden layer, first layer first
    dropout: float  # rate after each hidden layer; 0 adds no layer
    batch_size: int
    learning_rate: float
    batch_norm: bool = True

    @property
    def hidden_layers(self) -> int:
        return len(self.units)

    @property
    def key(self) -> str:
        """Identity in 12 hex digits: the same config has the same key on every machine and in every version."""
        values = asdict(self) | {"dropout": self.dropout + 0.0}  # -0.0, which equals 0.0, is written as 0.0
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def label(self) -> str:
        """Short text for run names and tables, such as `400-100 · drop 0.50 · bs 100`."""
        return f"{self.units_label} · drop {self.dropout:.2f} · bs {self.batch_size}"

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
        """Rebuild a config from the texts of `params`. Raises KeyError or ValueError if they are of no config."""
        whole: dict[str, Any] = {name: _read(kind, params[name]) for name, kind in WHOLE_NET.items()}
        return cls(units=tuple(int(units) for units in params["units"].split("-")), **whole)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "units": list(self.units)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Config":
        return cls(**{**values, "units": tuple(values["units"])})


# What a config says of the whole net, by name, with its type, in the order in which a space draws it.
WHOLE_NET: dict[str, Any] = {field.name: field.type for field in fields(Config) if field.name != "units"}


def _read(kind: Any, text: str) -> bool | int | float:
    """Read what `str` wrote of a value."""
    if kind is bool:
        return text == "True"
    value: int | float = kind(text)
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
