"""Outposts that train nothing, on fake machines or on real ones. Imported by name in the processes of a cluster."""

import os
from functools import partial
from pathlib import Path

from sweep.execute.cluster.bridge import Connect
from sweep.execute.cluster.fake import FakeCluster
from sweep.execute.cluster.messages import Capacity, MachineExecutor, Place
from sweep.execute.worker import WorkerOptions
from sweep.execute.workers import WorkerExecutor
from sweep.study.schema import Study
from tests.faults.engine import PacedEngine

MACHINES = "SWEEP_TEST_MACHINES"  # environment: the folder of outposts of a fake cluster, of two machines of one core
FAKE = "fake:1"  # its address


def start_paced(
    epoch_s: float, study: Study, place: Place, provenance: dict[str, str], n_workers: int
) -> tuple[MachineExecutor, Capacity]:
    """Start workers whose epochs take `epoch_s` and train nothing; see `start.start_on_machine`."""
    options = WorkerOptions(
        data=place.data,
        training=study.training,
        results=place.results,
        logs=place.logs,
        provenance=provenance,
        start_engine=partial(start_paced_engine, epoch_s),
    )
    return WorkerExecutor(options, n_workers), Capacity("graph", n_workers)


def start_paced_engine(epoch_s: float, options: WorkerOptions) -> PacedEngine:
    return PacedEngine(options.training.max_epochs, epoch_s)


def load_fake() -> Connect:
    """Return what connects to two fake machines."""
    return partial(FakeCluster, (1, 1), Path(os.environ[MACHINES]))
