"""The configs that every contender trains."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sweep.study.config import Config
from sweep.study.file import load_study
from sweep.study.space import Axis, Choice, Float, Int, Scalar, list_values

STUDY = Path(__file__).with_name("study.toml")
DRAW_SEED = 2019

ConfigTable = dict[str, Any]  # units, dropout, batch_size, learning_rate, batch_norm; as JSON has it


def config_set(name: str, n_default: int) -> list[ConfigTable]:
    """`notebook`: its four nets; `default`: a fixed draw of `n_default` from the space of `study.toml`; `quick`: two tiny nets."""
    sets = {"notebook": notebook, "default": lambda: default(n_default), "quick": quick}
    return [config.to_dict() for config in sets[name]()]


def notebook() -> list[Config]:
    """The four nets of the notebook, which are the baselines of `study.toml`."""
    return [baseline.config for baseline in load_study(STUDY)[0].baselines]


def default(n: int) -> list[Config]:
    """The first `n` configs of one random sequence, depths in turn: a larger n has the same ones first."""
    space = load_study(STUDY)[0].space
    assert space is not None
    rng = np.random.default_rng(DRAW_SEED)
    depths = list_values(space.hidden_layers)
    spaces = [replace(space, hidden_layers=depths[i % len(depths)]) for i in range(n)]
    return [space.config(lambda name, axis: _draw(rng, axis)) for space in spaces]


def quick() -> list[Config]:
    """Seconds of training, to see that the bench itself works."""
    shared = {"batch_size": 256, "learning_rate": 0.001}
    return [Config(units=(64,), dropout=0.0, **shared), Config(units=(64, 32), dropout=0.2, **shared)]


def twins(config: Config) -> list[Config]:
    """A config twice, as good as equal: side by side they keep two cores busy with the same work."""
    return [config, Config.from_dict({**config.to_dict(), "learning_rate": config.learning_rate * 1.0001})]


def _draw(rng: np.random.Generator, axis: Axis) -> Scalar:
    match axis:
        case Choice(options):
            return options[rng.integers(len(options))]
        case Int(low, high, log=True):
            return round(float(np.exp(rng.uniform(np.log(low), np.log(high)))))
        case Float(low, high, log=True):
            return float(np.exp(rng.uniform(np.log(low), np.log(high))))
        case Int(low, high):
            return int(rng.integers(low, high + 1))
        case Float(low, high):
            return float(rng.uniform(low, high))
        case _:
            raise TypeError(f"{axis!r} does not vary")
