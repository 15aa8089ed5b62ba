"""Parallel coordinates of a search, of plain lines: Plotly's own kind has no hover that could name a config."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from sweep.plain_text import to_plotly
from sweep.report.conclusion import find_ranking
from sweep.report.figures import COLOURS, style
from sweep.report.searched import Searched, list_axes
from sweep.study.space import Axis, Choice, Float, Int, Scalar
from sweep.track.runs import TrackedStudy

MAX_LINES = 300  # more would hide each other


@dataclass(frozen=True)
class Band:
    """Trials of about the same rank, and how their lines look."""

    name: str
    colour: str
    width: float  # pixels
    start: float = 0.0  # the share of the complete trials that are worse than all of it


PRUNED = Band("pruned", "rgba(122, 122, 122, 0.35)", 0.7)
BANDS = (  # of complete trials
    Band("other complete", "#5f93cc", 1.0),
    Band("better half", COLOURS[0], 1.0, start=0.5),
    Band("best tenth", COLOURS[1], 2.2, start=0.9),
)


def draw_parallel(tracked: TrackedStudy, trials: Sequence[Searched]) -> go.Figure:
    """Draw a line for each trial over the axes that vary, after what they are ranked by. trials: worst first."""
    axes = list_axes(trials)
    values = [one.value for one in trials if one.value is not None]
    reached = Float(min(values), max(values))
    places = {name: at for at, name in enumerate(["", *axes])}
    figure = go.Figure()
    for band, shown in _group(trials).items():
        lines = [_trace(one, reached, places) for one in shown]
        figure.add_scatter(
            x=[x for line in lines for x, _ in [*line, (None, None)]],
            y=[y for line in lines for _, y in [*line, (None, None)]],
            customdata=[at for one, line in zip(shown, lines, strict=True) for at in [one.number] * len(line) + [None]],
            mode="lines+markers",
            line={"color": band.colour, "width": band.width},
            marker={"size": 4},
            name=band.name,
        )
    _name_axes(
        figure, {find_ranking(tracked): _name_ends(reached), **{k: _name_ends(axis) for k, axis in axes.items()}}
    )
    return style(figure, height=460)


def _name_axes(figure: go.Figure, ends: dict[str, tuple[str, str]]) -> None:
    """Label each axis, and its lowest and highest value."""
    for at, (low, high) in enumerate(ends.values()):
        for text, y, anchor in ((low, -0.03, "top"), (high, 1.03, "bottom")):
            figure.add_annotation(x=at, y=y, text=to_plotly(text), showarrow=False, yanchor=anchor, font={"size": 11})
    titles = [name.replace("_", "<br>") for name in ends]
    figure.update_xaxes(
        tickvals=list(range(len(ends))), ticktext=titles, showgrid=True, zeroline=False, tickangle=0, automargin=True
    )
    figure.update_yaxes(visible=False, range=[-0.12, 1.12])


def _group(trials: Sequence[Searched]) -> dict[Band, list[Searched]]:
    """Group trials, worst first, by how good they are; the best group last, so that it lies on top. No group is empty."""
    complete = [one for one in trials if one.is_complete]
    starts = [min(math.ceil(band.start * len(complete)), max(len(complete) - 1, 0)) for band in BANDS]
    groups = {PRUNED: [one for one in trials if not one.is_complete]}
    for band, start, end in zip(BANDS, starts, [*starts[1:], len(complete)], strict=True):
        groups[band] = complete[start:end]
    return {band: members for band, members in groups.items() if members}


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
