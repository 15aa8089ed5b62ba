"""The objective of a study, and the direction of each metric."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

Objective = Literal["val_accuracy", "val_loss"]

SETTLED = "settled_"  # before the name of a metric: its mean over the last epochs
N_SETTLED = 5  # at most so many epochs are averaged


def cost(metric: str, value: float) -> float:
    """Return `value` so that lower is better: a loss as it is, an accuracy negated."""
    return -value if metric.endswith("accuracy") else value


def settle(curves: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Average the validation metrics over the last quarter of the epochs, at most five: what trials are ranked by.

    curves: the metrics of each epoch. The best epoch of many is a lucky one, and a search that ranks by it picks luck:
    `python -m tests.bench.search_quality` shows what each way of ranking picks.
    """
    last = curves[-min(max(len(curves) // 4, 1), N_SETTLED) :]
    names = [name for name in (last[-1] if last else {}) if name.startswith("val_")]
    return {f"{SETTLED}{name}": sum(logs[name] for logs in last) / len(last) for name in names}


def ranking_metric(objective: Objective, trials: Iterable[Mapping[str, float]]) -> str:
    """Return the metric that trials with these metrics are ranked by: the objective, settled where all of them have that.

    Trials of earlier versions have it not. They are ranked by their best epoch, and so are those that they stand beside.
    """
    settled = f"{SETTLED}{objective}"
    return settled if all(settled in metrics for metrics in trials) else objective
