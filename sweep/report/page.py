"""The conclusion as one HTML page that needs nothing beside itself: tables, verdicts, pictures, provenance."""

import base64
import io
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
import plotly.graph_objects as go
import plotly.io as pio
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from sweep.plain_text import label_classes, to_line
from sweep.report import figures, search_figures, value_figures
from sweep.report.columns import COLUMNS, build_columns_table
from sweep.report.conclusion import Column, Conclusion
from sweep.report.notes import list_notes
from sweep.report.searched import LOCAL_UI, build_trials_table
from sweep.report.spending import build_spending_table
from sweep.report.text import (
    SPENDING,
    VERDICTS_NOTES,
    build_tables,
    capitalize,
    champion_line,
    describe_subject,
    list_sources,
    verdict_lines,
)
from sweep.study.objective import MEASURED, Task
from sweep.track.runs import TrackedStudy
from sweep.trial import Logs, Phase, State

N_PICTURES = 24  # of mistakes
QUALITIES: dict[Task, str] = {"classification": "Accuracy", "regression": "Error"}
N_FEATURES = 6  # of a mistake that is no picture
QUERY = "tags.phase != 'study' and attributes.status != 'RUNNING'"  # gives the runs that a report is made from
_own = files(__package__)
_templates = Environment(
    loader=PackageLoader(__package__, "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)


@dataclass(frozen=True)
class Mistake:
    """A test row that the champion's replicates get wrong."""

    row: int  # among the test rows, counted from 0
    picture: str  # data URL of a PNG; empty where rows are no pictures
    features: str  # the first of them
    true: str
    predicted: str
    certainty: float  # of the replicate that was surest
    n_wrong: int  # replicates that get it wrong


@dataclass(frozen=True)
class FarOff:
    """A test row that the champion's replicates predict badly."""

    row: int  # among the test rows, counted from 0
    true: float
    predicted: float  # mean over replicates
    features: str  # the first of them


def to_html(conclusion: Conclusion, histories: dict[str, list[Logs]]) -> str:
    """Render the page; the same runs give the same bytes.

    histories: the logs of each epoch of every replicate, and of the trials whose curves are drawn, by run id.
    """
    tracked, champion = conclusion.tracked, conclusion.champion
    confirmed = [column for column in conclusion.columns if column.replicate_runs]
    is_scored = champion is not None and set(champion.replicate_runs) <= tracked.predictions.keys()
    answers = _draw_answers(tracked, champion) if champion and is_scored else {}
    return _templates.get_template("report.html").render(
        study=tracked.study,
        subject=describe_subject(conclusion),
        notes=list_notes(conclusion),
        champion_line=champion_line(conclusion),
        tables=build_tables(conclusion),
        verdicts_note=VERDICTS_NOTES[tracked.facts.task],
        verdicts=verdict_lines(conclusion),
        curves=_to_html("curves", figures.draw_curves(confirmed, histories, _choose_metric(tracked)))
        if confirmed
        else None,
        pareto=_to_html("pareto", figures.draw_pareto(conclusion)) if tracked.predictions else None,
        quality=QUALITIES[tracked.facts.task],
        **({"confusion": None, "mistakes": [], "values": None} | answers),
        class_names=_name_classes(tracked),
        columns_title=COLUMNS,
        columns=build_columns_table(tracked.facts),
        n_replicates=len(champion.replicate_runs) if champion else 0,
        search=list(_draw_search(tracked, histories)),
        trials=build_trials_table(tracked) if tracked.searched else None,
        template=_escape(json.dumps(pio.templates[figures.TEMPLATE].to_plotly_json())),
        states=sorted({str(one.state) for one in tracked.searched}),
        local_ui=None if tracked.runs.mlflow_server else LOCAL_UI,
        spending_title=SPENDING,
        spending=build_spending_table(tracked),
        costs=_costs(tracked),
        provenance=_provenance(tracked),
        sources=list_sources(conclusion),
        plotly=base64.b64encode((_own / "plotly" / "plotly-cartesian.min.js.gz").read_bytes()).decode(),
        script=Markup((_own / "report.js").read_text(encoding="utf-8")),
    )


def _draw_answers(tracked: TrackedStudy, champion: Column) -> dict[str, Any]:
    """Show what the champion says of the test rows, and where it is most wrong."""
    if tracked.facts.task == "regression":
        drawn = _to_html("values", value_figures.draw_values(tracked, champion))
        return {"values": drawn, "far_off": list(_list_far_off(tracked, champion))}
    drawn = _to_html("confusion", figures.draw_confusion(tracked, champion))
    return {"confusion": drawn, "mistakes": list(_mistakes(tracked, champion))}


def _list_far_off(tracked: TrackedStudy, champion: Column) -> Iterator[FarOff]:
    """Yield the rows whose mean prediction over replicates is the furthest off, of those that a replicate was most off on."""
    of_replicates = [tracked.valued[run] for run in champion.replicate_runs]
    mean, labels = np.mean([one.predicted for one in of_replicates], axis=0), of_replicates[0].labels
    features = {int(row): its for one in of_replicates for row, its in zip(one.worst, one.rows, strict=True)}
    for row in sorted(features, key=lambda row: (-abs(mean[row] - labels[row]), row))[:N_PICTURES]:
        yield FarOff(row, float(labels[row]), float(mean[row]), _first(features[row]))


def _choose_metric(tracked: TrackedStudy) -> str:
    """Choose the metric whose curve is shown beside the loss: the objective, where there are validation rows."""
    return tracked.study.objective if tracked.facts.n_validation else MEASURED[tracked.facts.task][0]


def _to_html(name: str, figure: go.Figure) -> Markup:
    """Render a figure as a place for it and its data, which the page's script draws."""
    place = Markup(
        '<div id="figure-{0}" class="plotly-graph-div" role="img" aria-label="{1}" style="min-height:{2}px"></div>'
    )
    label = name.replace("-", " ")
    return place.format(name, label, figure.layout.height) + Markup(
        '<script type="application/json" id="figure-{}-data">{}</script>'
    ).format(name, _escape(figure.update_layout(template=None).to_json()))


def _escape(json_text: str) -> Markup:
    """Return JSON in which no character ends a script or begins markup."""
    escaped = json_text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return Markup(escaped)


def _draw_search(tracked: TrackedStudy, histories: dict[str, list[Logs]]) -> Iterator[dict[str, Any]]:
    for picture in search_figures.draw_search(tracked, histories):
        name = picture.title.lower().replace(" ", "-")
        drawn = [_to_html(f"{name}-{at}", figure) for at, figure in enumerate(picture.figures)]
        yield {"title": picture.title, "note": picture.note, "figures": drawn}


def _mistakes(tracked: TrackedStudy, champion: Column) -> Iterator[Mistake]:
    """Yield the rows that most of the champion's replicates get wrong, the surest mistakes first."""
    shape = tracked.facts.feature_shape
    are_pictures = tracked.facts.scaling == "pixels" and len(shape) == 2
    predictions = [tracked.classified[run] for run in champion.replicate_runs]
    n_wrong = np.sum([~replicate.correct for replicate in predictions], axis=0)
    surest: dict[int, tuple[float, int, int, NDArray[Any]]] = {}
    for replicate in predictions:
        for row, certainty, features in zip(replicate.mistakes, replicate.certainty, replicate.rows, strict=True):
            if row not in surest or certainty > surest[row][0]:
                surest[int(row)] = float(certainty), int(replicate.labels[row]), int(replicate.predicted[row]), features
    labels = label_classes(tracked.facts.classes)
    order = sorted(surest, key=lambda row: (-n_wrong[row], -surest[row][0], row))
    for row in order[:N_PICTURES]:
        certainty, true, predicted, features = surest[row]
        picture = _png(features.reshape(shape)) if are_pictures else ""
        shown = _first(features)
        yield Mistake(row, picture, shown, labels[true], labels[predicted], certainty, int(n_wrong[row]))


def _first(features: NDArray[Any]) -> str:
    more = ", ..." if len(features) > N_FEATURES else ""
    return ", ".join(f"{value:.4g}" for value in features[:N_FEATURES]) + more


def _name_classes(tracked: TrackedStudy) -> dict[str, str]:
    """Return the name of each class that is shown by another label, by that."""
    names = [to_line(name) for name in tracked.facts.classes]
    return {label: name for label, name in zip(label_classes(names), names, strict=True) if label != name}


def _png(pixels: NDArray[np.uint8]) -> str:
    file = io.BytesIO()
    Image.fromarray(255 - pixels).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _costs(tracked: TrackedStudy) -> dict[str, str]:
    """Say what was spent on training, and what was saved."""
    trials, max_epochs = tracked.trials, tracked.study.training.max_epochs
    if not trials:
        return {}
    seconds = {phase: sum(t.train_seconds for t in trials if t.trial.phase == phase) for phase in Phase}
    saved = {state: [max_epochs - t.n_epochs for t in trials if t.state == state] for state in State}
    pruned, complete = saved[State.PRUNED], saved[State.COMPLETE]
    n_epochs = sum(t.n_epochs for t in trials)
    return {
        "Trained": f"{n_epochs:,} epochs in {_duration(sum(seconds.values()))} of one core each",
        "Of it": ", ".join(f"{phase} {_duration(s)}" for phase, s in seconds.items() if s),
        "Epochs saved by pruning": f"{sum(pruned):,} of {len(pruned)} trials",
        "Epochs saved by early stopping": f"{sum(complete):,} of {len(complete)} trainings",
    }


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _provenance(tracked: TrackedStudy) -> dict[str, str]:
    """Say what the runs were made with; where they differ, every value."""
    values: dict[str, set[str]] = defaultdict(set)
    for one in tracked.trials:
        for name, value in one.provenance.items():
            if name.startswith(("git_", "version_")) or name in ("processor", "engine", "device"):
                values[name].add(value)
    return {
        "Data": f"{to_line(tracked.facts.name)}, sha256 {tracked.facts.sha256}",
        **{_heading(name): ", ".join(sorted(values[name])) for name in sorted(values)},
        "Query": f"MLflow experiment {tracked.study.name}: {QUERY}",
    }


def _heading(tag: str) -> str:
    """Turn the name of a tag into a heading; a library keeps its name."""
    return tag.removeprefix("version_") if tag.startswith("version_") else capitalize(tag.replace("_", " "))
