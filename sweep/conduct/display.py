"""Show a running sweep: a live table on a terminal, and everywhere one log line for each ended trial."""

import itertools
import logging
import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sweep.study.objective import MEASURED, cost, format_metric, ranking_metric
from sweep.study.schema import Study
from sweep.trial import EpochReport, Phase, State, Trial, TrialEvent, TrialResult, WorkerDied

if TYPE_CHECKING:
    from sweep.record.trials import RecordedTrial

logger = logging.getLogger(__name__)

MAX_ROWS = 16  # running trials shown at most


@dataclass(frozen=True)
class Planned:
    """About how much a whole study trains, if every group of the space has its own winner; None where it is not known."""

    n_trials: int | None
    n_epochs: int | None  # at most

    @classmethod
    def of(cls, study: Study) -> "Planned":
        search, n_baselines = study.search, len(study.baselines)
        n_given = n_baselines if study.data.validation_rows else 0
        if study.confirmation is not None:
            n_groups = 0.0
            if search.is_asked_for and study.space is not None:
                n_groups = min(search.trials or math.inf, study.space.n_values(study.confirmation.group_by))
            n_given += int(n_groups + n_baselines) * study.confirmation.replicates
        return cls(
            n_given + (search.trials or 0) if search.trials is not None or not search.is_asked_for else None,
            None if search.epochs is None else n_given * study.training.max_epochs + search.epochs,
        )


@dataclass
class Progress:
    """The counts, running trials and best value so far."""

    study: Study
    planned: Planned
    started_at: float
    n_before: int = 0  # trials that ended in earlier runs of the command
    n_epochs: Counter[Phase] = field(default_factory=Counter)  # of trials that ended
    n_epochs_before: int = 0  # of those that ended in earlier runs
    running: dict[str, tuple[Trial, EpochReport | None]] = field(default_factory=dict)
    n_ended: dict[State, int] = field(default_factory=lambda: dict.fromkeys(State, 0))
    best: tuple[Trial, float] | None = None

    def remember(self, recorded: Iterable["RecordedTrial"]) -> None:
        """Count the ended trials among `recorded`."""
        for one in recorded:
            if one.state is not None:
                self.n_before += 1
                self.n_ended[one.state] += 1
                n_epochs = 0 if one.course is None else one.course.n_epochs
                self.n_epochs[one.trial.phase] += n_epochs
                self.n_epochs_before += n_epochs
                if one.state == State.COMPLETE and one.value is not None:
                    self._keep_best(one.trial, one.value)

    def hear(self, trial: Trial, event: TrialEvent | None) -> None:
        """Take up an event of a trial; None when the trial is submitted."""
        match event:
            case None | WorkerDied():
                self.running[trial.key] = (trial, None)
            case EpochReport():
                self.running[trial.key] = (trial, event)
            case TrialResult():
                self.running.pop(trial.key, None)
                self.n_ended[event.state] += 1
                self.n_epochs[trial.phase] += len(event.history)
                metric = ranking_metric(self.study.objective, [event.metrics])
                if event.state == State.COMPLETE and metric in event.metrics:
                    self._keep_best(trial, event.metrics[metric])

    def _keep_best(self, trial: Trial, value: float) -> None:
        objective = self.study.objective
        if trial.phase == Phase.CONFIRM:
            return
        if self.best is None or cost(objective, value) < cost(objective, self.best[1]):
            self.best = trial, value

    def remaining_s(self, now: float) -> float | None:
        """Estimate the seconds left from the pace of this run of the command; None before a trial has ended in it.

        By epochs where the search is bounded by them, else by trials; None where it is bounded by time alone.
        """
        if self.planned.n_epochs is not None:
            n_ended = sum(self.n_epochs.values())
            n_now, n_left = n_ended - self.n_epochs_before, self.planned.n_epochs - n_ended
        elif self.planned.n_trials is not None:
            n_ended = sum(self.n_ended.values())
            n_now, n_left = n_ended - self.n_before, self.planned.n_trials - n_ended
        else:
            return None
        return (now - self.started_at) / n_now * max(n_left, 0) if n_now else None


