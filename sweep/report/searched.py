"""The trials of a search as the report shows them: a value for each, a line that names it, and a table of them all."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sweep.plain_text import to_line
from sweep.report.conclusion import find_ranking
from sweep.report.spending import MISSING
from sweep.report.text import capitalize
from sweep.study.objective import cost, format_metric
from sweep.study.space import Axis, Scalar, count
from sweep.track.fields import TrackedTrial
from sweep.track.runs import TrackedStudy
from sweep.track.views import run_address
from sweep.trial import Phase, State

LOCAL_UI = "http://127.0.0.1:5000"  # where `make ui` serves MLflow
ALWAYS = ("units", "dropout", "batch_size", "learning_rate")  # columns of a config, in every table


@dataclass(frozen=True)
class Searched:
    """A baseline or a trial of the search, with what pictures show of it."""

    tracked: TrackedTrial
    value: float | None  # what trials are ranked by; at the last epoch seen where it was pruned; None where it failed
    axes: dict[str, tuple[Axis, Scalar]]  # those that vary in the space, with its values; empty outside the space

    @property
    def number(self) -> int:
        """Number of the trial; points of pictures carry it."""
        return self.tracked.trial.number

    @property
    def is_complete(self) -> bool:
        return self.tracked.state == State.COMPLETE

    @property
    def kind(self) -> str:
        """Word for a legend."""
        return "baseline" if self.tracked.trial.phase == Phase.BASELINE else str(self.tracked.state)


@dataclass(frozen=True)
class Row:
    """A trial in the table."""

    number: int
    address: str  # of its run in MLflow
    state: str
    cells: tuple[str, ...]


def list_searched(tracked: TrackedStudy) -> list[Searched]:
    """List the baselines and the trials of the search, by number."""
    return [Searched(one, _find_value(tracked, one), _find_axes(tracked, one)) for one in tracked.searched]


def _find_value(tracked: TrackedStudy, one: TrackedTrial) -> float | None:
    if one.state == State.FAILED:
        return None
    value = one.metrics.get(find_ranking(tracked), one.metrics.get(tracked.study.objective))
    return float(f"{value:.6g}") if value is not None and math.isfinite(value) else None  # as much as pictures show


def _find_axes(tracked: TrackedStudy, one: TrackedTrial) -> dict[str, tuple[Axis, Scalar]]:
    space, config = tracked.study.space, one.trial.config
    if space is None or not tracked.study.in_space(config):
        return {}
    return {name: (axis, value) for name, (axis, value) in space.axes_of(config).items() if count(axis) > 1}


def list_axes(trials: Sequence[Searched]) -> dict[str, Axis]:
    """List the axes that vary, by name, in the order of the deepest net, which has most of them."""
    axes: dict[str, Axis] = {}
    for one in sorted(trials, key=lambda one: -len(one.axes)):
        axes |= {name: axis for name, (axis, _) in one.axes.items() if name not in axes}
    return axes


def spread(tracked: TrackedStudy, trials: Sequence[Searched], n: int) -> list[Searched]:
    """Return at most n of the trials that have a value, evenly over their ranks, worst first: the best is among them."""
    ranked = sorted((one for one in trials if one.value is not None), key=lambda one: _rank(tracked, one), reverse=True)
    if len(ranked) <= n:
        return ranked
    return [ranked[round(i)] for i in np.linspace(0, len(ranked) - 1, n)]


def _rank(tracked: TrackedStudy, one: Searched) -> tuple[bool, float, int]:
    return not one.is_complete, cost(tracked.study.objective, one.value or 0.0), one.number


def build_trials_table(tracked: TrackedStudy) -> tuple[list[str], list[Row]]:
    """Build the table of all trials: its headings, and a row for each trial, the best first."""
    trials = list_searched(tracked)
    configs = [one.tracked.trial.config.params() for one in trials]
    names = [
        name
        for name in dict.fromkeys(name for params in configs for name in params)
        if name in ALWAYS or (not name.startswith("units_") and len({params.get(name) for params in configs}) > 1)
    ]
    titles = [name.replace("_", " ") for name in (find_ranking(tracked), "epochs", "seconds", *names)]
    headings = ["Trial", "State", *map(capitalize, titles), "Origin"]
    ranked = sorted(trials, key=lambda one: (one.value is None, *_rank(tracked, one)))
    return headings, [_make_row(tracked, one, names) for one in ranked]


def _make_row(tracked: TrackedStudy, one: Searched, names: Sequence[str]) -> Row:
    ended, trial = one.tracked, one.tracked.trial
    value = MISSING if one.value is None else format_metric(tracked.study.objective, one.value)
    params = trial.config.params()
    origin = to_line(trial.name) or (f"from {trial.promoted_from}" if trial.promoted_from is not None else "")
    whole = (str(ended.n_epochs), f"{ended.train_seconds:.1f}")
    cells = (value, *whole, *(_show(params.get(name)) for name in names), origin)
    address = (
        f"{(tracked.runs.mlflow_server or LOCAL_UI).rstrip('/')}/{run_address(tracked.experiment_id, ended.run_id)}"
    )
    return Row(trial.number, address, str(ended.state), cells)


def _show(value: Scalar | None) -> str:
    match value:
        case None:
            return MISSING
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.4g}"
    return str(value)
