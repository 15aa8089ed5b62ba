"""Fake engines and a fake executor: they train nothing and return made-up learning curves at once."""

import json
import math
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from sweep.record import results
from sweep.study.config import Config, derive_seed
from sweep.study.objective import settle
from sweep.trial import EpochReport, Event, GoesOn, Judge, Logs, State, Trial, TrialResult

Curve = Callable[[Config, int, int], Logs]  # (config, seed, epoch) -> that epoch's logs
CLOCK_START = 1_700_000_000.0  # UTC seconds at which trial 0 starts
TRIAL_S = 100.0  # from the start of each trial to that of the next


def plausible_logs(config: Config, seed: int, epoch: int) -> Logs:
    """Make up one epoch of a learning curve that depends on the config: best at 3 layers of 200, with noise by seed."""
    quality = 0.95 - 0.01 * abs(config.hidden_layers - 3) - 0.02 * abs(math.log10(config.units[0] / 200))
    noise = derive_seed(seed, epoch) / 2**32 * 0.004
    accuracy = quality * (1 - math.exp(-epoch)) + noise
    return {"loss": 1.1 - accuracy, "accuracy": accuracy, "val_loss": 1.05 - accuracy, "val_accuracy": accuracy}


class FakeEngine:
    """See `worker.Engine`. Its results follow from the trial alone; its clock advances one second per epoch.

    files: content by name, saved beside the history of every result that did not fail.
    """

    def __init__(
        self, max_epochs: int = 5, curve: Curve = plausible_logs, files: Mapping[str, bytes] | None = None
    ) -> None:
        self._max_epochs = max_epochs
        self._curve = curve
        self._files = files or {}

    def warm_up(self) -> None:
        """Do nothing."""

    def fit(self, trial: Trial, goes_on: GoesOn, folder: Path) -> TrialResult:
        epochs = self.train(trial)
        report = next(epochs)
        while isinstance(report, EpochReport):
            report = epochs.send(goes_on(report))
        return self.save(trial, report, folder)

    def train(self, trial: Trial) -> Generator[EpochReport | TrialResult, bool | None, None]:
        """Yield a report per epoch, which takes whether the trial goes on; then yield the result."""
        started_at = now = CLOCK_START + TRIAL_S * trial.number
        history: list[Logs] = []
        ended_at: list[float] = []
        is_pruned = is_bad = False
        while len(history) < self._max_epochs and not is_pruned and not is_bad:
            now += 1
            history.append(self._curve(trial.config, trial.seed, len(history) + 1))
            ended_at.append(now)
            is_bad = not all(map(math.isfinite, history[-1].values()))
            waits = len(history) in trial.rungs and len(history) < self._max_epochs and not is_bad
            is_pruned = not (yield EpochReport(trial.key, len(history), history[-1], waits))
        last = history[-1]
        yield TrialResult(
            key=trial.key,
            state=State.FAILED if is_bad else State.PRUNED if is_pruned else State.COMPLETE,
            reason=f"nan: {last}" if is_bad else "pruned by whoever asked" if is_pruned else "",
            history=history,
            epoch_ended_at=ended_at,
            best_epoch=0 if is_bad else len(history),
            metrics={} if is_bad else _metrics(history),
            params_count=sum(trial.config.units),
            train_seconds=float(len(history)),
            started_at=started_at,
            ended_at=now,
        )

    def save(self, trial: Trial, result: TrialResult, folder: Path) -> TrialResult:
        return save_files(folder, trial, result, self._files)


def save_files(folder: Path, trial: Trial, result: TrialResult, files: Mapping[str, bytes]) -> TrialResult:
    """Make `result` durable as `folder` with those of `files`, by name, that such a trial leaves, and its history."""
    is_kept = {name: result.state != State.FAILED and (trial.keeps_model or name != results.MODEL) for name in files}

    def write(draft: Path) -> None:
        (draft / results.HISTORY).write_text(json.dumps(result.history), encoding="utf-8")
        for name, content in files.items():
            if is_kept[name]:
                (draft / name).write_bytes(content)

    return results.save(folder, result, write)


def _metrics(history: Sequence[Logs]) -> Logs:
    named = {name if name.startswith("val_") else f"train_{name}": value for name, value in history[-1].items()}
    return named | settle(history)


class FakeCohortEngine:
    """See `cohort_process.CohortEngine`. Trains all its trials in step, each as `FakeEngine` does."""

    def __init__(self, engine: FakeEngine, provenance: dict[str, str]) -> None:
        self._engine = engine
        self._provenance = provenance

    def fit(
        self,
        trials: Sequence[Trial],
        judge: Judge,
        on_result: Callable[[Trial, TrialResult, None], None],
    ) -> None:
        courses = {trial.key: (trial, self._engine.train(trial)) for trial in trials}
        verdicts: dict[str, bool | None] = dict.fromkeys(courses)  # None before the first epoch
        while courses:
            reports = []
            for key, (trial, epochs) in list(courses.items()):
                event = epochs.send(verdicts[key])
                if isinstance(event, EpochReport):
                    reports.append(event)
                else:
                    on_result(trial, replace(event, provenance=self._provenance), None)
                    del courses[key]
            verdicts = dict.fromkeys((report.key for report in reports), True)
            verdicts |= judge(reports) if reports else {}

    def make_save(self, trial: Trial, result: TrialResult, trained: None) -> Callable[[Path], TrialResult]:
        return partial(self._engine.save, trial, result)


class FakeExecutor:
    """See `Executor`. Runs `n_slots` trials in this process, an epoch of each in turn. Its `wait` takes no time."""

    def __init__(
        self,
        folder: Path,
        max_epochs: int = 5,
        n_slots: int = 2,
        curve: Curve = plausible_logs,
        files: Mapping[str, bytes] | None = None,
    ) -> None:
        self._folder = folder
        self._engine = FakeEngine(max_epochs, curve, files)
        self._n_slots = n_slots
        self._running: deque[tuple[Trial, Generator[EpochReport | TrialResult, bool | None, None]]] = deque()
        self._verdicts: dict[str, bool | None] = {}  # by key, of trials that wait for none; None before the first epoch

    @property
    def n_running(self) -> int:
        return len(self._running)

    def takes(self, trial: Trial) -> bool:
        return len(self._running) < self._n_slots

    def submit(self, trial: Trial) -> None:
        assert self.takes(trial), "no slot is free"
        self._verdicts[trial.key] = None
        self._running.append((trial, self._engine.train(trial)))

    def wait(self, timeout_s: float) -> Event | None:
        ready = next((running for running in self._running if running[0].key in self._verdicts), None)
        if ready is None or timeout_s == 0:
            return None
        self._running.remove(ready)
        trial, epochs = ready
        event = epochs.send(self._verdicts.pop(trial.key))
        if isinstance(event, TrialResult):
            return self._engine.save(trial, event, self._folder / trial.key)
        self._running.append((trial, epochs))
        if not event.waits:
            self._verdicts[trial.key] = True
        return event

    def answer(self, key: str, goes_on: bool) -> None:
        self._verdicts[key] = goes_on

    def close(self) -> None:
        self._running.clear()
