"""Fake engines that a child process starts by name: a light module, as each child imports it."""

import math
from functools import partial

from sweep.execute.cluster.fake import FakeCluster
from sweep.execute.cluster.messages import Capacity
from sweep.execute.cohort_process import CohortOptions
from sweep.execute.cohorts import CohortExecutor
from sweep.execute.fake import FakeCohortEngine, FakeEngine, plausible_logs
from sweep.execute.worker import WorkerOptions
from sweep.execute.workers import WorkerExecutor
from sweep.study.config import Config
from sweep.study.training import Training
from tests.faults.engine import FILES

MAX_EPOCHS = 4
DIVERGING = Config(units=(8,), dropout=0.2, batch_size=32, learning_rate=1.0)  # NaN in its second epoch


def make_logs(config, seed, epoch):
    logs = plausible_logs(config, seed, epoch)
    return {**logs, "loss": math.nan} if config == DIVERGING and epoch == 2 else logs


def start_engine(options):
    return FakeEngine(MAX_EPOCHS, make_logs, FILES)


def start_cohort_engine(options):
    return FakeCohortEngine(start_engine(options), options.provenance)


def start_workers(place, provenance, n_workers):
    """Start the workers of an outpost."""
    options = {"data": place.data, "training": Training(max_epochs=MAX_EPOCHS), "results": place.results}
    options |= {"logs": place.logs, "provenance": provenance}
    return WorkerExecutor(WorkerOptions(**options, start_engine=start_engine), n_workers), Capacity("graph", n_workers)


def start_cohorts(place, provenance, n_workers):
    """Start the cohorts of an outpost, of two searched trials."""
    options = {"data": place.data, "training": Training(max_epochs=MAX_EPOCHS), "results": place.results}
    options |= {"logs": place.logs, "provenance": provenance, "programs": place.programs}
    return CohortExecutor(CohortOptions(**options, start_engine=start_cohort_engine), 2), Capacity("cohort", 2)


def load_fake_cluster(machines, scratch):
    """Return what connects to fake machines with these numbers of cores."""
    return partial(FakeCluster, machines, scratch)


def no_rows():
    return {}
