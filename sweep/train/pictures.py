"""Draw the learning curves of one trial as a file."""

from pathlib import Path

from matplotlib.ticker import MaxNLocator

from sweep.study.objective import MEASURED
from sweep.train.figure import new_figure, save_figure
from sweep.trial import Logs

TRAIN_COLOUR, VALIDATION_COLOUR = "#4c72b0", "#dd8452"


def draw_curves(history: list[Logs], title: str, best_epoch: int, path: Path) -> None:
    """Draw `history` (one entry per epoch, in order) to `path`. A dotted line marks `best_epoch`; 0 draws none."""
    figure = new_figure(8, 3.2)
    epochs = range(1, len(history) + 1)
    measured = next(name for names in MEASURED.values() for name in names if name in history[0])
    for axes, metric in zip(figure.subplots(1, 2), ("loss", measured), strict=True):
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
    save_figure(figure, title, path)
