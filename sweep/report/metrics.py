"""The metrics of a conclusion: its rows, what they are called, which of them have intervals and are compared, by task."""

from sweep.study.objective import DEFAULTS, MEASURED, RANKED, SETTLED, Task, is_gain

TITLES = {
    "accuracy": "accuracy",
    "loss": "loss",
    "rmse": "RMSE",
    "mae": "MAE",
    "r2": "R²",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "roc_auc": "ROC AUC",
    "average_precision": "average precision",
}
PARTS = {  # prefix of a metric -> how its title begins, and ends
    "running": ("Train", " (running)"),
    "train": ("Train", ""),
    "val": ("Validation", ""),
    f"{SETTLED}val": ("Validation", ", last epochs"),
    "test": ("Test", ""),
}
TESTED: dict[Task, str] = {task: usual.replace("val_", "test_") for task, usual in DEFAULTS.items()}
WITH_INTERVAL: dict[Task, tuple[str, ...]] = {
    "classification": ("test_accuracy",),
    "regression": ("test_rmse", "test_mae"),
}
COMPARED: dict[Task, str] = {"classification": "test_accuracy", "regression": "test_r2"}  # mean of `scores` over rows
# Which of our rows a baseline's published figures belong to.
REFERENCE_ROWS = {f"train_{name}": f"running_{name}" for name in ("accuracy", "loss", "rmse", "mae")}


def name_metric(metric: str) -> str:
    """Return the title of a metric, such as `Validation accuracy`."""
    part = next(part for part in sorted(PARTS, key=len, reverse=True) if metric.startswith(f"{part}_"))
    begin, end = PARTS[part]
    return f"{begin} {TITLES[metric.removeprefix(f'{part}_')]}{end}"


def list_metrics(task: Task) -> dict[str, str]:
    """List every metric of a task that a conclusion may have, with its title.

    Train rows are twice there: running means, which see dropout and moving weights, and an evaluation of the finished model
    on the same rows, which is another number.
    """
    ranked = RANKED if task == "classification" else ()
    names = [
        f"{part}_{base}"
        for part in PARTS
        for base in (*MEASURED[task], "loss", *(ranked if part.endswith(("val", "test")) else ()))
        if (task, part, base) != ("regression", "test", "loss")  # scoring knows no loss but the errors themselves
    ]
    return {name: name_metric(name) for name in names}


def is_optional(metric: str) -> bool:
    """Return whether a metric is shown only where it was measured."""
    return metric.endswith(RANKED)


def to_gain(metric: str, value: float) -> float:
    """Return `value` so that higher is better."""
    return value if is_gain(metric) else -value
