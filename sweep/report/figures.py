"""The pictures of a report, as Plotly figures: learning curves, confusion matrix, accuracy against cost."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from sweep.plain_text import label_classes, measure, to_plotly
from sweep.report.conclusion import Column, Conclusion
from sweep.report.metrics import TESTED, name_metric, to_gain
from sweep.study.objective import IN_UNIT_OF_LABEL
from sweep.track.runs import TrackedStudy
from sweep.trial import Logs

COLOURS = ("#1f5fa8", "#c8553d", "#3a8f5c", "#8a5aa8", "#b8862b", "#4a9aa8", "#7a7a7a", "#c4689a")
MAX_NAMED = 40  # classes of a confusion matrix; with more, names and counts would be too small to read


TEMPLATE = "plotly_white"  # of all figures; the page holds it once


def draw_curves(columns: Sequence[Column], histories: dict[str, list[Logs]], objective: str) -> go.Figure:
    """Draw each replicate's objective and train loss by epoch, a colour for each finalist; histories: by run id."""
    shown = [(objective, objective.replace("_", " ").replace("val", "validation")), ("loss", "train loss (running)")]
    figure = make_subplots(1, 2, subplot_titles=[title for _, title in shown])
    for number, column in enumerate(columns):
        for at, (metric, _) in enumerate(shown, start=1):
            for replicate, run in enumerate(column.replicate_runs, start=1):
                values = [logs[metric] for logs in histories[run] if metric in logs]
                figure.add_scatter(
                    x=list(range(1, len(values) + 1)),
                    y=values,
                    mode="lines",
                    line={"color": COLOURS[number % len(COLOURS)], "width": 1.2},
                    name=column.finalist.name,
                    legendgroup=column.finalist.name,
                    showlegend=at == replicate == 1,
                    hovertemplate=f"replicate {replicate}, epoch %{{x}}: %{{y:{_hover_form(metric)}}}",
                    row=1,
                    col=at,
                )
    figure.update_xaxes(title="epoch")
    return style(figure, height=430)


def _hover_form(metric: str) -> str:
    return ".6~g" if metric.endswith(IN_UNIT_OF_LABEL) else ".4f"


def draw_confusion(tracked: TrackedStudy, column: Column) -> go.Figure:
    """Draw the confusion matrix of a finalist: mean number of test rows over its replicates. The diagonal is not coloured."""
    names = tracked.facts.classes
    n = len(names)
    counts = np.mean([tracked.classified[run].confusion(n) for run in column.replicate_runs], axis=0)
    wrong = np.where(np.eye(n, dtype=bool), np.nan, counts)
    text = [[f"{value:.1f}".rstrip("0").rstrip(".") if value else "" for value in row] for row in counts]
    figure = go.Figure(
        go.Heatmap(
            z=_or_none(wrong),
            text=text,
            texttemplate="%{text}" if n <= MAX_NAMED else None,
            hovertext=_hover(text, names),
            hoverinfo="text",
            colorscale=[[0, "#ffffff"], [1, "#c8553d"]],
            showscale=False,
            xgap=min(1, MAX_NAMED / n),
            ygap=min(1, MAX_NAMED / n),
        )
    )
    longest = _name_sides(figure, names)
    return style(figure, height=130 + 42 * n + 8 * longest if n <= MAX_NAMED else 1000)


def _hover(text: list[list[str]], names: Sequence[str]) -> list[list[str]]:
    """Say each count of a confusion matrix in words, with whole names; nothing where there is no count."""
    shown = [to_plotly(name) for name in names]
    return [
        [
            f"{shown[true]}, taken for {shown[predicted]}: {count}" if count else ""
            for predicted, count in enumerate(row)
        ]
        for true, row in enumerate(text)
    ]


