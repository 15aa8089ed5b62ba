"""Engines and an executor that finish instantly: they train nothing, and give what training would give."""

import json
import math
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from sweep.record import results
from sweep.study.config import Config, derive_seed
from sweep.trial import EpochReport, Event, GoesOn, Judge, Logs, State, Trial, TrialResult

Curve = Callable[[Config, int, int], Logs]  # (config, seed, epoch) -> that epoch's logs
CLOCK_START, TRIAL_S = 1_700_000_000.0, 100.0  # when trial 0 begins, and how much later each next one


def plausible_logs(config: Config, seed: int, epoch: int) -> Logs:
    """A learning curve that depends on the config, with a best depth and width and a little noise by seed."""
    quality = 0.95 - 0.01 * abs(config.hidden_layers - 3) - 0.02 * abs(math.log10(config.units[0] / 200))
    noise = derive_seed(seed, epoch) / 2**32 * 0.004
    accuracy = quality * (1 - math.exp(-epoch)) + noise
    return {"loss": 1.1 - accuracy, "accuracy": accuracy, "val_loss": 1.05 - accuracy, "val_accuracy": accuracy}


class FakeEngine:
    """See `worker.Engine`. What it gives follows from the trial alone; its clock ticks a second an epoch.

    files: what it leaves beside the history of every result that did not fail, by name.
    """

    def __init__(
        self, max_epochs: int = 5, curve: Curve = plausible_logs, files: Mapping[str, bytes] | None = None
    ) -> None:
        self._max_epochs = max_epochs
        self._curve = curve
        self._files = files or {}

    def warm_up(self) -> None:
        """Nothing."""

    def fit(self, trial: Trial, goes_on: GoesOn, folder: Path) -> TrialResult:
        epochs = self.train(trial)
        report = next(epochs)
        while isinstance(report, EpochReport):
            report = epochs.send(goes_on(report))
        return self.save(report, folder)

    def train(self, trial: Trial) -> Generator[EpochReport | TrialResult, bool | None, None]:
        """Each epoch, to be answered with whether it goes on, and then the result."""
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
            metrics={} if is_bad else {f"train_{k}" if not k.startswith("val_") else k: v for k, v in last.items()},
            params_count=sum(trial.config.units),
            train_seconds=float(len(history)),
            started_at=started_at,
            ended_at=now,
        )

    def save(self, result: TrialResult, folder: Path) -> TrialResult:
        files = {} if result.state == State.FAILED else self._files

        def write(draft: Path) -> None:
            (draft / results.HISTORY).write_text(json.dumps(result.history))
            for name, content in files.items():
                (draft / name).write_bytes(content)

        return results.save(folder, result, write)


class FakeCohortEngine:
    """See `cohort_process.CohortEngine`. All that it is given trains in step, as `FakeEngine` trains each."""

    def __init__(self, engine: FakeEngine, provenance: dict[str, str]) -> None:
        self._engine = engine
        self._provenance = provenance

    def fit(
        self,
        trials: Sequence[Trial],
        judge: Judge,
        ended: Callable[[Trial, TrialResult, None], None],
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
                    ended(trial, replace(event, provenance=self._provenance), None)
                    del courses[key]
            verdicts = dict.fromkeys((report.key for report in reports), True)
            verdicts |= judge(reports) if reports else {}

    def saving(self, trial: Trial, result: TrialResult, trained: None) -> Callable[[Path], TrialResult]:
        return partial(self._engine.save, result)


class FakeExecutor:
    """See `Executor`. Runs `n_slots` trials side by side in this process, an epoch of each in turn."""

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
        self._verdicts: dict[str, bool | None] = {}  # by key: None before the first epoch

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
        if not self._running:
            return None
        trial, epochs = self._running.popleft()
        event = epochs.send(self._verdicts.pop(trial.key))
        if isinstance(event, TrialResult):
            return self._engine.save(event, self._folder / trial.key)
        self._running.append((trial, epochs))
        if not event.waits:
            self._verdicts[trial.key] = True
        return event

    def answer(self, key: str, goes_on: bool) -> None:
        self._verdicts[key] = goes_on

    def close(self) -> None:
        self._running.clear()
