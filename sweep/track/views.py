"""Views that MLflow's UI offers of a study's experiment, and the way to them.

MLflow keeps them as tags of the experiment, in the form in which its UI saves what a person arranges there (3.17).
"""

import json
from dataclasses import dataclass

from sweep.study.objective import DEFAULTS, SETTLED, Objective, Task, cost

MODE = "workflowType=machine_learning"  # otherwise MLflow's UI opens its page for chat traces
VIEW = "mlflow.sharedViewState."  # prefix of the tag that holds a view
RUN_NAME = "attributes.`Run Name`"
PARAMS = tuple(f"params.`{name}`" for name in ("units", "dropout", "batch_size", "learning_rate"))
TESTED: dict[Task, tuple[str, ...]] = {
    "classification": ("test_accuracy", "test_loss"),
    "regression": ("test_rmse", "test_r2"),
}
WIDTHS = {RUN_NAME: 290}  # pixels
WIDTH = 110  # of any other column


@dataclass(frozen=True)
class View:
    """Runs that are shown, in which order, and what of them."""

    name: str
    only: str  # a filter
    columns: tuple[str, ...]
    order: str  # the metric by which the best stand first


def views(objective: Objective, task: Task) -> dict[str, View]:
    """By the key that stands in the view's address."""
    other = "val_loss" if objective == DEFAULTS[task] else DEFAULTS[task]
    tested = tuple(map(_metric, TESTED[task]))
    validation, ranking = (_metric(objective), _metric(other)), f"{SETTLED}{objective}"
    searched = ("tags.`state`", _metric(ranking), *validation, _metric("epochs"), _metric("train_seconds"), *PARAMS)
    confirmed = (*validation, *tested, *PARAMS)
    return {
        "trials": View("trials, best first", "tags.phase != 'confirm' and tags.phase != 'study'", searched, ranking),
        "replicates": View("replicates, best first", "tags.phase = 'confirm'", confirmed, objective),
    }


def view_tags(objective: Objective, task: Task) -> dict[str, str]:
    """Make the tags that hold the views, as the UI itself saves them."""
    return {f"{VIEW}{key}": _saved(view) for key, view in views(objective, task).items()}


def view_address(experiment: str, key: str, *, with_curves: bool = False) -> str:
    """Return the address of a view, from the root of the UI."""
    charts = "&compareRunsMode=CHART" if with_curves else ""
    return f"#/experiments/{experiment}/runs?{MODE}&viewStateShareKey={key}{charts}"


def models_address(experiment: str) -> str:
    """Return the address of the list of models."""
    return f"#/experiments/{experiment}/models?{MODE}"


def run_address(experiment: str, run: str, artifact: str | None = None) -> str:
    """Return the address of a run's page, or of a file among its artifacts."""
    path = f"#/experiments/{experiment}/runs/{run}" + (f"/artifacts/{artifact}" if artifact else "")
    return f"{path}?{MODE}"


def _metric(name: str) -> str:
    return f"metrics.`{name}`"


def _saved(view: View) -> str:
    columns = [RUN_NAME, *view.columns]
    state = {
        "searchFilter": view.only,
        "orderByKey": _metric(view.order),
        "orderByAsc": cost(view.order, 1.0) > 0,
        "selectedColumns": list(view.columns),
        "columnOrder": columns,
        "columnWidths": {column: WIDTHS.get(column, WIDTH) for column in columns},
    }
    return json.dumps({"name": view.name, "createdAt": 0, "updatedAt": 0, "state": json.dumps(state)})
