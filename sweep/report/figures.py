"""The pictures of a report, as Plotly figures: learning curves, confusion matrix, accuracy against cost."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from sweep.report.conclusion import Column, Conclusion
from sweep.track.runs import TrackedStudy
from sweep.trial import Logs

COLOURS = ("#1f5fa8", "#c8553d", "#3a8f5c", "#8a5aa8", "#b8862b", "#4a9aa8", "#7a7a7a", "#c4689a")


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
                    hovertemplate=f"replicate {replicate}, epoch %{{x}}: %{{y:.4f}}",
                    row=1,
                    col=at,
                )
    figure.update_xaxes(title="epoch")
    return style(figure, height=430)


def draw_confusion(tracked: TrackedStudy, column: Column) -> go.Figure:
    """Draw the confusion matrix of a finalist: mean number of test rows over its replicates. The diagonal is not coloured."""
    classes = list(tracked.facts.classes)
    counts = np.mean([tracked.predictions[run].confusion(len(classes)) for run in column.replicate_runs], axis=0)
    wrong = np.where(np.eye(len(classes), dtype=bool), np.nan, counts)
    text = [[f"{value:.1f}".rstrip("0").rstrip(".") if value else "" for value in row] for row in counts]
    figure = go.Figure(
        go.Heatmap(
            z=_or_none(wrong),
            x=classes,
            y=classes,
            text=text,
            texttemplate="%{text}",
            colorscale=[[0, "#ffffff"], [1, "#c8553d"]],
            showscale=False,
            xgap=1,
            ygap=1,
            hovertemplate="%{y}, taken for %{x}: %{text}<extra></extra>",
        )
    )
    figure.update_xaxes(title="predicted", type="category", side="top")
    figure.update_yaxes(title="true class", type="category", autorange="reversed")
    figure.update_yaxes(scaleanchor="x", constrain="domain")
    figure.update_xaxes(constrain="domain")
    return style(figure, height=150 + 42 * len(classes))


def draw_pareto(conclusion: Conclusion) -> go.Figure:
    """Draw mean test accuracy of each finalist against its size and its training time, with the Pareto front as a line."""
    seconds = {replicate.run_id: replicate.train_seconds for replicate in conclusion.tracked.replicates}
    scored = [column for column in conclusion.columns if "test_accuracy" in column.summaries]
    accuracy = [column.summaries["test_accuracy"] for column in scored]
    against = {
        "parameters": [float(column.params_count or 0) for column in scored],
        "training time, s": [float(np.mean([seconds[run] for run in column.replicate_runs])) for column in scored],
    }
    figure = make_subplots(1, 2, shared_yaxes=True, horizontal_spacing=0.04)
    for at, (title, costs) in enumerate(against.items(), start=1):
        front = _front(costs, [summary.mean for summary in accuracy])
        figure.add_scatter(
            x=[costs[i] for i in front],
            y=[accuracy[i].mean for i in front],
            mode="lines",
            line={"color": "#9a9a9a", "dash": "dot", "shape": "hv"},
            showlegend=False,
            hoverinfo="skip",
            row=1,
            col=at,
        )
        for number, column in enumerate(scored):
            mean, (low, high) = accuracy[number].mean, accuracy[number].interval
            figure.add_scatter(
                x=[costs[number]],
                y=[mean],
                error_y={"array": [_length(high - mean)], "arrayminus": [_length(mean - low)], "width": 4},
                mode="markers",
                marker={"size": 10, "color": COLOURS[number % len(COLOURS)]},
                name=column.finalist.name,
                legendgroup=column.finalist.name,
                showlegend=at == 1,
                hovertemplate=f"{title} %{{x:,.4~g}}, test accuracy %{{y:.4f}}",
                row=1,
                col=at,
            )
        is_wide = max(costs, default=1.0) > 10 * min(costs, default=1.0)
        figure.update_xaxes(title=title, type="log" if is_wide else "linear", row=1, col=at)
    figure.update_yaxes(title="test accuracy, mean and 95 % interval", row=1, col=1)
    return style(figure, height=430)


def _length(of_bar: float) -> float:
    return 0 if np.isnan(of_bar) else of_bar


def _front(costs: Sequence[float], gains: Sequence[float]) -> list[int]:
    """Return the indices on the Pareto front (more accurate than everything that costs as little or less), by rising cost."""
    front: list[int] = []
    for i in sorted(range(len(costs)), key=lambda i: (costs[i], -gains[i])):
        if not front or gains[i] > gains[front[-1]]:
            front.append(i)
    return front


def _or_none(values: NDArray[np.float64]) -> list[list[float | None]]:
    return [[None if np.isnan(value) else float(value) for value in row] for row in values]


def style(figure: go.Figure, **layout: Any) -> go.Figure:
    figure.update_layout(
        template="plotly_white",
        font={"family": "system-ui, sans-serif", "size": 13},
        margin={"l": 60, "r": 20, "t": 50, "b": 50},
        legend={"orientation": "h", "y": -0.2},
        width=None,  # of the page; Optuna gives slices one of their own
        **layout,
    )
    return figure
