"""What trains in the processes of `sweep_process`. A module of its own: they import it by name, each in its start-up."""

import math
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from sweep.execute.cohort_process import CohortOptions
from sweep.execute.fake import FakeCohortEngine, FakeEngine, plausible_logs
from sweep.execute.worker import WorkerOptions
from sweep.record import results
from sweep.study.config import Config
from sweep.trial import EpochReport, GoesOn, Judge, Logs, Trial, TrialResult

# What a trial leaves beside its result and history, in miniature.
FILES = {
    results.MODEL: b"model",
    results.SUMMARY: b"summary",
    results.CURVES: b"picture",
}
EPOCH_S = "SWEEP_TEST_EPOCH_S"  # environment: how long an epoch takes; there is then a moment to be killed in
NUMBERS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
TROUBLE = "SWEEP_TEST_TROUBLE"  # environment: "kind:stage", see `TroubledEngine`
TROUBLED = "trial-00000"


class PacedEngine(FakeEngine):
    """The fake engine, an epoch of which takes its time."""

    def __init__(self, max_epochs: int, epoch_s: float = 0.0) -> None:
        super().__init__(max_epochs, files=FILES)
        self._epoch_s = epoch_s

    def fit(self, trial: Trial, goes_on: GoesOn, folder: Path) -> TrialResult:
        def paced(report: EpochReport) -> bool:
            time.sleep(self._epoch_s)
            return goes_on(report)

        return super().fit(trial, paced, folder)


class TroubledEngine(FakeEngine):
    """The fake engine, in which the first trial comes to grief.

    kind: what happens. stage: `start` of the engine, `before` the trial, the end of an epoch by its number, or `saving`.
    """

    def __init__(self, max_epochs: int, kind: str, stage: str) -> None:
        super().__init__(max_epochs, files=FILES)
        self._n_epochs, self._kind, self._stage = max_epochs, kind, stage

    def warm_up(self) -> None:
        self._reach("start")

    def fit(self, trial: Trial, goes_on: GoesOn, folder: Path) -> TrialResult:
        if trial.key != TROUBLED:
            return super().fit(trial, goes_on, folder)
        self._reach("before")

        def spoilt(config: Config, seed: int, epoch: int) -> Logs:
            logs = plausible_logs(config, seed, epoch)
            is_spoilt = self._kind in NUMBERS and self._stage == str(epoch)
            return {**logs, "val_loss": NUMBERS[self._kind]} if is_spoilt else logs

        def reaching(report: EpochReport) -> bool:
            self._reach(str(report.epoch))
            return goes_on(report)

        files = {**FILES, results.MODEL: None} if self._stage == "saving" else FILES  # None cannot be written
        return FakeEngine(self._n_epochs, spoilt, files).fit(trial, reaching, folder)  # type: ignore[arg-type]

    def _reach(self, stage: str) -> None:
        if stage == self._stage:
            happen(self._kind)


class PacedCohorts(FakeCohortEngine):
    """The fake engine of cohorts, an epoch of which takes its time; one with `TROUBLED` in it may come to grief."""

    def __init__(self, options: CohortOptions) -> None:
        super().__init__(FakeEngine(options.training.max_epochs, files=FILES), options.provenance)
        self._epoch_s = float(os.environ.get(EPOCH_S, "0"))
        self._kind, _, self._stage = os.environ.get(TROUBLE, "").partition(":")
        if self._stage == "start":
            happen(self._kind)

    def fit(self, trials: Sequence[Trial], judge: Judge, ended: Callable[[Trial, TrialResult, None], None]) -> None:
        def paced(reports: list[EpochReport]) -> dict[str, bool]:
            time.sleep(self._epoch_s)
            if any((report.key, str(report.epoch)) == (TROUBLED, self._stage) for report in reports):
                happen(self._kind)
            return judge(reports)

        super().fit(trials, paced, ended)


def happen(kind: str) -> None:
    match kind:
        case "exception":
            raise ValueError("an error\nof two lines")
        case "memory":
            raise MemoryError
        case "exit":
            os._exit(1)
        case "kill":  # as the kernel does when memory runs out
            os.kill(os.getpid(), signal.SIGKILL)


def start_engine(options: WorkerOptions) -> FakeEngine:
    if trouble := os.environ.get(TROUBLE):
        return TroubledEngine(options.training.max_epochs, *trouble.split(":"))
    return PacedEngine(options.training.max_epochs, float(os.environ.get(EPOCH_S, "0")))