def _name_sides(figure: go.Figure, names: Sequence[str]) -> int:
    """Label the sides of a confusion matrix with its classes: by name, or by number where there are too many to name.

    Return the characters of the longest label.
    """
    is_named, labels = len(names) <= MAX_NAMED, label_classes(names)
    ticks = (
        {"tickvals": list(range(len(names))), "ticktext": [to_plotly(label) for label in labels]} if is_named else {}
    )
    longest = max(map(measure, labels)) if is_named else 0
    how = "" if is_named else ", by number"
    frame = {"showline": True, "mirror": True, "linecolor": "#9a9a9a", "zeroline": False, "showgrid": False}
    sides = {"automargin": True, "constrain": "domain", **frame, **ticks}
    figure.update_xaxes(title=f"predicted{how}", side="top", tickangle=-90 if longest > 3 else 0, **sides)
    figure.update_yaxes(title=f"true class{how}", autorange="reversed", scaleanchor="x", **sides)
    return longest


def draw_pareto(conclusion: Conclusion) -> go.Figure:
    """Draw the mean on test of each finalist against its size and its training time, with the Pareto front as a line.

    The mean is that of the accuracy, or of the RMSE.
    """
    metric = TESTED[conclusion.tracked.facts.task]
    title = name_metric(metric).replace("Test", "test")
    seconds = {replicate.run_id: replicate.train_seconds for replicate in conclusion.tracked.replicates}
    scored = [column for column in conclusion.columns if metric in column.summaries]
    reached = [column.summaries[metric] for column in scored]
    against = {
        "parameters": [float(column.params_count or 0) for column in scored],
        "training time, s": [float(np.mean([seconds[run] for run in column.replicate_runs])) for column in scored],
    }
    figure = make_subplots(1, 2, shared_yaxes=True, horizontal_spacing=0.04)
    for at, (what, costs) in enumerate(against.items(), start=1):
        front = _front(costs, [to_gain(metric, summary.mean) for summary in reached])
        figure.add_scatter(
            x=[costs[i] for i in front],
            y=[reached[i].mean for i in front],
            mode="lines",
            line={"color": "#9a9a9a", "dash": "dot", "shape": "hv"},
            showlegend=False,
            hoverinfo="skip",
            row=1,
            col=at,
        )
        for number, column in enumerate(scored):
            mean, (low, high) = reached[number].mean, reached[number].interval
            figure.add_scatter(
                x=[costs[number]],
                y=[mean],
                error_y={"array": [_length(high - mean)], "arrayminus": [_length(mean - low)], "width": 4},
                mode="markers",
                marker={"size": 10, "color": COLOURS[number % len(COLOURS)]},
                name=column.finalist.name,
                legendgroup=column.finalist.name,
                showlegend=at == 1,
                hovertemplate=f"{what} %{{x:,.4~g}}, {title} %{{y:{_hover_form(metric)}}}",
                row=1,
                col=at,
            )
        is_wide = max(costs, default=1.0) > 10 * min(costs, default=1.0)
        figure.update_xaxes(title=what, type="log" if is_wide else "linear", row=1, col=at)
    figure.update_yaxes(title=f"{title}, mean and 95 % interval", row=1, col=1)
    return style(figure, height=430)


def _length(of_bar: float) -> float:
    return 0 if np.isnan(of_bar) else of_bar


def _front(costs: Sequence[float], gains: Sequence[float]) -> list[int]:
    """Return the indices on the Pareto front (better than everything that costs as little or less), by rising cost."""
    front: list[int] = []
    for i in sorted(range(len(costs)), key=lambda i: (costs[i], -gains[i])):
        if not front or gains[i] > gains[front[-1]]:
            front.append(i)
    return front


def _or_none(values: NDArray[np.float64]) -> list[list[float | None]]:
    return [[None if np.isnan(value) else float(value) for value in row] for row in values]


def style(figure: go.Figure, **layout: Any) -> go.Figure:
    figure.update_layout(
        font={"family": "system-ui, sans-serif", "size": 13},
        margin={"l": 60, "r": 20, "t": 30, "b": 50},
        hoverlabel={"bgcolor": "#ffffff", "font": {"color": "#1c2330", "size": 12}},
        legend={"orientation": "h", "y": -0.2},
        **layout,
    )
    return figure
