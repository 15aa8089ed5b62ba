"""Trials as MLflow's runs, both ways: `to_run` and `from_run`."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sweep.data.facts import DataFacts
from sweep.errors import DamagedResultError
from sweep.record import results
from sweep.study.config import Config
from sweep.study.schema import Study
from sweep.track.errors import REWRITE
from sweep.track.mlflow_api import MLFLOW_PARENT_RUN_ID, Dataset, DatasetInput, InputTag, Metric, Run
from sweep.trial import Ended, Logs, Phase, State, Trial, TrialResult

EPOCH = "epoch/"  # prefix of learning curves; metrics without it belong to the finished model
# Tags that identify a trial. All others that are not MLflow's own are its provenance.
TRIAL_TAGS = (
    "key", "study", "phase", "state", "reason", "trial", "attempt", "seed", "config", "data_sha256", "name", "replicate",
    "promoted_from", "model",
)  # fmt: skip
NO_MODEL = "not kept"  # the tag `model` of a trial that saved none
COUNTS = ("best_epoch", "epochs", "train_seconds", "params_count")


@dataclass(frozen=True)
class NewRun:
    """Everything that a run is created with. Metrics are finite, times are milliseconds since 1970."""

    name: str
    started_at: int
    tags: dict[str, str]
    params: dict[str, str]
    metrics: Sequence[Metric]
    inputs: Sequence[DatasetInput]


@dataclass(frozen=True, kw_only=True)
class TrackedTrial:
    """A trial that ended, as MLflow has it."""

    run_id: str
    trial: Trial  # without its rungs, which no run keeps
    state: State
    reason: str  # why it failed or where it was pruned
    metrics: Logs  # of the finished model: those of its result, running means, test metrics
    best_epoch: int  # the epoch whose weights the model has, counted from 1; 0 where there is none
    n_epochs: int
    train_seconds: float  # wall clock
    started_at: float  # UTC seconds since 1970
    ended_at: float
    params_count: int
    provenance: dict[str, str]  # code, libraries, processor, engine

    @property
    def engine(self) -> str | None:
        """The engine that trained it; None in runs that do not say."""
        return self.provenance.get("engine")


def to_run(ended: Ended, study: Study, facts: DataFacts, parent: str) -> NewRun:
    """Describe a trial that ended as a run below `parent`, the id of the study's parent run.

    The final metrics of a trial with a logged model are left out: they are logged together with the model.
    """
    trial, result = ended.trial, ended.result
    return NewRun(
        name=trial.label,
        started_at=to_ms(result.started_at),
        tags=_tags(trial, result, study, facts) | {MLFLOW_PARENT_RUN_ID: parent},
        params=_params(trial.config, study),
        metrics=[*_summary_metrics(ended), *_curves(result)],
        inputs=list(_inputs(facts, is_scored=ended.score is not None)),
    )


def from_run(run: Run) -> TrackedTrial:
    """Read the trial that `to_run` described. Raises DamagedResultError where the run is not what was written."""
    tags, metrics = run.data.tags, run.data.metrics
    try:
        trial = Trial(
            number=int(tags["trial"]),
            phase=Phase(tags["phase"]),
            config=Config.from_params(run.data.params),
            seed=int(tags["seed"]),
            attempt=int(tags["attempt"]),
            name=tags.get("name", ""),
            replicate=int(tags["replicate"]) if "replicate" in tags else None,
            promoted_from=int(tags["promoted_from"]) if "promoted_from" in tags else None,
            keeps_model=tags.get("model") != NO_MODEL,
        )
        if (tags["key"], tags["config"]) != (trial.key, trial.config.key):
            raise ValueError(f"its key is {tags['key']} and its config {tags['config']}")
        return TrackedTrial(
            run_id=str(run.info.run_id),
            trial=trial,
            state=State(tags["state"]),
            reason=tags.get("reason", ""),
            metrics={
                name: value for name, value in metrics.items() if not name.startswith(EPOCH) and name not in COUNTS
            },
            best_epoch=int(metrics["best_epoch"]),
            n_epochs=int(metrics["epochs"]),
            train_seconds=metrics["train_seconds"],
            started_at=run.info.start_time / 1000,
            ended_at=run.info.end_time / 1000,
            params_count=int(metrics["params_count"]),
            provenance={
                name: value for name, value in tags.items() if name not in TRIAL_TAGS and not name.startswith("mlflow.")
            },
        )
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise DamagedResultError(f"run {run.info.run_id}: not what was written ({error}); {REWRITE}") from error


def to_ms(seconds: float) -> int:
    """Convert seconds since 1970 to MLflow's milliseconds."""
    return round(seconds * 1000)


