"""Draw the champion's confusion matrix as a file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sweep.plain_text import label_classes, measure
from sweep.train.figure import can_draw, new_figure, save_figure

MAX_NAMED = 40  # classes; with more, names and counts would be too small to read
CELL, COLUMN = 0.46, 0.085  # inches: a side of a cell, the width of a character of a label


def draw_confusion(counts: NDArray[np.int64], classes: Sequence[str], title: str, path: Path) -> None:
    """Draw `counts` to `path`: true classes down, predicted classes across. Only mistakes are coloured.

    counts: shape (n_classes, n_classes), numbers of rows; `counts[i, j]` rows of class i were predicted as class j.
    """
    n = len(classes)
    labels = list_labels(classes)
    longest = max(map(measure, labels), default=0)
    side = 1.6 + CELL * min(max(n, 4), MAX_NAMED) + COLUMN * longest
    figure = new_figure(side, side)
    axes = figure.subplots()
    wrong = np.where(np.eye(n, dtype=bool), 0, counts)
    axes.imshow(wrong, cmap="Reds", vmax=max(1, 1.6 * wrong.max()))  # no cell is too dark to read its number
    if labels:
        for true, predicted in zip(*np.nonzero(counts), strict=True):
            axes.text(predicted, true, str(counts[true, predicted]), ha="center", va="center", fontsize=8)
        axes.set_xticks(range(n), labels, rotation=90 if longest > 3 else 0)
        axes.set_yticks(range(n), labels)
    axes.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False)
    axes.xaxis.set_label_position("top")
    how = "" if labels else ", by number"
    axes.set(xlabel=f"predicted{how}", ylabel=f"true class{how}")
    save_figure(figure, title, path)


def list_labels(classes: Sequence[str]) -> list[str]:
    """Return the label of each class in the picture; none where there are too many to name."""
    return label_classes(classes, can_draw) if len(classes) <= MAX_NAMED else []
