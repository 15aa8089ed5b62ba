"""Members of cohorts and the rows that they train on. Child processes import this too, so it loads no Keras."""

import os
from dataclasses import replace

import numpy as np

from sweep.data.prepared import Split
from sweep.study.config import Config
from sweep.trial import Phase, Trial
from tests.studies import FACTS

N_TRAIN, N_VALIDATION = 310, 120  # of batches of 32, nine are whole and one is not
# Standardized rows: of rows that are never negative, as pixels, many a unit is never below zero (see `assert_alike`).
FACTS = replace(FACTS, n_train=N_TRAIN, n_validation=N_VALIDATION, scaling="standard")
IMAGES = replace(FACTS, scaling="pixels")


def use_jax():
    os.environ["KERAS_BACKEND"] = "jax"
    os.environ["XLA_FLAGS"] = "--xla_backend_optimization_level=0"  # compiles in half the time


def split(n, seed):
    rng = np.random.default_rng(seed)
    prototypes = np.random.default_rng(0).normal(0, 1, (3, FACTS.n_features))
    y = rng.integers(0, 3, n).astype(np.int32)
    return Split((prototypes[y] + rng.normal(0, 2, (n, FACTS.n_features))).astype(np.float32), y)


TRAIN, VALIDATION = split(N_TRAIN, 1), split(N_VALIDATION, 2)


def to_images(rows):
    """Rows of pixels, which are seldom black."""
    return Split(np.clip(128 + 24 * rows.x, 0, 255).astype(np.uint8), rows.y)


def trial(number=0, **changes):
    config = Config(**{"units": (24, 12), "dropout": 0.3, "batch_size": 32, "learning_rate": 0.003, **changes})
    return Trial(number=number, phase=Phase.SEARCH, config=config, seed=1000 + number)


RECIPES = {
    "sgd": {"optimizer": "sgd", "learning_rate": 0.02},
    "rmsprop": {"optimizer": "rmsprop"},
    "a schedule": {"schedule": "cosine"},
    "weight decay": {"weight_decay": 0.5},
    "label smoothing": {"label_smoothing": 0.2},
    "input dropout": {"input_dropout": 0.2},
    "gelu": {"activation": "gelu"},
    "silu": {"activation": "silu"},
    "norms": {"max_norm": 0.9},
    "an average": {"ema": 0.9},
}
DISTORTED = {"augment_shift": 1.5, "augment_rotation": 20, "augment_scale": 0.2, "augment_elastic": 0.5}
_EVERYTHING = {name: value for part in RECIPES.values() for name, value in part.items()}
RECIPES["everything"] = _EVERYTHING | {"optimizer": "adam", "learning_rate": 0.003}
RECIPES["everything by sgd"] = _EVERYTHING | {"optimizer": "sgd", "activation": "gelu"}

UNLIKE_RECIPES = [  # which train in one program all the same
    trial(0, activation="gelu"),
    trial(1, activation="gelu", units=(11, 6), schedule="cosine", weight_decay=0.3, ema=0.9),
    trial(2, activation="gelu", units=(9, 5), label_smoothing=0.2, input_dropout=0.2, max_norm=0.8),
    trial(3, **RECIPES["everything"] | {"units": (20, 12), "activation": "gelu"}),
]

UNLIKE = [
    trial(
        number,
        units=(9 + 2 * (number % 4), 5 + number % 4),
        dropout=(1 + number % 5) / 10,
        learning_rate=0.003 * (1 + number % 3),
    )
    for number in range(16)
]
UNLIKE[3] = trial(3, units=(16, 8), dropout=0.0)
UNLIKE[5] = trial(5, units=(11, 6), learning_rate=1e30)  # diverges
UNLIKE[9] = trial(9, units=(15, 8), learning_rate=1e-9)  # never improves, and stops early


def assert_alike(weights, wanted, tolerance):
    """Equal weights, within `tolerance`.

    Where a unit is never below zero, batch norm takes its bias out again: the gradient is rounding alone, which Adam
    scales up to whole steps. So biases, and the means that follow them, may be further apart.
    """
    assert weights.keys() == wanted.keys()
    has_norm = "batch_norm_1/gamma" in wanted
    for name, value in wanted.items():
        idle = has_norm and name.endswith(("bias", "moving_mean"))
        np.testing.assert_allclose(weights[name], value, atol=20 * tolerance if idle else tolerance, err_msg=name)
