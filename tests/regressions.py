"""A tiny regression: its data and its study."""

from pathlib import Path
from typing import Any

import numpy as np

from tests.studies import tiny_table

N_FEATURES = 6


def draw_values(n: int, seed: int) -> tuple[Any, Any]:
    """Rows whose label is around 5,000, with a part that no model finds."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1, (n, N_FEATURES))
    return x, 5000 + 300 * x[:, 0] - 200 * np.abs(x[:, 1]) + rng.normal(0, 60, n)


def write_values(folder: Path, n: int = 600) -> Path:
    """Write `values.npz`: n rows and labels, without a test split. Return its path."""
    x, y = draw_values(n, 0)
    np.savez(folder / "values.npz", x_train=x, y_train=y)
    return folder / "values.npz"


def values_table(**changes: Any) -> dict[str, Any]:
    """Return the tiny study as one of `values.npz`, which does not say that it is a regression."""
    table = tiny_table(
        name="values",
        data={"source": "values.npz", "validation_rows": 100, "test_rows": 120},
        training={"max_epochs": 5, "early_stopping": {"patience": 3}},
        search={"trials": 3, "sampler": "random", "workers": 1},
        baselines=[{"name": "by hand", "units": [16, 8], "batch_size": 64, "learning_rate": 0.01}],
    )
    return {**table, **changes}
