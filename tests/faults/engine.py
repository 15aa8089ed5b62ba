"""What trains in the workers of `sweep_process`. A module of its own: workers import it by name."""

import os
import time
from pathlib import Path

from sweep.execute.fake import FakeEngine
from sweep.execute.worker import WorkerOptions
from sweep.trial import EpochReport, GoesOn, Trial, TrialResult
from tests.support import FILES

EPOCH_S = "SWEEP_TEST_EPOCH_S"  # environment: how long an epoch takes; there is then a moment to be killed in


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


def start_engine(options: WorkerOptions) -> PacedEngine:
    return PacedEngine(options.training.max_epochs, float(os.environ.get(EPOCH_S, "0")))
