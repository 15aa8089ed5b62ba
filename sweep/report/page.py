"""The conclusion as one HTML page that needs nothing beside itself: tables, verdicts, pictures, provenance."""

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image
from plotly.offline import get_plotlyjs

from sweep.report import figures
from sweep.report.conclusion import Column, Conclusion
from sweep.report.text import VERDICTS_NOTE, capital, champion_line, sources, subject, tables, verdict_lines
from sweep.track.runs import StudyRuns
from sweep.trial import Logs

N_PICTURES = 24  # of mistakes
QUERY = "tags.phase != 'study' and attributes.status != 'RUNNING'"  # gives the runs that a report is made from
_templates = Environment(
    loader=PackageLoader(__package__, "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)


@dataclass(frozen=True)
class Mistake:
    """A test row that the champion's replicates get wrong."""

    picture: str  # data URL of a PNG
    true: str
    predicted: str
    certainty: float  # of the replicate that was surest
    n_wrong: int  # replicates that get it wrong


def to_html(conclusion: Conclusion, histories: dict[str, list[Logs]]) -> str:
    """The page; `histories` holds the logs of each epoch of every replicate, by run id. The same runs give the same bytes."""
    runs, champion = conclusion.runs, conclusion.champion
    confirmed = [column for column in conclusion.columns if column.replicate_runs]
    scored = champion is not None and set(champion.replicate_runs) <= runs.predictions.keys()
    return _templates.get_template("report.html").render(
        study=runs.study,
        subject=subject(conclusion),
        champion_line=champion_line(conclusion),
        tables=tables(conclusion),
        verdicts_note=VERDICTS_NOTE,
        verdicts=verdict_lines(conclusion),
        curves=_drawn("curves", figures.curves(confirmed, histories, _shown(runs))) if confirmed else None,
        pareto=_drawn("pareto", figures.pareto(conclusion)) if runs.predictions else None,
        confusion=_drawn("confusion", figures.confusion(runs, champion)) if champion and scored else None,
        mistakes=list(_mistakes(runs, champion)) if champion and scored else [],
        n_replicates=len(champion.replicate_runs) if champion else 0,
        search={title: _drawn(title, figure) for title, figure in figures.search(runs).items()},
        min_complete=figures.MIN_COMPLETE,
        costs=_costs(runs),
        provenance=_provenance(runs),
        sources=sources(conclusion),
        plotly=Markup(get_plotlyjs()),
    )


def _shown(runs: StudyRuns) -> str:
    """The metric whose curve is shown beside the loss: the objective, where there are validation rows for it."""
    return runs.study.objective if runs.facts["n_validation"] else "accuracy"


def _drawn(name: str, figure: go.Figure) -> Markup:
    """A figure as HTML that uses the page's own copy of Plotly; its id follows from its name, so that bytes repeat."""
    options = {"displaylogo": False, "responsive": True}
    return Markup(figure.to_html(full_html=False, include_plotlyjs=False, div_id=f"figure-{name}", config=options))


def _mistakes(runs: StudyRuns, champion: Column) -> Iterator[Mistake]:
    """Rows that most of the champion's replicates get wrong, then those that one was surest of; only where rows are pictures."""
    shape = runs.facts["feature_shape"]
    if runs.facts["scaling"] != "pixels" or len(shape) != 2:
        return
    said = [runs.predictions[run] for run in champion.replicate_runs]
    n_wrong = np.sum([~replicate.correct for replicate in said], axis=0)
    surest: dict[int, tuple[float, int, int, NDArray[Any]]] = {}
    for replicate in said:
        for row, certainty, pixels in zip(replicate.mistakes, replicate.certainty, replicate.rows, strict=True):
            if row not in surest or certainty > surest[row][0]:
                surest[int(row)] = float(certainty), int(replicate.labels[row]), int(replicate.predicted[row]), pixels
    order = sorted(surest, key=lambda row: (-n_wrong[row], -surest[row][0], row))
    for row in order[:N_PICTURES]:
        certainty, true, predicted, pixels = surest[row]
        classes = runs.facts["classes"]
        yield Mistake(_png(pixels.reshape(shape)), classes[true], classes[predicted], certainty, int(n_wrong[row]))


def _png(pixels: NDArray[np.uint8]) -> str:
    file = io.BytesIO()
    Image.fromarray(255 - pixels).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _costs(runs: StudyRuns) -> dict[str, str]:
    """What was spent, and what was not."""
    frame, max_epochs = runs.frame, runs.study.training.max_epochs
    if not len(frame):
        return {}
    pruned, complete = frame[frame["state"] == "pruned"], frame[frame["state"] == "complete"]
    seconds = {
        phase: frame.loc[frame["phase"] == phase, "train_seconds"].sum() for phase in ("baseline", "search", "confirm")
    }
    return {
        "Trained": f"{int(frame['epochs'].sum()):,} epochs in {_duration(frame['train_seconds'].sum())} of one core each",
        "Of it": ", ".join(f"{name} {_duration(s)}" for name, s in seconds.items() if s),
        "Epochs saved by pruning": f"{int((max_epochs - pruned['epochs']).sum()):,} of {len(pruned)} trials",
        "Epochs saved by early stopping": f"{int((max_epochs - complete['epochs']).sum()):,} of {len(complete)} trainings",
    }


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _provenance(runs: StudyRuns) -> dict[str, str]:
    """What it was made with; where runs differ, every value."""
    frame = runs.frame
    tags = sorted(
        name
        for name in map(str, frame.columns)
        if name.startswith(("git_", "version_")) or name in ("processor", "engine", "device")
    )
    found = {_called(tag): frame[tag].dropna().unique() for tag in tags}
    return {
        "Data": f"{runs.facts['name']}, sha256 {runs.facts['sha256']}",
        **{name: ", ".join(sorted(map(str, values))) for name, values in found.items()},
        "Query": f"MLflow experiment {runs.study.name}: {QUERY}",
    }


def _called(tag: str) -> str:
    """A tag as a heading; a library keeps its name."""
    return tag.removeprefix("version_") if tag.startswith("version_") else capital(tag.replace("_", " "))
