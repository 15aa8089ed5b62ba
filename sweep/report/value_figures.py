"""The pictures of a regression: what is predicted against what is true, and what is left over, as a Plotly figure."""

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from sweep.report.conclusion import Column
from sweep.report.figures import COLOURS, style
from sweep.track.runs import TrackedStudy

MAX_POINTS = 2000  # test rows that are drawn, evenly over the labels


def draw_values(tracked: TrackedStudy, column: Column) -> go.Figure:
    """Draw the predictions of a finalist against the labels of the test rows, and its residuals against its predictions.

    A prediction is the mean over its replicates; a residual is the label less it.
    """
    of_replicates = [tracked.valued[run] for run in column.replicate_runs]
    labels = of_replicates[0].labels
    order = np.argsort(labels, kind="stable")
    shown = order[np.unique(np.linspace(0, len(order) - 1, min(len(order), MAX_POINTS)).astype(int))]
    true, predicted = labels[shown], np.mean([one.predicted for one in of_replicates], axis=0)[shown]
    figure = make_subplots(1, 2, subplot_titles=["Predicted against true", "Residuals"])
    ends = [float(true.min()), float(true.max())]
    for at, (x, y, ideal) in enumerate(((true, predicted, ends), (predicted, true - predicted, [0.0, 0.0])), start=1):
        figure.add_scatter(
            x=x.tolist(),
            y=y.tolist(),
            mode="markers",
            marker={"size": 5, "color": COLOURS[0], "opacity": 0.5},
            hovertemplate="%{x:.6~g}, %{y:.6~g}<extra></extra>",
            row=1,
            col=at,
        )
        along = ends if at == 1 else [float(predicted.min()), float(predicted.max())]
        figure.add_scatter(
            x=along, y=ideal, mode="lines", line={"color": "#7a7a7a", "dash": "dot"}, hoverinfo="skip", row=1, col=at
        )
    figure.update_xaxes(title="true", row=1, col=1)
    figure.update_yaxes(title="predicted", row=1, col=1)
    figure.update_xaxes(title="predicted", row=1, col=2)
    figure.update_yaxes(title="true less predicted", row=1, col=2)
    return style(figure, height=460, showlegend=False)