def final_metrics(ended: Ended) -> Logs:
    """Collect the metrics that a trial ends with: of its result, running means, test metrics."""
    return {**ended.result.metrics, **_running_means(ended.result), **(ended.score.metrics if ended.score else {})}


def has_logged_model(ended: Ended) -> bool:
    """Return whether a trial's model is logged as a model of MLflow at once, rather than kept as a file of its run."""
    return results.MODEL in ended.result.files and not is_archived(ended.trial.phase, ended.result.provenance)


def is_archived(phase: str, made_with: Mapping[str, str]) -> bool:
    """Return whether a model is a file of its run at first: cohorts end trials faster than MLflow takes logged models."""
    return phase == Phase.SEARCH and made_with.get("engine") == "cohort"


def _tags(trial: Trial, result: TrialResult, study: Study, facts: DataFacts) -> dict[str, str]:
    tags = {
        "key": trial.key,
        "study": study.name,
        "phase": str(trial.phase),
        "state": str(result.state),
        "reason": result.reason,
        "trial": str(trial.number),
        "attempt": str(trial.attempt),
        "seed": str(trial.seed),
        "config": trial.config.key,
        "data_sha256": facts.sha256,
        "name": trial.name,
        "replicate": "" if trial.replicate is None else str(trial.replicate),
        "promoted_from": "" if trial.promoted_from is None else str(trial.promoted_from),
        "model": "" if trial.keeps_model else NO_MODEL,
        **result.provenance,
    }
    return {name: value for name, value in tags.items() if value != ""}


def _params(config: Config, study: Study) -> dict[str, str]:
    training = study.training
    goal = {name: value for name in ("loss", "class_weight") if (value := getattr(training, name)) is not None}
    stopping = {} if training.early_stopping is None else training.early_stopping.model_dump()
    params = {**config.params(), "precision": training.precision}
    params |= {"max_epochs": training.max_epochs, **goal, **stopping}
    return {name: str(value) for name, value in params.items()}


def _summary_metrics(ended: Ended) -> Iterator[Metric]:
    result = ended.result
    finals = {} if has_logged_model(ended) else final_metrics(ended)
    counts = (result.best_epoch, len(result.history), result.train_seconds, result.params_count)
    at = to_ms(result.ended_at)
    for name, value in {**finals, **dict(zip(COUNTS, counts, strict=True))}.items():
        if math.isfinite(value):
            yield Metric(name, value, at, result.best_epoch)


def _curves(result: TrialResult) -> Iterator[Metric]:
    """Yield each epoch's logs at its step. Values that are no numbers are left out; the reason tag tells them."""
    for epoch, (logs, ended_at) in enumerate(zip(result.history, result.epoch_ended_at, strict=True), start=1):
        for name, value in logs.items():
            if math.isfinite(value):
                yield Metric(f"{EPOCH}{name}", value, to_ms(ended_at), epoch)


def _running_means(result: TrialResult) -> Logs:
    """Return loss and metrics as `fit` reports them for the epoch whose weights are kept: means over its moving weights."""
    if result.state == State.FAILED:
        return {}
    logs = result.history[result.best_epoch - 1]
    return {f"running_{name}": value for name, value in logs.items() if not name.startswith("val_")}


def _inputs(facts: DataFacts, is_scored: bool) -> Iterator[DatasetInput]:
    """Yield the rows that a run saw, by part. The digest is our own SHA-256: MLflow's covers the first rows only."""
    parts = {"training": facts.n_train, "validation": facts.n_validation, "test": facts.n_test if is_scored else 0}
    schema = {"n_features": facts.n_features}
    if facts.task == "classification":
        schema["n_classes"] = facts.n_classes
    for part, n_rows in parts.items():
        if n_rows:
            dataset = Dataset(
                name=facts.name,
                digest=f"{facts.sha256[:24]}-{part[:5]}",
                source_type="local",
                source=json.dumps({"uri": facts.name, "sha256": facts.sha256}),
                profile=json.dumps({"num_rows": n_rows, **schema}),
            )
            yield DatasetInput(dataset, [InputTag("mlflow.data.context", part)])
