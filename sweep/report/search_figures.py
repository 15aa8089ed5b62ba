"""The pictures of a search, drawn from MLflow's runs: its history, curves, importances, slices. All trials are in them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import optuna
import plotly.graph_objects as go

from sweep.plain_text import to_plotly
from sweep.record.optuna_terms import OPTUNA_STATES, to_direction, to_distribution
from sweep.report.conclusion import find_ranking
from sweep.report.figures import COLOURS, style
from sweep.report.parallel_figure import MAX_LINES, draw_parallel
from sweep.report.searched import Searched, list_axes, list_searched, spread
from sweep.study.objective import cost
from sweep.study.space import Axis, Choice, Float, Int
from sweep.track.runs import TrackedStudy
from sweep.trial import Logs

MIN_COMPLETE = 5  # trials that importances rest on
MAX_POINTS = 400  # of a slice
MAX_CURVES = 100  # more would hide each other, and a server is asked for the history of each
KINDS: dict[str, dict[str, Any]] = {  # told apart by shape too, for those who do not see the colours
    "pruned": {"color": "#7a7a7a", "symbol": "x-thin-open", "size": 7},
    "complete": {"color": COLOURS[0], "symbol": "circle", "size": 7},
    "baseline": {"color": COLOURS[1], "symbol": "diamond", "size": 10},
}


@dataclass(frozen=True)
class Picture:
    """A picture of the search, of one figure or of several small ones."""

    title: str
    note: str  # how to read it, and what it rests on
    figures: tuple[go.Figure, ...]


def draw_search(tracked: TrackedStudy, histories: dict[str, list[Logs]]) -> list[Picture]:
    """Draw the pictures of a search; none where no trial has a value. histories: those of `choose_curves`, by run id."""
    trials = list_searched(tracked)
    if not any(one.value is not None for one in trials):
        return []
    pictures = [
        Picture(
            "Optimisation history",
            "Each trial by its number, a pruned one at the last epoch that it saw; the line is the best complete one so far.",
            (_draw_history(tracked, trials),),
        ),
        _draw_curves(tracked, histories),
    ]
    within = [one for one in trials if one.axes and one.value is not None]
    if within:
        pictures += [
            _draw_importances(tracked, within),
            Picture(
                "Parallel coordinates",
                "A line for each config of the space; it passes over an axis that its net lacks."
                + _say_limit(len(within), MAX_LINES),
                (draw_parallel(tracked, spread(tracked, within, MAX_LINES)),),
            ),
            Picture(
                "Slices",
                "Trials against one axis at a time; crosses are pruned." + _say_limit(len(within), MAX_POINTS),
                _draw_slices(tracked, spread(tracked, within, MAX_POINTS)),
            ),
        ]
    return pictures


def choose_curves(tracked: TrackedStudy) -> list[Searched]:
    """Choose the trials whose curves are drawn, worst first."""
    return spread(tracked, list_searched(tracked), MAX_CURVES)


def _say_limit(n: int, most: int) -> str:
    return f" {most} of {n} are drawn, evenly over their ranks." if n > most else ""


def _draw_history(tracked: TrackedStudy, trials: Sequence[Searched]) -> go.Figure:
    figure = go.Figure()
    _add_points(figure, trials, [one.number for one in trials])
    best: list[tuple[int, float]] = []
    for one in trials:
        if one.is_complete and one.value is not None and (not best or _is_better(tracked, one.value, best[-1][1])):
            best.append((one.number, one.value))
    if best:
        best.append((trials[-1].number, best[-1][1]))
        x, y = zip(*best, strict=True)
        line = {"color": "#1c2330", "width": 1.5, "shape": "hv"}
        figure.add_scatter(x=x, y=y, mode="lines", line=line, name="best so far", hoverinfo="skip")
    figure.update_xaxes(title="trial")
    figure.update_yaxes(title=find_ranking(tracked))
    return style(figure, height=420)


def _is_better(tracked: TrackedStudy, value: float, than: float) -> bool:
    return cost(tracked.study.objective, value) < cost(tracked.study.objective, than)


def _add_points(figure: go.Figure, trials: Sequence[Searched], x: Sequence[Any]) -> None:
    """Add a point for each trial that has a value: x is given, y is the value, its number tells the page what to show at a hover."""
    for kind, marker in KINDS.items():
        shown = [(at, one) for at, one in zip(x, trials, strict=True) if one.kind == kind and one.value is not None]
        if shown:
            figure.add_scatter(
                x=[at for at, _ in shown],
                y=[one.value for _, one in shown],
                customdata=[one.number for _, one in shown],
                mode="markers",
                marker={**marker, "line": {"width": 1.5 if kind == "pruned" else 0, "color": marker["color"]}},
                name=kind,
            )


def _draw_curves(tracked: TrackedStudy, histories: dict[str, list[Logs]]) -> Picture:
    chosen, objective = choose_curves(tracked), tracked.study.objective
    figure, named = go.Figure(), set[str]()
    for one in chosen:
        values = [logs.get(objective, math.nan) for logs in histories[one.tracked.run_id]]
        epochs = [(epoch, value) for epoch, value in enumerate(values, start=1) if math.isfinite(value)]
        figure.add_scatter(
            x=[epoch for epoch, _ in epochs],
            y=[float(f"{value:.6g}") for _, value in epochs],
            customdata=[one.number] * len(epochs),
            mode="lines+markers",
            marker={"size": 4},
            line={"color": KINDS[one.kind]["color"], "width": 1},
            opacity=0.7,
            name=one.kind,
            legendgroup=one.kind,
            showlegend=one.kind not in named,
        )
        named.add(one.kind)
    figure.update_xaxes(title="epoch")
    figure.update_yaxes(title=objective)
    n = sum(one.value is not None for one in list_searched(tracked))
    note = f"{objective} of each trial by epoch; where a line ends, the trial did.{_say_limit(n, MAX_CURVES)}"
    return Picture("Curves of the search", note, (style(figure, height=420),))


def _draw_importances(tracked: TrackedStudy, within: Sequence[Searched]) -> Picture:
    title, complete = "Parameter importances", [one for one in within if one.is_complete]
    shared = sorted(set.intersection(*(set(one.axes) for one in complete))) if complete else []
    if len(complete) < MIN_COMPLETE or len({one.value for one in complete}) < 2 or not shared:
        note = f"Not drawn: they need {MIN_COMPLETE} complete trials of the space that differ in {tracked.study.objective}; there are {len(complete)}."
        return Picture(title, note, ())
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=tracked.study.seed)
    study = _to_optuna(tracked, complete)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator, params=shared)
    names = sorted(found, key=lambda name: (found[name], name))
    figure = go.Figure(
        go.Bar(
            x=[found[name] for name in names],
            y=names,
            orientation="h",
            marker={"color": COLOURS[0]},
            text=[f"{found[name]:.2f}" for name in names],
            hovertemplate="%{y}: %{x:.3f}<extra></extra>",
        )
    )
    figure.update_xaxes(title="share of variance")
    figure.update_yaxes(automargin=True)
    note = f"What decides {find_ranking(tracked)}, by fANOVA over {len(complete)} complete trials of the space; the fewer, the less it says."
    return Picture(title, note, (style(figure, height=140 + 34 * len(names)),))


def _to_optuna(tracked: TrackedStudy, complete: Sequence[Searched]) -> optuna.Study:
    """Make an Optuna study in memory, with these trials."""
    study = optuna.create_study(direction=to_direction(tracked.study.objective))
    study.add_trials(
        optuna.trial.create_trial(
            state=OPTUNA_STATES[one.tracked.state],
            value=one.value,
            params={name: value for name, (_, value) in one.axes.items()},
            distributions={name: to_distribution(axis) for name, (axis, _) in one.axes.items()},
        )
        for one in complete
    )
    return study


def _draw_slices(tracked: TrackedStudy, within: Sequence[Searched]) -> tuple[go.Figure, ...]:
    """Draw a small figure for each axis that varies."""
    return tuple(
        _draw_slice(tracked, name, axis, [one for one in within if name in one.axes])
        for name, axis in list_axes(within).items()
    )


def _draw_slice(tracked: TrackedStudy, name: str, axis: Axis, trials: Sequence[Searched]) -> go.Figure:
    figure, values = go.Figure(), [one.axes[name][1] for one in trials]
    if isinstance(axis, Choice):
        options = [to_plotly(str(option)) for option in axis.options]
        _add_points(figure, trials, [to_plotly(str(value)) for value in values])
        ends = [-0.5, len(options) - 0.5]
        figure.update_xaxes(type="category", categoryorder="array", categoryarray=options, range=ends)
    else:
        _add_points(figure, trials, [float(f"{value:.6g}") for value in values])
        figure.update_xaxes(_span(axis))
    figure.update_xaxes(title=name)
    figure.update_yaxes(title=find_ranking(tracked))
    return style(figure, height=280, showlegend=False)


def _span(axis: Axis) -> dict[str, Any]:
    """Lay out the side of a slice: all that the axis can be, with a margin. A logarithmic one has its ends and 1, 2, 5, ... as ticks."""
    if not isinstance(axis, Int | Float):
        return {}
    low, high = (math.log10(axis.low), math.log10(axis.high)) if axis.log else (axis.low, axis.high)
    margin = 0.05 * (high - low)
    span: dict[str, Any] = {"type": "log" if axis.log else "linear", "range": [low - margin, high + margin]}
    if not axis.log:
        return {**span, "nticks": 6}
    decades = range(math.floor(low), math.ceil(high) + 1)
    steps = (1,) if high - low > 2 else (1, 2, 5)
    ticks = [
        step * 10.0**decade for decade in decades for step in steps if axis.low <= step * 10.0**decade <= axis.high
    ]
    return {**span, "tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}
