"""A config: one point of a space, and the identity and seeds that follow from it."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Config:
    """What one MLP is and how it steps: hidden blocks Dense(relu), batch norm, dropout, then softmax, trained by Adam."""

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
        """12 hex digits: the same config has the same key on every machine and in every version."""
        values = asdict(self) | {"dropout": self.dropout + 0.0}  # -0.0, which equals 0.0, is written as 0.0
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def label(self) -> str:
        """A few words for run names and tables, such as `400-100 · drop 0.50 · bs 100`."""
        return f"{self.units_label} · drop {self.dropout:.2f} · bs {self.batch_size}"

    @property
    def units_label(self) -> str:
        return "-".join(str(units) for units in self.units)

    def params(self) -> dict[str, Any]:
        """The config by name, as it is tracked: whole and layer by layer."""
        return {
            "hidden_layers": self.hidden_layers,
            "units": self.units_label,
            **{f"units_{layer}": units for layer, units in enumerate(self.units, start=1)},
            "dropout": self.dropout,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
            "batch_norm": self.batch_norm,
        }

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "units": list(self.units)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Config":
        return cls(**{**values, "units": tuple(values["units"])})


def derive_training_seed(study_seed: int, config: Config, replicate: int) -> int:
    """The seed (32 bits) of one training; replicate 0 is the search's own, 1 and up are confirmation's.

    It follows from the config rather than from trial number or time, so that a retry, a resume or another order
    of trials gives the same result for the same config.
    """
    return derive_seed(study_seed, config.key, replicate)


def derive_seed(*parts: int | str) -> int:
    """32 bits that follow from `parts` alone, unrelated for parts that differ at all."""
    return int.from_bytes(hashlib.sha256("|".join(map(str, parts)).encode()).digest()[:4])
