"""The course of one trial on any engine: early stopping, pruning, NaN, the best epoch, the result."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from sweep.study.objective import settle
from sweep.study.training import Training
from sweep.train.stopping import Patience
from sweep.trial import EpochReport, Logs, State, Trial, TrialResult

Clock = Callable[[], float]  # UTC seconds since 1970


@dataclass
class Course:
    """The progress of one trial, from its first epoch to its result."""

    trial: Trial
    training: Training
    started_at: float  # UTC seconds since 1970, like all times here
    history: list[Logs] = field(default_factory=list)
    epoch_ended_at: list[float] = field(default_factory=list)
    best_epoch: int = 0  # the epoch whose weights are kept, counted from 1; 0 if the trial failed before it had one
    state: State = State.COMPLETE
    reason: str = ""
    is_over: bool = False
    _patience: Patience = field(default_factory=Patience)

    @property
    def n_epochs(self) -> int:
        return len(self.history)

    @property
    def is_best(self) -> bool:
        """Return whether the last epoch is the best so far."""
        return self.best_epoch == self.n_epochs

    def add(self, logs: Logs, ended_at: float) -> EpochReport:
        """Add an epoch that ended at `ended_at`, and return its report."""
        self.history.append(logs)
        self.epoch_ended_at.append(ended_at)
        if is_finite(logs):
            self._update_best(logs)
        else:
            self.fail(logs)
        waits = self.n_epochs in self.trial.rungs and not self.is_over
        return EpochReport(self.trial.key, self.n_epochs, logs, waits)

    def fail(self, logs: Logs) -> None:
        """End the trial as failed, because numbers among `logs` are NaN or infinite."""
        self.state, self.is_over = State.FAILED, True
        wrong = ", ".join(f"{name} is {value}" for name, value in logs.items() if not math.isfinite(value))
        self.reason = f"nan: {wrong} at epoch {self.n_epochs}"

    def prune(self) -> None:
        self.state, self.is_over = State.PRUNED, True
        self.reason = f"pruned at the rung after epoch {self.n_epochs}"

    def make_result(
        self,
        on_train: Logs,
        *,
        params_count: int,
        train_seconds: float,
        ended_at: float,
        provenance: dict[str, str],
    ) -> TrialResult:
        """Return the trial's result; a failed one if its metrics are not finite.

        on_train: metrics of the best weights on all training rows; empty unless the trial is complete.
        The validation metrics are those measured at the best epoch, and settled ones.
        """
        best = {} if self.state == State.FAILED else self.history[self.best_epoch - 1]
        metrics = {name: value for name, value in best.items() if name.startswith("val_")} | on_train
        if self.state != State.FAILED:
            metrics |= settle(self.history)
        if not is_finite(metrics):
            self.fail(metrics)
            metrics = {}
        return TrialResult(
            key=self.trial.key,
            state=self.state,
            reason=self.reason,
            history=self.history,
            epoch_ended_at=self.epoch_ended_at,
            best_epoch=self.best_epoch,
            metrics=metrics,
            params_count=params_count,
            train_seconds=train_seconds,
            started_at=self.started_at,
            ended_at=ended_at,
            provenance=provenance,
        )

    def _update_best(self, logs: Logs) -> None:
        epoch = self.n_epochs
        self.is_over = epoch >= self.training.max_epochs
        rule = self.training.early_stopping
        if rule is None:
            self.best_epoch = epoch
            return
        self._patience = self._patience.update(epoch, logs[rule.monitor], rule)
        self.is_over |= self._patience.is_over(rule)
        self.best_epoch = self._patience.best_epoch


def is_finite(logs: Logs) -> bool:
    return all(map(math.isfinite, logs.values()))
