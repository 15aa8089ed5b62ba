"""Train one trial on the TensorFlow engine, from its first epoch to its result."""

import time
from pathlib import Path

from sweep.data.prepared import PreparedData, open_scaling, open_training_split
from sweep.study.config import Config
from sweep.study.training import Training
from sweep.train.artifacts import save_result
from sweep.train.course import Clock, Course, is_finite
from sweep.train.graph.trainer import GraphTrainer, Rows
from sweep.train.measures import prefix
from sweep.trial import GoesOn, Logs, State, Trial, TrialResult


class Fitter:
    """Trains trials, one after another, on one data set, which it keeps in memory."""

    def __init__(
        self,
        data: PreparedData,
        training: Training,
        provenance: dict[str, str],
        clock: Clock = time.time,
        ranked: tuple[str, ...] = (),
    ) -> None:
        """Map the rows. ranked: metrics to measure on validation rows after every epoch, see `ranked.measure_ranked`."""
        self._ranked = ranked
        self._facts = data.facts
        self._training = training
        self._provenance = provenance
        self._clock = clock
        self._train = Rows.of(open_training_split(data, "train"))
        has_validation = data.facts.n_validation > 0
        self._validation = Rows.of(open_training_split(data, "validation")) if has_validation else None
        self._scaling = open_scaling(data)

    def fit(self, trial: Trial, goes_on: GoesOn, folder: Path) -> TrialResult:
        """Train `trial`, save its result, model and curves as `folder`, and return the result.

        `goes_on` receives each epoch's report; False prunes the trial. A trial that diverges has a failed result.
        """
        course = Course(trial, self._training, started_at=self._clock())
        trainer = GraphTrainer(
            trial.config,
            self._facts,
            self._train,
            trial.seed,
            self._training.max_epochs,
            self._training.precision,
            loss=self._training.loss,
            is_balanced=self._training.class_weight == "balanced",
        )
        best_weights = None
        while not course.is_over:
            report = course.add(self._train_epoch(trainer), self._clock())
            if course.is_best and self._training.early_stopping is not None:
                best_weights = trainer.net.get_weights()
            if not goes_on(report):
                course.prune()
        train_seconds = self._clock() - course.started_at
        if best_weights is not None and not course.is_best:
            trainer.net.set_weights(best_weights)
        result = course.make_result(
            self._evaluate_on_train(trainer) if course.state == State.COMPLETE else {},  # a pass over all rows
            params_count=trainer.net.count_params(),
            train_seconds=train_seconds,
            ended_at=self._clock(),
            provenance=self._provenance,
        )
        return save_result(folder, trial, result, trainer.net, self._facts, self._scaling)

    def warm_up(self) -> None:
        """Train a tiny net on a few rows, so that the process loads in advance what its first training needs."""
        config = Config(units=(8,), dropout=0.5, batch_size=128, learning_rate=0.001)
        few = self._train.head(256)
        trainer = GraphTrainer(config, self._facts, few, seed=0, max_epochs=1)
        trainer.train_epoch()
        trainer.evaluate(few)

    def _train_epoch(self, trainer: GraphTrainer) -> Logs:
        logs = trainer.train_epoch()
        if self._validation is not None and is_finite(logs):
            logs |= prefix(trainer.evaluate(self._validation), "val_")
            if self._ranked and is_finite(logs):
                logs |= prefix(self._measure_ranked(trainer, self._validation), "val_")
        return logs

    def _measure_ranked(self, trainer: GraphTrainer, rows: Rows) -> Logs:
        from sweep.train.ranked import measure_ranked  # here: a second that most studies do without

        return measure_ranked(self._ranked, trainer.predict(rows), rows.y.numpy())

    def _evaluate_on_train(self, trainer: GraphTrainer) -> Logs:
        return prefix(trainer.evaluate(self._train), "train_")
