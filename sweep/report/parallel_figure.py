"""Parallel coordinates of a search, of plain lines: Plotly's own kind has no hover that could name a config."""

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from sweep.report.conclusion import find_ranking
from sweep.report.figures import COLOURS, style
from sweep.report.searched import Searched
from sweep.study.objective import format_metric
from sweep.study.space import Axis, Choice, Float, Int, Scalar
from sweep.track.runs import TrackedStudy

MAX_LINES = 300  # more would hide each other
BANDS = (  # share of the complete trials, from the worst; name, colour, width
    (0.0, "other complete", "#7fa9d6", 1.0),
    (0.5, "better half", COLOURS[0], 1.0),
    (0.9, "best tenth", COLOURS[1], 2.2),
)
PRUNED = ("pruned", "#9a9a9a", 0.7)


def draw_parallel(tracked: TrackedStudy, trials: Sequence[Searched]) -> go.Figure:
    """Draw a line for each trial over the axes that vary, after what they are ranked by. trials: worst first."""
    axes: dict[str, Axis] = {}
    for one in trials:
        axes |= {name: axis for name, (axis, _) in one.axes.items() if name not in axes}
    values = [one.value for one in trials if one.value is not None]
    reached = Float(min(values), max(values))
    places = {name: at for at, name in enumerate(["", *axes])}
    figure = go.Figure()
    for (name, colour, width), shown in _band(trials).items():
        lines = [_trace(one, reached, places) for one in shown]
        figure.add_scatter(
            x=[x for line in lines for x, _ in [*line, (None, None)]],
            y=[y for line in lines for _, y in [*line, (None, None)]],
            customdata=[at for one, line in zip(shown, lines, strict=True) for at in [one.at] * len(line) + [None]],
            mode="lines+markers",
            line={"color": colour, "width": width},
            marker={"size": 4},
            name=name,
        )
    titles = [find_ranking(tracked), *axes]
    ends = [
        (format_metric(tracked.study.objective, low), format_metric(tracked.study.objective, high))
        for low, high in [(min(values), max(values))]
    ]
    ends += [_name_ends(axis) for axis in axes.values()]
    for at, (low, high) in enumerate(ends):
        for text, y, anchor in ((low, -0.03, "top"), (high, 1.03, "bottom")):
            figure.add_annotation(x=at, y=y, text=text, showarrow=False, yanchor=anchor, font={"size": 11})
    shown_titles = [title.replace("_", "<br>") for title in titles]
    figure.update_xaxes(
        tickvals=list(range(len(titles))), ticktext=shown_titles, showgrid=True, zeroline=False, tickangle=0
    )
    figure.update_yaxes(visible=False, range=[-0.12, 1.12])
    return style(figure, height=460)


def _band(trials: Sequence[Searched]) -> dict[tuple[str, str, float], list[Searched]]:
    """Group trials, worst first, by how good they are; the best group last, so that it lies on top."""
    complete = [one for one in trials if one.is_complete]
    bands = {PRUNED: [one for one in trials if not one.is_complete]}
    starts = [min(math.ceil(share * len(complete)), max(len(complete) - 1, 0)) for share, *_ in BANDS]
    for (_, *look), start, end in zip(BANDS, starts, [*starts[1:], len(complete)], strict=True):
        bands[(str(look[0]), str(look[1]), float(look[2]))] = complete[start:end]
    return {look: members for look, members in bands.items() if members}


def _trace(one: Searched, reached: Float, places: dict[str, int]) -> list[tuple[int, float]]:
    """Return the points of a trial's line: the place of each axis, and how far up the value is on it, 0 to 1."""
    points = [(places[name], _place(axis, value)) for name, (axis, value) in one.axes.items()]
    return [(0, _place(reached, one.value or 0.0)), *sorted(points)]


def _place(axis: Axis, value: Scalar) -> float:
    match axis:
        case Choice(options):
            return options.index(value) / (len(options) - 1)
        case Int(low, high, _, log) | Float(low, high, _, log) if not isinstance(value, str) and high > low:
            scale = math.log if log else float
            return round((scale(value) - scale(low)) / (scale(high) - scale(low)), 4)
    return 0.5


def _name_ends(axis: Axis) -> tuple[str, str]:
    match axis:
        case Choice(options):
            return str(options[0]), str(options[-1])
        case Int(low, high) | Float(low, high):
            return f"{low:.4g}", f"{high:.4g}"
    return "", ""
