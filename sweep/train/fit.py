"""One trial from its first epoch to its result: early stopping, pruning, NaN, best weights."""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from sweep import results
from sweep.config import Config
from sweep.data import PreparedData, open_training_split
from sweep.pictures import draw_curves
from sweep.study import Training
from sweep.train.graph import GraphTrainer, Rows
from sweep.train.stopping import Patience
from sweep.trial import EpochReport, GoesOn, Logs, State, Trial, TrialResult

Clock = Callable[[], float]


class Fitter:
    """Trains trials on one data set, which it holds for as long as it lives."""

    def __init__(
        self, data: PreparedData, training: Training, provenance: dict[str, str], clock: Clock = time.time
    ) -> None:
        self._facts = data.facts
        self._training = training
        self._provenance = provenance
        self._clock = clock
        self._train = Rows.of(open_training_split(data, "train"))
        has_validation = data.facts.n_validation > 0
        self._validation = Rows.of(open_training_split(data, "validation")) if has_validation else None
        self._moments = None if data.facts.scaling == "pixels" else self._train.moments()

    def fit(self, trial: Trial, goes_on: GoesOn, folder: Path) -> TrialResult:
        """Train `trial` and leave its result, model and curves as `folder`. A trial that diverges is a failed result."""
        started_at = self._clock()
        trainer = GraphTrainer(trial.config, self._facts, self._train, trial.seed, self._moments)
        course = _Course(trainer, self._training)
        while not course.is_over:
            logs = trainer.train_epoch()
            if self._validation is not None and _is_finite(logs):
                logs["val_loss"], logs["val_accuracy"] = trainer.evaluate(self._validation)
            course.add(logs, self._clock())
            epoch = len(course.history)
            waits = epoch in trial.rungs and not course.is_over
            if not goes_on(EpochReport(trial.key, epoch, logs, waits)):
                course.prune()
        train_seconds = self._clock() - started_at
        course.restore_best()
        metrics = self._final_metrics(trainer, course)
        if not _is_finite(metrics):
            course.fail(metrics)
            metrics = {}
        result = TrialResult(
            key=trial.key,
            state=course.state,
            reason=course.reason,
            history=course.history,
            epoch_ended_at=course.epoch_ended_at,
            best_epoch=course.best_epoch,
            metrics=metrics,
            params_count=trainer.model.count_params(),
            train_seconds=train_seconds,
            started_at=started_at,
            ended_at=self._clock(),
            provenance=self._provenance,
        )
        return results.save(folder, result, lambda draft: _write_files(draft, trainer.model, result, trial))

    def warm_up(self) -> None:
        """Load what a process loads at its first training, by training a tiny net on a few of the rows."""
        config = Config(units=(8,), dropout=0.5, batch_size=128, learning_rate=0.001)
        few = self._train.head(256)
        trainer = GraphTrainer(config, self._facts, few, seed=0, moments=self._moments)
        trainer.train_epoch()
        trainer.evaluate(few)

    def _final_metrics(self, trainer: GraphTrainer, course: "_Course") -> Logs:
        """Of the restored weights: validation as it was measured at that epoch, train evaluated now unless pruned or failed."""
        if course.state == "failed":
            return {}
        best = course.history[course.best_epoch - 1]
        metrics = {name: value for name, value in best.items() if name.startswith("val_")}
        if course.state == "complete":
            metrics["train_loss"], metrics["train_accuracy"] = trainer.evaluate(self._train)
        return metrics


class _Course:
    """How far a trial has come, and the weights of its best epoch."""

    def __init__(self, trainer: GraphTrainer, training: Training) -> None:
        self._trainer = trainer
        self._training = training
        self._patience = Patience()
        self._best_weights: list[Any] | None = None
        self.history: list[Logs] = []
        self.epoch_ended_at: list[float] = []
        self.best_epoch = 0
        self.state: State = "complete"
        self.reason = ""
        self.is_over = False

    def add(self, logs: Logs, now: float) -> None:
        self.history.append(logs)
        self.epoch_ended_at.append(now)
        epoch = len(self.history)
        if not _is_finite(logs):
            self.fail(logs)
            return
        self.is_over = epoch >= self._training.max_epochs
        rule = self._training.early_stopping
        if rule is None:
            self.best_epoch = epoch
            return
        self._patience = self._patience.after(epoch, logs[rule.monitor], rule)
        self.is_over |= self._patience.is_over(rule)
        if self._patience.best_epoch == epoch:
            self.best_epoch = epoch
            self._best_weights = self._trainer.model.get_weights()

    def fail(self, logs: Logs) -> None:
        """Numbers among `logs` are NaN or infinite."""
        self.state, self.is_over = "failed", True
        wrong = ", ".join(f"{name} is {value}" for name, value in logs.items() if not math.isfinite(value))
        self.reason = f"nan: {wrong} at epoch {len(self.history)}"

    def prune(self) -> None:
        self.state, self.is_over = "pruned", True
        self.reason = f"pruned at the rung after epoch {len(self.history)}"

    def restore_best(self) -> None:
        if self._best_weights is not None and self.best_epoch != len(self.history):
            self._trainer.model.set_weights(self._best_weights)


def _is_finite(logs: Logs) -> bool:
    return all(map(math.isfinite, logs.values()))


def _write_files(draft: Path, model: keras.Model, result: TrialResult, trial: Trial) -> None:
    (draft / results.HISTORY).write_text(json.dumps(result.history, indent=1))
    (draft / results.SUMMARY).write_text(_summary(model))
    if len(result.history) > 0:
        draw_curves(result.history, trial.label, result.best_epoch, draft / results.CURVES)
    if result.state != "failed":
        model.save(draft / results.MODEL)


def _summary(model: keras.Model) -> str:
    lines: list[str] = []
    model.summary(line_length=80, print_fn=lines.append)
    return "\n".join(lines)
