"""The objective of a study, and the direction of each metric."""

from typing import Literal

Objective = Literal["val_accuracy", "val_loss"]


def cost(metric: str, value: float) -> float:
    """Return `value` so that lower is better: a loss as it is, an accuracy negated."""
    return -value if metric.endswith("accuracy") else value
