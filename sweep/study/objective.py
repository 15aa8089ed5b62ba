"""The objective of a study, and the direction of each metric."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, get_args

Task = Literal["classification", "regression"]
Loss = Literal["mse", "mae", "huber"]  # of regression
Objective = Literal[
    "val_accuracy",
    "val_loss",
    "val_balanced_accuracy",
    "val_macro_f1",
    "val_roc_auc",
    "val_average_precision",
    "val_rmse",
    "val_mae",
    "val_r2",
]
Monitor = Literal[Objective, "loss", "accuracy", "rmse", "mae", "r2"]

# What every epoch measures by itself, beside the loss.
MEASURED: dict[Task, tuple[str, ...]] = {"classification": ("accuracy",), "regression": ("rmse", "mae", "r2")}
# What takes a prediction of every row: measured after an epoch only where it is the objective or is monitored.
RANKED = ("balanced_accuracy", "macro_f1", "roc_auc", "average_precision")
GAINS = ("accuracy", "r2", *RANKED)  # metrics of which more is better: 1 is the most
IN_UNIT_OF_LABEL = ("rmse", "mae")
DEFAULTS: dict[Task, Objective] = {"classification": "val_accuracy", "regression": "val_rmse"}

SETTLED = "settled_"  # before the name of a metric: its mean over the last epochs
N_SETTLED = 5  # at most so many epochs are averaged


def is_gain(metric: str) -> bool:
    """Return whether more of a metric is better. Its name may have a prefix, such as `val_`."""
    return metric.endswith(GAINS)


def cost(metric: str, value: float) -> float:
    """Return `value` so that lower is better: a loss as it is, an accuracy negated."""
    return -value if is_gain(metric) else value


def base_of(metric: str) -> str:
    """Return the name of a metric without the rows that it was measured on, such as `val_`."""
    return metric.removeprefix(SETTLED).removeprefix("val_")


def tasks_of(metric: str) -> tuple[Task, ...]:
    """Return the tasks that an objective or a monitored metric is of: both for a loss."""
    base = base_of(metric)
    if base == "loss":
        return get_args(Task)
    return ("regression",) if base in MEASURED["regression"] else ("classification",)


def format_metric(metric: str, value: float) -> str:
    """Format a value for people: four decimals, or six figures of what is in the unit of the label."""
    return f"{value:.6g}" if metric.endswith(IN_UNIT_OF_LABEL) else f"{value:.4f}"


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
