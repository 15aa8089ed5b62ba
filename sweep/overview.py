"""What a study has come to, from its record and its folders. Reads alone: safe while another process trains the study."""

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sweep.errors import MissingRunsError
from sweep.layout import RunsDir
from sweep.record import results
from sweep.record.hold import find_holder
from sweep.record.storage import list_recorded
from sweep.record.trials import Course, RecordedTrial, read_stored
from sweep.search.budget import measure_union
from sweep.study.objective import cost
from sweep.trial import Phase, State


@dataclass(frozen=True)
class Overview:
    """A study as its record has it at one moment."""

    name: str
    objective: str  # the metric that its trials are ranked by
    trials: tuple[RecordedTrial, ...]  # replicates last
    holder: str | None  # the process that is at work on it
    is_half_deleted: bool

    @property
    def state(self) -> str:
        """One word or two: half deleted, running, interrupted (trials were begun, and nobody trains them), or idle."""
        if self.is_half_deleted:
            return "half deleted"
        if self.holder is not None:
            return "running"
        return "interrupted" if self.unfinished else "idle"

    @property
    def unfinished(self) -> tuple[RecordedTrial, ...]:
        """Trials that were claimed and have not ended: those that train now, where a process is at work."""
        return tuple(one for one in self.trials if one.state is None)

    @cached_property
    def ranked(self) -> tuple[RecordedTrial, ...]:
        """The trials of the search and the baselines, best first; then those pruned, failed and unfinished, by number."""
        return tuple(sorted((one for one in self.trials if one.trial.phase != Phase.CONFIRM), key=self._rank))

    @property
    def best(self) -> RecordedTrial | None:
        """The best complete trial, replicates apart."""
        return next((one for one in self.ranked[:1] if one.state == State.COMPLETE), None)

    @property
    def courses(self) -> tuple[Course, ...]:
        return tuple(one.course for one in self.trials if one.course is not None)

    @property
    def n_epochs(self) -> int:
        """Epochs of the trials that have ended."""
        return sum(course.n_epochs for course in self.courses)

    @property
    def trained_s(self) -> float:
        """Seconds of wall clock in which any trial that has ended was training."""
        return measure_union((course.started_at, course.ended_at) for course in self.courses)

    def count(self, state: State, *, replicates: bool = False) -> int:
        """Count the trials that ended in `state`, of the search or of the confirmation."""
        return sum(one.state == state and (one.trial.phase == Phase.CONFIRM) == replicates for one in self.trials)

    def _rank(self, one: RecordedTrial) -> tuple[int, float, int]:
        place = (State.COMPLETE, State.PRUNED, State.FAILED, None).index(one.state)
        is_ranked = one.state == State.COMPLETE and one.value is not None
        return place, cost(self.objective, one.value) if is_ranked and one.value is not None else 0.0, one.trial.number


def to_row(one: RecordedTrial, objective: str) -> dict[str, Any]:
    """Return what is known of a trial by name, each value of its config too; None for what it has not come to."""
    trial, course = one.trial, one.course
    return {
        "number": trial.number,
        "phase": str(trial.phase),
        "name": trial.name,
        "state": one.state or "unfinished",
        objective: one.value,
        "epochs": None if course is None else course.n_epochs,
        "seconds": None if course is None else course.ended_at - course.started_at,
        "seed": trial.seed,
        **trial.config.params(),
    }


def list_studies(runs: RunsDir) -> list[str]:
    """Return the names of the studies that a runs directory holds, half deleted ones too. Raises RecordError."""
    folder = runs.results("any").parent
    found = {path.name for path in folder.iterdir() if path.is_dir()} if folder.is_dir() else set()
    return sorted(set(list_recorded(runs.record)) | {name for name in found if not name.startswith(".")})


def read_overview(runs: RunsDir, name: str) -> Overview:
    """Read what a study has come to. Raises MissingRunsError where there is none of that name, RecordError."""
    identity, trials = read_stored(runs.record, name)
    is_half_deleted = (runs.results(name) / results.DELETING).exists()
    if not identity and not trials and not runs.results(name).is_dir():
        raise MissingRunsError(f"{runs.record}: holds no study {name!r}; `list` shows those that it holds")
    objective = identity.get("objective", "val_accuracy")
    return Overview(name, objective, tuple(trials), find_holder(runs, name), is_half_deleted)


def measure_size(runs: RunsDir, name: str) -> int:
    """Return the bytes of a study's files, its exported champion included. A file of several names counts once."""
    folders = (
        runs.artifacts(name), runs.results(name), runs.reports(name), runs.logs(name), runs.given(name), runs.exports(name)
    )  # fmt: skip
    return sum({(one.st_dev, one.st_ino): one.st_size for one in _stat_files(folders)}.values())


def _stat_files(folders: Iterable[Path]) -> Iterable[os.stat_result]:
    for folder in folders:
        for parent, _, names in os.walk(folder):
            for name in names:
                with suppress(FileNotFoundError):  # a draft that has its name by now
                    found = os.lstat(os.path.join(parent, name))
                    if stat.S_ISREG(found.st_mode):
                        yield found
