"""What the task of a study, classification or regression, asks of its other keys. Pure: tables and keys in, keys out."""

from collections.abc import Iterable, Mapping
from typing import Any

from sweep.study.objective import DEFAULTS, RANKED, Task, base_of, tasks_of

OTHER = {"classification": "regression", "regression": "classification"}


def fill_in_task(table: Any) -> Any:
    """Return the table of a study file with the keys of a regression that it leaves out; any other table as it is.

    A study is one of regression if it says so, or names a loss or a metric that no classification has. What is wrong with
    a table is left for its own rule to say.
    """
    if not isinstance(table, dict):
        return table
    data, training = table.get("data", {}), table.get("training", {})
    if (
        not isinstance(data, dict)
        or not isinstance(training, dict)
        or _name_task(table, data, training) != "regression"
    ):
        return table
    stopping = training.get("early_stopping")
    if isinstance(stopping, dict):
        training = {**training, "early_stopping": {"monitor": DEFAULTS["regression"], **stopping}}
    return {
        "objective": DEFAULTS["regression"],
        **table,
        "data": {**data, "task": "regression"},
        "training": {"loss": "mse", **training},
    }


def _name_task(table: Mapping[str, Any], data: Mapping[str, Any], training: Mapping[str, Any]) -> str | None:
    """Return the task that a table names, or that follows from its keys."""
    if data.get("task") is not None:
        return str(data["task"])
    stopping = training.get("early_stopping")
    metrics = [table.get("objective"), stopping.get("monitor") if isinstance(stopping, dict) else None]
    has_metric = any(isinstance(metric, str) and tasks_of(metric) == ("regression",) for metric in metrics)
    return "regression" if has_metric or training.get("loss") is not None else None


def check_metrics(task: Task | None, named: Mapping[str, str]) -> None:
    """Check that metrics are of the task; named: by the key that names them. Raises ValueError."""
    for key, metric in named.items():
        if task is not None and task not in tasks_of(metric):
            raise ValueError(
                f"{key} = {metric!r} is a metric of {OTHER[task]}, and the task is {task}: name one of {task}, such as "
                f"{DEFAULTS[task]!r}, or set data.task = {OTHER[task]!r}"
            )


def list_ranked(metrics: Iterable[str]) -> tuple[str, ...]:
    """List those of the metrics that take a prediction of every row, without their prefixes, each once."""
    return tuple(dict.fromkeys(base for metric in metrics if (base := base_of(metric)) in RANKED))
