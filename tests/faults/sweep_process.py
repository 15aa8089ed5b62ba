"""`python -m tests.faults.sweep_process run STUDY ...`: `python -m sweep` with processes that train nothing."""

import importlib
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import sweep.champion.convert
import sweep.durable.failpoint
import sweep.execute.cohorts
import sweep.execute.scoring
import sweep.execute.start
import sweep.execute.workers
import sweep.record.hold
import sweep.record.server
from sweep.cli.commands import main
from sweep.data.prepared import PreparedData
from sweep.execute.cohort_process import CohortOptions
from sweep.execute.worker import WorkerOptions
from sweep.trial import Logs
from tests.champions import fake_convert
from tests.faults.engine import EPOCH_S, PacedCohorts, start_engine
from tests.faults.machines import MACHINES, load_fake, start_paced
from tests.studies import fake_score

LEASE_S = "SWEEP_TEST_LEASE_S"  # environment: after which silence a server lets a study go


class Executor(sweep.execute.workers.WorkerExecutor):
    """Worker processes with the fake engine."""

    def __init__(self, options: WorkerOptions, n_workers: int) -> None:
        super().__init__(replace(options, start_engine=start_engine), n_workers)


class Cohorts(sweep.execute.cohorts.CohortExecutor):
    """The process of cohorts with the fake engine."""

    def __init__(self, options: CohortOptions, n_searched: int) -> None:
        super().__init__(replace(options, start_engine=PacedCohorts), n_searched)


def score(
    models: dict[str, Path], data: PreparedData, log: Path, is_interrupted: Callable[[], bool]
) -> dict[str, tuple[Logs, bytes]]:
    return fake_score(models)


def train_nothing() -> None:
    """Have this process' commands start what trains, score models and convert them, without training."""
    sweep.execute.start.WorkerExecutor = Executor  # type: ignore[misc]
    sweep.execute.start.CohortExecutor = Cohorts  # type: ignore[misc]
    if "RAY_ADDRESS" in os.environ:
        epoch_s = float(os.environ.get(EPOCH_S, "0"))
        sweep.execute.start.start_on_machine = partial(start_paced, epoch_s)  # type: ignore[assignment]
        if MACHINES in os.environ:
            sweep.execute.start.load_ray = load_fake
            sweep.execute.start.check_cluster = lambda address: None
    sweep.execute.scoring.score_in_processes = score
    sweep.champion.convert.convert_in_process = fake_convert


def shorten_leases(lease_s: float) -> None:
    """Have this process' sessions end after another time of silence."""
    sweep.record.hold.LEASE_S, sweep.record.hold.PING_S = lease_s, lease_s / 6  # type: ignore[assignment]
    sweep.record.server.FOR_WRITING["idle_in_transaction_session_timeout"] = round(lease_s * 1000)


def run_command(
    arguments: list[str], environment: dict[str, str], printed: Path, said: Path, is_training: bool
) -> None:
    """Be a command: the leader of a group, what it writes in files. Ends this process with the command's exit code."""
    os.setsid()
    for stream, path in ((sys.stdout, printed), (sys.stderr, said)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), stream.fileno())
    os.environ.update(environment)
    importlib.reload(sweep.durable.failpoint)  # it was imported before the environment said what to do
    if LEASE_S in environment:
        shorten_leases(float(environment[LEASE_S]))
    if not is_training:
        train_nothing()
    sys.exit(main(arguments))


if __name__ == "__main__":
    train_nothing()
    sys.exit(main())
