"""Draw the champion's confusion matrix as a file."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

MAX_NAMED = 40  # classes; with more, names and counts would be too small to read


def draw_confusion(counts: NDArray[np.int64], classes: list[str], title: str, path: Path) -> None:
    """Draw `counts` to `path`: true classes down, predicted classes across. Only mistakes are coloured.

    counts: shape (n_classes, n_classes), numbers of rows; `counts[i, j]` rows of class i were predicted as class j.
    """
    n = len(classes)
    side = 1.6 + 0.46 * min(max(n, 4), MAX_NAMED)
    figure = Figure(figsize=(side, side), dpi=100, layout="constrained")
    axes = figure.subplots()
    wrong = np.where(np.eye(n, dtype=bool), 0, counts)
    axes.imshow(wrong, cmap="Reds", vmax=max(1, 1.6 * wrong.max()))  # no cell is too dark to read its number
    if n <= MAX_NAMED:
        for true, predicted in zip(*np.nonzero(counts), strict=True):
            axes.text(predicted, true, str(counts[true, predicted]), ha="center", va="center", fontsize=8)
        axes.set_xticks(range(n), classes, rotation=90 if max(map(len, classes)) > 3 else 0)
        axes.set_yticks(range(n), classes)
    axes.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False)
    axes.xaxis.set_label_position("top")
    axes.set(xlabel="predicted", ylabel="true class")
    figure.suptitle(title, fontsize=10)
    figure.savefig(path)
