"""Pictures as files: the curves of one trial, and what a model takes for what."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from sweep.trial import Logs

MAX_NAMED = 40  # classes; more would not be readable
TRAIN_COLOUR, VALIDATION_COLOUR = "#4c72b0", "#dd8452"


def draw_curves(history: list[Logs], title: str, best_epoch: int, path: Path) -> None:
    """Draw `history` (one entry per epoch, first epoch first) to `path`; a dotted line marks the epoch whose weights are kept."""
    figure = Figure(figsize=(8, 3.2), dpi=100, layout="constrained")
    epochs = range(1, len(history) + 1)
    for axes, metric in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        axes.plot(
            epochs, [logs[metric] for logs in history], color=TRAIN_COLOUR, marker=".", label="train (running mean)"
        )
        if any(f"val_{metric}" in logs for logs in history):
            validation = [logs.get(f"val_{metric}", float("nan")) for logs in history]
            axes.plot(epochs, validation, color=VALIDATION_COLOUR, marker=".", label="validation")
        if best_epoch:
            axes.axvline(best_epoch, color="0.6", linestyle=":", linewidth=1, label="weights kept")
        axes.set(xlabel="epoch", ylabel=metric)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.25)
    axes.legend(fontsize=8, loc="lower right")
    figure.suptitle(title, fontsize=10)
    figure.savefig(path)


def draw_confusion(counts: NDArray[np.int64], classes: list[str], title: str, path: Path) -> None:
    """Draw how many rows of each class (down) were taken for each (across); the right ones are not coloured."""
    n = len(classes)
    side = 1.6 + 0.46 * min(max(n, 4), MAX_NAMED)
    figure = Figure(figsize=(side, side), dpi=100, layout="constrained")
    axes = figure.subplots()
    wrong = np.where(np.eye(n, dtype=bool), 0, counts)
    axes.imshow(wrong, cmap="Reds", vmax=max(1, 1.6 * wrong.max()))  # no cell so dark that its number cannot be read
    if n <= MAX_NAMED:
        for true, said in zip(*np.nonzero(counts), strict=True):
            axes.text(said, true, str(counts[true, said]), ha="center", va="center", fontsize=8)
        axes.set_xticks(range(n), classes, rotation=90 if max(map(len, classes)) > 3 else 0)
        axes.set_yticks(range(n), classes)
    axes.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False)
    axes.xaxis.set_label_position("top")
    axes.set(xlabel="predicted", ylabel="true class")
    figure.suptitle(title, fontsize=10)
    figure.savefig(path)
