"""Sentences beside the figures: what they lack, what was a tie, and what a dummy would give, which answers always alike."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweep.plain_text import shorten, to_code
from sweep.report.compare import Summary
from sweep.report.conclusion import Column, Conclusion, is_tied_with_champion
from sweep.study.objective import format_metric, is_gain
from sweep.track.runs import TrackedStudy

UNEVEN = 1.2  # times the share that the largest class would have if all were equal


@dataclass(frozen=True)
class Floor:
    """What a metric is without any model: of a dummy that answers all rows alike."""

    answer: str  # in words, as are its figures
    figure: str
    value: float
    is_near: bool  # no metric can be judged without it: the classes' shares differ much, or it is an error


def find_floor(conclusion: Conclusion, metric: str) -> Floor | None:
    """Find the floor of `metric` on the rows that it was measured on; None where their labels are not known.

    Of classes, always answering the largest one. Of numbers to predict, the mean of the training rows.
    """
    tracked = conclusion.tracked
    if tracked.facts.target is not None:
        return _find_floor_of_values(tracked, metric)
    counts = _count_classes(tracked, metric)
    if counts is None:
        return None
    share = float(counts.max() / counts.sum())
    name = to_code(shorten(tracked.facts.classes[int(counts.argmax())]))
    rows = "test" if metric.startswith("test_") else "validation"
    is_near = share > UNEVEN / tracked.facts.n_classes
    return Floor(f"always answering {name}", f"the class of {share:.4f} of the {rows} rows", share, is_near)


def _count_classes(tracked: TrackedStudy, metric: str) -> NDArray[Any] | None:
    """Count the rows of each class, shape (n_classes,), among those that an accuracy was measured on."""
    facts, predictions = tracked.facts, tracked.classified
    if metric == "test_accuracy" and predictions:
        return np.bincount(next(iter(predictions.values())).labels, minlength=facts.n_classes)
    if metric == "val_accuracy" and facts.n_validation and facts.class_counts:
        return np.array(facts.class_counts)
    return None


def _find_floor_of_values(tracked: TrackedStudy, metric: str) -> Floor | None:
    target, predictions = tracked.facts.target, tracked.valued
    if target is None or not predictions or metric not in ("test_rmse", "test_mae"):
        return None
    errors = next(iter(predictions.values())).labels - target.center
    value = math.sqrt(np.square(errors).mean()) if metric == "test_rmse" else float(np.abs(errors).mean())
    figure = f"the mean of the training rows, which is off by {format_metric(metric, value)}"
    return Floor(f"always answering {target.center:.6g}", figure, value, is_near=True)


def list_notes(conclusion: Conclusion) -> list[str]:
    """List what a reader of the figures must know beside them: no test rows, what the dummy is, ties among trials."""
    return [
        *_no_test(conclusion),
        *_dummy_note(conclusion),
        *map(_tie_note, (c for c in conclusion.selected if c.n_tied)),
    ]


def champion_notes(conclusion: Conclusion, champion: Column) -> list[str]:
    """List what must be known of the champion: a tie with other finalists, and that it is no better than no model."""
    return [*_champion_tie(conclusion, champion), *_no_better(conclusion, champion)]


def _no_test(conclusion: Conclusion) -> Iterator[str]:
    if not conclusion.tracked.facts.n_test:
        yield (
            "The study has no test rows, so no figure here is of rows that played no part in the choice: set `test_rows` "
            "under [data], and run it under another name."
        )


def _dummy_note(conclusion: Conclusion) -> Iterator[str]:
    floors = [find_floor(conclusion, metric) for metric in ("test_accuracy", "test_rmse", "val_accuracy")]
    if floor := next(filter(None, floors), None):
        yield f"The dummy is the floor, no model at all: {floor.answer}, {floor.figure}."


def _tie_note(column: Column) -> str:
    trials = "another trial" if column.n_tied == 1 else f"{column.n_tied} other trials"
    name = column.finalist.name
    return f"{name[:1].upper()}{name[1:]}: tied with {trials} when it was selected; {column.tie_rule} decided."


def _champion_tie(conclusion: Conclusion, champion: Column) -> Iterator[str]:
    tied = [column for column in conclusion.columns if is_tied_with_champion(conclusion, column)]
    if not tied:
        return
    names = " and ".join(column.finalist.name for column in tied)
    yield f"Tied with {names} in mean {conclusion.tracked.study.objective}; {_champion_rule(champion, tied)} decided."


def _champion_rule(champion: Column, tied: list[Column]) -> str:
    """Name the first rule that tells the champion from those it is tied with. It is the least by all of them, in order."""
    if _loss(champion) < min(map(_loss, tied)):
        return "the lower validation loss"
    same_loss = [column for column in tied if _loss(column) == _loss(champion)]
    if (champion.params_count or 0) < min(column.params_count or 0 for column in same_loss):
        return "the validation loss, then the number of parameters,"
    return "the order of the table"


def _loss(column: Column) -> float:
    return column.summaries["val_loss"].mean if "val_loss" in column.summaries else math.inf


def _no_better(conclusion: Conclusion, champion: Column) -> Iterator[str]:
    """Yield a sentence where the champion is not told apart from a dummy."""
    for metric, what in (
        ("test_accuracy", "test accuracy"),
        ("test_rmse", "test RMSE"),
        ("val_accuracy", "validation accuracy"),
    ):
        summary, floor = champion.summaries.get(metric), find_floor(conclusion, metric)
        if summary is None or floor is None:
            continue
        if (verdict := _judge(metric, summary, floor)) is not None:
            yield f"Its {what} is {verdict} {floor.answer}, {floor.figure}."
        return


def _judge(metric: str, summary: Summary, floor: Floor) -> str | None:
    if is_gain(metric):
        is_no_better, is_within = summary.mean <= floor.value + 1e-9, summary.interval[0] <= floor.value
    else:
        is_no_better, is_within = summary.mean >= floor.value, summary.interval[1] >= floor.value
    if is_no_better:
        return "no better than"
    return "not told apart from that of" if floor.is_near and is_within else None
