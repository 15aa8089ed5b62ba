"""The objective of a study, and which of two values of a metric is better."""

from typing import Literal

Objective = Literal["val_accuracy", "val_loss"]


def cost(metric: str, value: float) -> float:
    """`value` of a metric, turned so that lower is better: losses as they are, accuracies negated."""
    return -value if metric.endswith("accuracy") else value
