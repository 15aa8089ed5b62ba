"""An executor that finishes instantly: it trains nothing, and gives the events that training would give."""

import math
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from sweep import results
from sweep.config import Config, derived_seed
from sweep.trial import EpochReport, Event, Logs, Trial, TrialResult

Curve = Callable[[Config, int, int], Logs]  # (config, seed, epoch) -> that epoch's logs


def plausible_logs(config: Config, seed: int, epoch: int) -> Logs:
    """A learning curve that depends on the config, with a best depth and width and a little noise by seed."""
    quality = 0.95 - 0.01 * abs(config.hidden_layers - 3) - 0.02 * abs(math.log10(config.units[0] / 200))
    noise = derived_seed(seed, epoch) / 2**32 * 0.004
    accuracy = quality * (1 - math.exp(-epoch)) + noise
    return {"loss": 1.1 - accuracy, "accuracy": accuracy, "val_loss": 1.05 - accuracy, "val_accuracy": accuracy}


class FakeExecutor:
    """See `Executor`. Runs `n_slots` trials side by side, an epoch of each in turn; the clock ticks a second an epoch."""

    def __init__(self, folder: Path, max_epochs: int = 5, n_slots: int = 2, curve: Curve = plausible_logs) -> None:
        self._folder = folder
        self._max_epochs = max_epochs
        self._n_slots = n_slots
        self._curve = curve
        self._running: deque[tuple[Trial, Iterator[Event]]] = deque()
        self._verdicts: dict[str, bool] = {}
        self._now = 1_700_000_000.0

    @property
    def n_free(self) -> int:
        return self._n_slots - len(self._running)

    @property
    def n_running(self) -> int:
        return len(self._running)

    def submit(self, trial: Trial) -> None:
        assert self.n_free > 0, "no slot is free"
        self._running.append((trial, self._train(trial)))

    def wait(self, timeout_s: float) -> Event | None:
        if not self._running:
            return None
        trial, events = self._running.popleft()
        event = next(events)
        if isinstance(event, EpochReport):
            self._running.append((trial, events))
        return event

    def answer(self, key: str, goes_on: bool) -> None:
        self._verdicts[key] = goes_on

    def close(self) -> None:
        self._running.clear()

    def _train(self, trial: Trial) -> Iterator[Event]:
        started_at = self._now
        history: list[Logs] = []
        ended_at: list[float] = []
        is_pruned = is_nan = False
        while len(history) < self._max_epochs and not is_pruned and not is_nan:
            self._now += 1
            history.append(self._curve(trial.config, trial.seed, len(history) + 1))
            ended_at.append(self._now)
            is_nan = any(map(math.isnan, history[-1].values()))
            waits = len(history) in trial.rungs and len(history) < self._max_epochs and not is_nan
            yield EpochReport(trial.key, len(history), history[-1], waits)
            is_pruned = waits and not self._verdicts.pop(trial.key)
        last = history[-1]
        result = TrialResult(
            key=trial.key,
            state="failed" if is_nan else "pruned" if is_pruned else "complete",
            reason="nan: loss is nan" if is_nan else "pruned by the fake executor's caller" if is_pruned else "",
            history=history,
            epoch_ended_at=ended_at,
            best_epoch=0 if is_nan else len(history),
            metrics={} if is_nan else {f"train_{k}" if not k.startswith("val_") else k: v for k, v in last.items()},
            params_count=sum(trial.config.units),
            train_seconds=float(len(history)),
            started_at=started_at,
            ended_at=self._now,
        )
        yield results.save(self._folder / trial.key, result, lambda draft: None)
