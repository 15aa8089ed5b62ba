"""`python -m tests.faults.sweep_process run STUDY ...`: `python -m sweep` with worker processes that train nothing."""

import sys
from dataclasses import replace
from pathlib import Path

import sweep.execute.local
import sweep.execute.scoring
from sweep.cli import main
from sweep.data import PreparedData
from sweep.execute.worker import WorkerOptions
from sweep.trial import Logs
from tests.faults.engine import start_engine
from tests.support import fake_score


class Executor(sweep.execute.local.LocalExecutor):
    """Worker processes with the fake engine."""

    def __init__(self, options: WorkerOptions, n_workers: int) -> None:
        super().__init__(replace(options, start_engine=start_engine), n_workers)


def score(models: dict[str, Path], data: PreparedData, log: Path) -> dict[str, Logs]:
    return fake_score(models)


if __name__ == "__main__":
    sweep.execute.local.LocalExecutor = Executor  # type: ignore[misc]
    sweep.execute.scoring.score_in_process = score
    sys.exit(main())