class Display:
    """Follows every event through `watch`, logs each ended trial, and draws the progress while `live` is open."""

    def __init__(self, study: Study, console: Console) -> None:
        self._console = console
        self._progress = Progress(study, Planned.of(study), time.monotonic())

    def remember(self, recorded: Iterable["RecordedTrial"]) -> None:
        """Count the trials that were recorded before this run of the command."""
        self._progress.remember(recorded)

    def watch(self, trial: Trial, event: TrialEvent | None) -> None:
        """Take up an event and log it if it ends a trial or a worker. See `loop.Watch`."""
        self._progress.hear(trial, event)
        if isinstance(event, TrialResult):
            logger.info(_summarize(trial, event, self._progress.study))
        elif isinstance(event, WorkerDied):
            logger.warning("%s, attempt %d: %s", trial.label, trial.attempt, event.reason)

    @contextmanager
    def live(self) -> Iterator[None]:
        """Draw the progress below the log, on a terminal only."""
        if not self._console.is_terminal:
            yield
            return
        with Live(console=self._console, get_renderable=self.render, refresh_per_second=4, transient=True):
            yield

    def render(self) -> RenderableType:
        """Draw the trials that run, and below them how far the study is."""
        progress = self._progress
        table = Table(box=None, padding=(0, 2, 0, 0))
        objective = progress.study.objective
        for heading in ("running", "epoch", objective.replace("_", " ").replace("val", "validation")):
            table.add_column(heading, header_style="dim")
        for trial, report in itertools.islice(progress.running.values(), MAX_ROWS):
            value = report.logs.get(objective) if report else None
            epoch = str(report.epoch) if report else "starting"
            table.add_row(trial.label, epoch, format_metric(objective, value) if value is not None else "")
        if len(progress.running) > MAX_ROWS:
            table.add_row(f"and {len(progress.running) - MAX_ROWS} more")
        return Group(table, Text(self._status(time.monotonic())))

    def _status(self, now: float) -> str:
        progress = self._progress
        ended = (f"{n} {_name_ending(state, progress.study)}" for state, n in progress.n_ended.items() if n)
        done = ", ".join(ended) or "none ended yet"
        planned = progress.planned.n_trials
        parts = [f"{sum(progress.n_ended.values())}{f' of about {planned}' if planned is not None else ''}: {done}"]
        if (limit := progress.study.search.epochs) is not None:
            parts.append(f"search {progress.n_epochs[Phase.SEARCH]} of {limit} epochs")
        if progress.best is not None:
            best, value = progress.best
            shown = format_metric(progress.study.objective, value)
            parts.append(f"best {progress.study.objective} {shown} ({best.label})")
        parts.append(f"elapsed {_format_clock(now - progress.started_at)}")
        remaining = progress.remaining_s(now)
        if remaining is not None:
            parts.append(f"about {_format_clock(remaining)} left")
        return "  ·  ".join(parts)


def _name_ending(state: State, study: Study) -> str:
    """Name how a trial ended. One that a search by probes stopped has shown all that it was asked for."""
    return "probed" if state == State.PRUNED and study.probes else state


def _summarize(trial: Trial, result: TrialResult, study: Study) -> str:
    kind = "replicate" if trial.phase == Phase.CONFIRM else "trial"
    n_epochs = len(result.history)
    if result.state == State.FAILED:
        return f"{kind} {trial.label}: failed ({result.reason})"
    last = result.history[result.best_epoch - 1]
    measured = MEASURED[study.task][0]
    names = dict.fromkeys((study.objective, f"val_{measured}", "val_loss", measured))
    shown = [f"{name} {format_metric(name, last[name])}" for name in names if name in last][:2]
    ending = _name_ending(result.state, study)
    return f"{kind} {trial.label}: {ending}, {', '.join(shown)} at epoch {result.best_epoch} of {n_epochs}, {result.train_seconds:.1f} s"


def _format_clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
