"""From stamps to figures: pure functions over what one run left."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import groupby, pairwise
from math import sqrt
from statistics import fmean, median, stdev
from typing import Any

from tests.bench.configs import ConfigTable
from tests.bench.contender import N_CLASSES, N_FEATURES, Stamps
from tests.bench.limits import flops_per_row
from tests.bench.measure import Measured

N_TRAIN = 54_000  # rows of an epoch
SINGLE_RUN_SD = 0.004  # of validation accuracy, where there are too few runs to tell; generous


@dataclass(frozen=True)
class Figures:
    """One contender's run over one set of configs."""

    trials_per_hour: float  # whole command, loading and closing included
    trials_per_hour_started: float  # from the first trial's begin to the last one's end
    epoch_s: float  # seconds inside training for an epoch, divided by the workers that train side by side
    outside_s: float  # of a worker, for each trial: from the first trial's begin to the last one's end, less training
    startup_s: float  # until the first trial begins
    peak_mb: float
    val_accuracy: float  # mean over configs, after the last epoch
    flops: float  # per second, achieved inside training by all workers


def figures(
    trials: list[Stamps], n_workers: int, measured: Measured, configs: list[ConfigTable], epochs: int
) -> Figures:
    began_at, ended_at = min(t.began_at for t in trials), max(t.ended_at for t in trials)
    train_s = sum(t.train_ended_at - t.train_began_at for t in trials)
    flops = N_TRAIN * epochs * sum(flops_per_row(configs[t.config], N_FEATURES, N_CLASSES) for t in trials)
    return Figures(
        trials_per_hour=3600 * len(trials) / measured.wall_s,
        trials_per_hour_started=3600 * len(trials) / (ended_at - began_at),
        epoch_s=train_s / len(trials) / epochs / n_workers,
        outside_s=sum(map(_outside_s, _by_worker(trials))) / len(trials),
        startup_s=began_at - measured.began_at,
        peak_mb=measured.peak_mb,
        val_accuracy=fmean(t.val_accuracy[-1] for t in trials),
        flops=flops / train_s * n_workers,
    )


@dataclass(frozen=True)
class SearchFigures:
    """One contender's search of the space of `study.toml`, each by its own sampler."""

    n_configs: int  # distinct ones that were tried
    n_epochs: int
    configs_per_hour: float  # whole command
    epochs_per_hour: float
    wall_s: float
    peak_mb: float
    best_val_accuracy: float  # of any trial after any epoch


def search_figures(trials: list[Stamps], measured: Measured) -> SearchFigures:
    n_configs, n_epochs = len({t.config for t in trials}), sum(len(t.epoch_ended_at) for t in trials)
    return SearchFigures(
        n_configs=n_configs,
        n_epochs=n_epochs,
        configs_per_hour=3600 * n_configs / measured.wall_s,
        epochs_per_hour=3600 * n_epochs / measured.wall_s,
        wall_s=measured.wall_s,
        peak_mb=measured.peak_mb,
        best_val_accuracy=max(max(t.val_accuracy) for t in trials),
    )


def steady_epoch_s(trials: Iterable[Stamps]) -> float:
    """Median seconds from one epoch's end to the next one's, validation included: without building and tracing."""
    return median(later - earlier for t in trials for earlier, later in pairwise(t.epoch_ended_at))


def _by_worker(trials: list[Stamps]) -> list[list[Stamps]]:
    ordered = sorted(trials, key=lambda t: (t.worker, t.began_at))
    return [list(group) for _, group in groupby(ordered, key=lambda t: t.worker)]


def _outside_s(trials: list[Stamps]) -> float:
    """Seconds that one worker was not training in, between its first trial's begin and its last one's end."""
    train_s = sum(t.train_ended_at - t.train_began_at for t in trials)
    return trials[-1].ended_at - trials[0].began_at - train_s


@dataclass(frozen=True)
class Spread:
    """A figure over repeats."""

    mean: float
    low: float
    high: float

    def show(self, digits: int) -> str:
        if f"{self.low:.{digits}f}" == f"{self.high:.{digits}f}":
            return f"{self.mean:,.{digits}f}"
        return f"{self.mean:,.{digits}f} ({self.low:,.{digits}f}..{self.high:,.{digits}f})"


def spread(values: Iterable[float]) -> Spread:
    listed = list(values)
    return Spread(fmean(listed), min(listed), max(listed))


def ratios(ours: list[Any], theirs: list[Any], of: Callable[[Any, Any], float]) -> Spread:
    """`of(ours, theirs)` for each repeat, pairs that ran next to each other."""
    return spread(of(a, b) for a, b in zip(ours, theirs, strict=True))


@dataclass(frozen=True)
class Verdict:
    """Whether two contenders reached the same validation accuracy."""

    difference: float  # ours less theirs, mean over configs
    noise: float  # 3 standard errors of that difference
    is_void: bool  # then their speeds cannot be compared


def same_accuracy(ours: list[list[Stamps]], theirs: list[list[Stamps]]) -> Verdict:
    """Compare final validation accuracies; one list of trials for each repeat.

    The spread of one run comes from theirs, whose seeds differ by repeat. Ours repeats to the bit, so that its repeats
    are one run.
    """
    by_config: dict[int, list[float]] = defaultdict(list)
    for trials in theirs:
        for t in trials:
            by_config[t.config].append(t.val_accuracy[-1])
    repeated = [values for values in by_config.values() if len(values) > 1]
    run_sd = sqrt(fmean(stdev(values) ** 2 for values in repeated)) if len(theirs) > 2 else SINGLE_RUN_SD
    n_configs = len(by_config)
    error = run_sd * sqrt(1 / (n_configs * len(theirs)) + 1 / n_configs)
    mean_theirs = fmean(fmean(values) for values in by_config.values())
    difference = fmean(t.val_accuracy[-1] for t in ours[0]) - mean_theirs
    return Verdict(difference, 3 * error, abs(difference) > 3 * error)
