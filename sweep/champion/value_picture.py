"""Draw what the champion of a regression predicts, against what is true, as a file."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sweep.train.figure import new_figure, save_figure
from sweep.train.pictures import TRAIN_COLOUR

MANY = 500  # rows from which on dots are small and thin


def draw_values(labels: NDArray[np.float64], predicted: NDArray[np.float64], title: str, path: Path) -> None:
    """Draw predictions against labels, and residuals against predictions, to `path`. Both of shape (n,), in the label's unit."""
    figure = new_figure(9, 4.2)
    size, opacity = (4, 0.3) if len(labels) > MANY else (14, 0.6)
    left, right = figure.subplots(1, 2)
    ends = [float(labels.min()), float(labels.max())]
    left.plot(ends, ends, color="0.6", linestyle=":", linewidth=1)
    left.scatter(labels, predicted, s=size, alpha=opacity, color=TRAIN_COLOUR)
    left.set(xlabel="true", ylabel="predicted")
    right.axhline(0, color="0.6", linestyle=":", linewidth=1)
    right.scatter(predicted, labels - predicted, s=size, alpha=opacity, color=TRAIN_COLOUR)
    right.set(xlabel="predicted", ylabel="true less predicted")
    for axes in (left, right):
        axes.grid(alpha=0.25)
    save_figure(figure, title, path)
