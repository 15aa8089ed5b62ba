"""Trains one run again from its record, and measures how near the result comes."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from sweep.data.facts import DataFacts
from sweep.errors import InvalidDataError, MissingRunsError, WorkersError
from sweep.execute.executor import Executor
from sweep.record import results
from sweep.study.objective import IN_UNIT_OF_LABEL, is_gain
from sweep.track.fields import TrackedTrial
from sweep.track.runs import TrackedStudy
from sweep.train.weights import read_weights
from sweep.trial import CohortReport, EpochReport, Logs, State, Trial, TrialResult, WorkerDied

# Another processor rounds differently, and training amplifies that. Within these a run is the same for all practical purposes.
OF_GAIN, OF_LOSS, OF_ERROR = 0.005, 0.05, 0.02  # an error as a share of the label's standard deviation
POLL_S = 1.0

Outcome = Literal["bit-equal", "within tolerance", "different"]
StartExecutor = Callable[[Path], Executor]  # takes the folder for results


@dataclass(frozen=True)
class Replay:
    """A run compared with itself, trained again."""

    outcome: Outcome
    n_epochs: tuple[int, int]  # recorded, replayed
    figures: dict[str, tuple[float, float]]  # of the finished model, by metric: recorded, replayed
    epochs_differ_by: dict[str, float]  # largest difference of any epoch, by metric
    weights_differ_by: float | None  # largest difference of any weight; None of a run that kept no model

    @property
    def lines(self) -> list[str]:
        """The outcome and its figures, line by line, for people."""
        recorded, replayed = self.n_epochs
        return [
            f"{self.outcome}: {recorded} epochs recorded, {replayed} replayed",
            *(
                f"  {metric}: {before!r} recorded, {after!r} replayed"
                for metric, (before, after) in self.figures.items()
            ),
            *(f"  {metric}: by {by:.3g} at most in any epoch" for metric, by in self.epochs_differ_by.items()),
            "  weights: not compared, the run kept no model"
            if self.weights_differ_by is None
            else f"  weights: by {self.weights_differ_by:.3g} at most",
        ]


def replay(tracked: TrackedStudy, again: TrackedTrial, facts: DataFacts, start_executor: StartExecutor) -> Replay:
    """Train a trial of a study again, on the data of `facts`. Raises MissingRunsError, InvalidDataError, WorkersError."""
    run_id = again.run_id
    if again.state == State.FAILED:
        raise MissingRunsError(f"run {run_id}: not a complete or pruned trial of study {tracked.study.name!r}")
    if facts.sha256 != tracked.facts.sha256:
        raise InvalidDataError(f"the data has changed since run {run_id} was trained (sha256); restore the file")
    if facts.scaling != tracked.facts.scaling:
        raise InvalidDataError(
            f"run {run_id} cannot be trained again: its numbers were scaled as an earlier version did, "
            f"by {tracked.facts.scaling!r}, for which this one has {facts.scaling!r}"
        )
    with tempfile.TemporaryDirectory() as folder:
        executor = start_executor(Path(folder))
        try:
            result = _train(_with_rungs(again), executor)
        finally:
            executor.close()
        if result.state != again.state:
            raise WorkersError(f"run {run_id} was {again.state}; trained again it is {result.state}: {result.reason}")
        after = Path(folder) / result.key / results.MODEL
        distance = _weights_distance(tracked.files.saved_model(run_id), after) if again.trial.keeps_model else None
    unit = 1.0 if facts.target is None else facts.target.spread
    return _compare(again, tracked.files.history(run_id), result, distance, unit)


def _with_rungs(tracked: TrackedTrial) -> Trial:
    """Return the trial to train. One that was pruned waits for its verdict where it was pruned."""
    rungs = (tracked.n_epochs,) if tracked.state == State.PRUNED else ()
    return replace(tracked.trial, rungs=rungs)


def _train(trial: Trial, executor: Executor) -> TrialResult:
    executor.submit(trial)
    while True:
        match executor.wait(POLL_S):
            case TrialResult() as result:
                return result
            case EpochReport(key, _, _, True) | CohortReport((EpochReport(key, _, _, True),)):
                executor.answer(key, goes_on=False)
            case WorkerDied(_, reason):
                raise WorkersError(f"{trial.key} could not be trained again: {reason}")


def _compare(
    tracked: TrackedTrial, recorded: list[Logs], result: TrialResult, weights: float | None, unit: float
) -> Replay:
    figures = {metric: (tracked.metrics[metric], value) for metric, value in result.metrics.items()}
    epochs: dict[str, float] = {}
    for before, after in zip(recorded, result.history, strict=False):
        for metric in before:
            epochs[metric] = max(epochs.get(metric, 0.0), abs(before[metric] - after[metric]))
    is_as_long = len(recorded) == len(result.history)
    differences = [*epochs.values(), *(abs(before - after) for before, after in figures.values()), weights or 0.0]
    is_near = all(abs(before - after) <= _tolerance(metric, unit) for metric, (before, after) in figures.items())
    outcome: Outcome = (
        "bit-equal" if is_as_long and not any(differences) else "within tolerance" if is_near else "different"
    )
    return Replay(outcome, (len(recorded), len(result.history)), figures, epochs, weights)


def _tolerance(metric: str, unit: float) -> float:
    """Return how far a metric may be off. unit: standard deviation of the labels that errors are in the unit of."""
    return OF_ERROR * unit if metric.endswith(IN_UNIT_OF_LABEL) else OF_GAIN if is_gain(metric) else OF_LOSS


def _weights_distance(before: Path, after: Path) -> float:
    """Return the largest absolute difference of any weight of two models of one config."""
    first, second = read_weights(before), read_weights(after)
    return max(float(np.abs(first[name] - second[name]).max()) for name in first)
