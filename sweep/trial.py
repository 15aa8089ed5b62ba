"""Records that pass between folders: a trial, its reports while it trains, its result."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from sweep.study.config import Config


class Phase(StrEnum):
    """Reason why a trial is trained."""

    BASELINE = "baseline"  # given by hand
    SEARCH = "search"  # proposed by the sampler
    CONFIRM = "confirm"  # a replicate of a finalist


class State(StrEnum):
    """State in which a trial ended."""

    COMPLETE = "complete"
    PRUNED = "pruned"  # stopped at a rung
    FAILED = "failed"


# Metric name -> value at one epoch: loss, accuracy, and the same with val_ where there are validation rows.
Logs = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One config, tried once: in the search, or as a replicate of a finalist."""

    number: int  # counts from 0 within its record (search or confirmation)
    phase: Phase
    config: Config
    seed: int
    attempt: int = 1  # 2 and up after a crash or an interruption
    name: str = ""  # of the baseline, or of the finalist that a replicate repeats
    replicate: int | None = None  # 1 and up; None in the search
    promoted_from: int | None = None  # number of the probe whose config and seed it trains to the end
    rungs: tuple[int, ...] = ()  # epochs at which it waits to hear whether it goes on
    keeps_model: bool = True  # whether its model is saved with its result

    @property
    def key(self) -> str:
        """Key, unique within the study. It names the result folder and the MLflow run."""
        kind = "trial" if self.replicate is None else "replicate"
        return f"{kind}-{self.number:05d}"

    @property
    def label(self) -> str:
        """Run name for people, such as `12 · 400-100 · drop 0.31 · bs 128`."""
        if self.replicate is not None:
            return f"{self.name} · {self.config.units_label} · replicate {self.replicate}"
        origin = self.name or (f"from {self.promoted_from}" if self.promoted_from is not None else "")
        return f"{self.number} · {origin + ' · ' if origin else ''}{self.config.label}"


@dataclass(frozen=True)
class EpochReport:
    """A report of a trial after `epoch` epochs (counted from 1). At a rung its worker waits for a verdict."""

    key: str
    epoch: int
    logs: Logs
    waits: bool = False


@dataclass(frozen=True)
class CohortReport:
    """Reports of one epoch of trials that train in step. At a rung, all are peers before any has its verdict."""

    reports: tuple[EpochReport, ...]


@dataclass(frozen=True)
class WorkerDied:
    """A report that the process that trained this trial died without a result."""

    key: str
    reason: str
    blames_trial: bool = True  # False where the machine was lost: any trial would have been


@dataclass(frozen=True)
class CannotStore:
    """A report that a worker could not write a result, because the disk is full, say. The trial is not to blame."""

    key: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """Result of a trial. `history[k - 1]` is of epoch k; durations are wall clock, times UTC seconds since 1970."""

    key: str
    state: State
    started_at: float
    ended_at: float
    reason: str = ""  # why it failed or where it was pruned
    history: list[Logs] = field(default_factory=list)
    epoch_ended_at: list[float] = field(default_factory=list)
    best_epoch: int = 0  # the model has the weights of this epoch, counted from 1
    metrics: Logs = field(default_factory=dict)  # of the restored model, evaluated: train_loss, ..., val_accuracy
    params_count: int = 0
    train_seconds: float = 0.0
    provenance: dict[str, str] = field(default_factory=dict)  # see `record/provenance.py`
    files: dict[str, str] = field(default_factory=dict)  # name in the result folder -> sha256

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TrialResult":
        """Rebuild a result from `to_dict`. Raises KeyError, TypeError or ValueError if `values` is no result."""
        result = cls(**{**values, "state": State(values["state"])})
        result._check()
        return result

    def _check(self) -> None:
        """Raise ValueError for what no engine gives. It may come from another hand, and counts and names are relied on."""
        check_history(self.history)
        check_logs(self.metrics)
        numbers = (self.started_at, self.ended_at, self.train_seconds, *self.epoch_ended_at)
        if not all(map(_is_number, numbers)) or len(self.epoch_ended_at) != len(self.history):
            raise ValueError("its times are no numbers, or not one an epoch")
        if not all(type(n) is int and 0 <= n < 2**53 for n in (self.best_epoch, self.params_count)):
            raise ValueError("best_epoch or params_count is no count")
        if self.state != State.FAILED and not 1 <= self.best_epoch <= len(self.history):
            raise ValueError("best_epoch is none of its epochs")
        if not all(isinstance(text, str) for text in (self.key, self.reason)):
            raise ValueError("key or reason is no text")
        for texts in (self.provenance, self.files):
            if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
                raise ValueError("provenance or files is no table of texts")

    @classmethod
    def failed(
        cls, key: str, reason: str, *, started_at: float, ended_at: float, provenance: dict[str, str] | None = None
    ) -> "TrialResult":
        """Make the result of a trial that could not be trained."""
        return cls(
            key=key,
            state=State.FAILED,
            reason=reason,
            started_at=started_at,
            ended_at=ended_at,
            provenance=provenance or {},
        )


def check_history(history: Any) -> None:
    """Raise ValueError unless `history` is a list of the logs of each epoch."""
    if not isinstance(history, list):
        raise ValueError("its history is no list")
    for logs in history:
        check_logs(logs)


def check_logs(logs: Any) -> None:
    """Raise ValueError unless `logs` is a table of numbers."""
    if not isinstance(logs, dict) or not all(map(_is_number, logs.values())):
        raise ValueError("logs or metrics are no table of numbers")


def _is_number(value: object) -> bool:
    """Return whether `value` is a float, NaN too, or a whole number that one holds."""
    return isinstance(value, float) or (type(value) is int and abs(value) < 2**53)


@dataclass(frozen=True)
class Score:
    """Score of a replicate on the sealed test split."""

    metrics: Logs  # test_loss, test_accuracy
    files: dict[str, str]  # name in the result folder -> sha256


@dataclass(frozen=True)
class Ended:
    """A trial that ended, with everything that is tracked of it."""

    trial: Trial
    result: TrialResult
    score: Score | None  # of a scored replicate


TrialEvent = EpochReport | WorkerDied | TrialResult
Event = TrialEvent | CohortReport
# Called with every epoch of a trial; False stops it as pruned.
GoesOn = Callable[[EpochReport], bool]
# Called with one epoch of a cohort; returns, by key, whether each waiting trial goes on.
Judge = Callable[[list[EpochReport]], dict[str, bool]]
