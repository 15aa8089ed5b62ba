"""Sentences beside the figures: what they lack, what was a tie, and what always answering the largest class would give."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sweep.plain_text import shorten, to_code
from sweep.report.compare import Summary
from sweep.report.conclusion import Column, Conclusion, is_tied_with_champion

UNEVEN = 1.2  # times the share that the largest class would have if all were equal


@dataclass(frozen=True)
class LargestClass:
    """The class that most rows of a split have: what accuracy is without any model."""

    name: str
    share: float  # of the rows
    is_uneven: bool  # the classes' shares differ so much that an accuracy cannot be judged without this one


def find_largest_class(conclusion: Conclusion, metric: str) -> LargestClass | None:
    """Find the largest class among the rows that `metric` was measured on; None where their labels are not known."""
    facts, predictions = conclusion.tracked.facts, conclusion.tracked.classified
    if metric == "test_accuracy" and predictions:
        counts = np.bincount(next(iter(predictions.values())).labels, minlength=facts.n_classes)
    elif metric == "val_accuracy" and facts.n_validation and facts.class_counts:
        counts = np.array(facts.class_counts)
    else:
        return None
    share = float(counts.max() / counts.sum())
    return LargestClass(facts.classes[int(counts.argmax())], share, share > UNEVEN / facts.n_classes)


def list_notes(conclusion: Conclusion) -> list[str]:
    """List what a reader of the figures must know beside them: no test rows, ties among trials."""
    return [*_no_test(conclusion), *map(_tie_note, (c for c in conclusion.selected if c.n_tied))]


def champion_notes(conclusion: Conclusion, champion: Column) -> list[str]:
    """List what must be known of the champion: a tie with other finalists, and that it is no better than no model."""
    return [*_champion_tie(conclusion, champion), *_no_better(conclusion, champion)]


def _no_test(conclusion: Conclusion) -> Iterator[str]:
    if not conclusion.tracked.facts.n_test:
        yield (
            "The study has no test rows, so no figure here is of rows that played no part in the choice: set `test_rows` "
            "under [data], and run it under another name."
        )


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
    """Yield a sentence where the champion's accuracy is not above that of always answering the largest class."""
    for metric, rows in (("test_accuracy", "test"), ("val_accuracy", "validation")):
        summary, largest = champion.summaries.get(metric), find_largest_class(conclusion, metric)
        if summary is None or largest is None:
            continue
        if (verdict := _judge(summary, largest)) is not None:
            yield (
                f"Its {rows} accuracy is {verdict} always answering {to_code(shorten(largest.name))}, the class of "
                f"{largest.share:.4f} of the {rows} rows."
            )
        return


def _judge(summary: Summary, largest: LargestClass) -> str | None:
    if summary.mean <= largest.share + 1e-9:
        return "no better than"
    return "not told apart from that of" if largest.is_uneven and summary.interval[0] <= largest.share else None
