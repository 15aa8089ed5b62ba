"""Choose the executor that a study runs on, and start it."""

import logging
import os
import re
import subprocess
import sys
from functools import partial
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from sweep.data.prepared import PreparedData, pack_training_rows
from sweep.durable.inside import make_private
from sweep.errors import InvalidSettingError, MissingPackageError
from sweep.execute.cluster.bridge import BridgeOptions, Connect
from sweep.execute.cluster.executor import ClusterExecutor
from sweep.execute.cluster.link import Link, start_bridge
from sweep.execute.cluster.messages import Assignment, Capacity, MachineExecutor, Place
from sweep.execute.cohort_process import CohortOptions
from sweep.execute.cohorts import CohortExecutor
from sweep.execute.executor import Executor
from sweep.execute.one_task import run_in_process
from sweep.execute.worker import WorkerOptions
from sweep.execute.workers import WorkerExecutor, list_cores
from sweep.layout import RunsDir
from sweep.record.provenance import read_provenance
from sweep.study.schema import Study
from sweep.study.search import Search

PROBE_S = 60  # time for JAX to say which devices it sees
MODEL_BATCH = 16  # trials that a model of learning curves proposes at a time
SHARE, FEWEST = 4, 4  # at most a quarter of the searched trials train at once, so three quarters learn from others

logger = logging.getLogger(__name__)


def start_executor(study: Study, data: PreparedData, runs: RunsDir, results: Path) -> Executor:
    """Start the executor of the study, here or on a cluster. It puts result folders into `results`.

    Raises InvalidSettingError if its engine cannot train at the study's precision, or if no cluster is named that is asked
    for; MissingPackageError if Ray is not installed.
    """
    place = Place(data, results, runs.logs(study.name), runs.programs)
    address = os.environ.get("RAY_ADDRESS", "")
    if study.search.executor == "ray" or (study.search.executor == "auto" and address):
        check_cluster(address)
        return _start_on_cluster(study, place, address)
    executor, _ = start_on_machine(study, place, read_provenance(), study.search.workers or len(list_cores()))
    return executor


def start_on_machine(
    study: Study, place: Place, provenance: dict[str, str], n_workers: int
) -> tuple[MachineExecutor, Capacity]:
    """Start the executor of the study's engine on this machine, and say how much it takes. Raises InvalidSettingError."""
    engine = study.search.engine
    if engine == "auto":
        engine = "cohort" if has_accelerator() else "graph"
    provenance = provenance | {"engine": engine}
    if engine == "cohort":
        n_searched = compute_max_searched(study.search)
        make_private(place.programs)
        logger.info("starting cohorts of up to %d searched trials; log in %s", n_searched, place.logs)
        return CohortExecutor(
            CohortOptions(
                data=place.data,
                training=study.training,
                results=place.results,
                logs=place.logs,
                programs=place.programs,
                provenance=provenance,
                ranked=study.ranked_metrics,
            ),
            n_searched,
        ), Capacity("cohort", n_searched)
    _check_precision(study, place.logs)
    logger.info("starting %d worker%s; logs in %s", n_workers, "" if n_workers == 1 else "s", place.logs)
    options = WorkerOptions(
        data=place.data,
        training=study.training,
        results=place.results,
        logs=place.logs,
        provenance=provenance,
        ranked=study.ranked_metrics,
    )
    return WorkerExecutor(options, n_workers), Capacity("graph", n_workers)


def check_cluster(address: str) -> None:
    """Check that `address`, the value of RAY_ADDRESS, can name a cluster, and that Ray is installed.

    Raises InvalidSettingError, MissingPackageError.
    """
    if not re.fullmatch(r"auto|[^/@\s]+:\d+", address):
        raise InvalidSettingError(
            f"RAY_ADDRESS: {'is not set' if not address else 'names no cluster'}, wanted 'auto' or the host:port of a Ray "
            "cluster's head, such as 10.0.0.1:6379; or use --executor local"
        )
    if find_spec("ray") is None:
        raise MissingPackageError("the executor 'ray' needs ray: pip install ray==2.60.0, or use --executor local")


def load_ray() -> Connect:
    """Load Ray, in the bridge alone; return what connects to the cluster at RAY_ADDRESS."""
    from sweep.execute.cluster.ray_cluster import connect

    return partial(connect, os.environ["RAY_ADDRESS"])


def _start_on_cluster(study: Study, place: Place, address: str) -> ClusterExecutor:
    logger.info("starting outposts on the Ray cluster at %s; logs in %s", address, place.logs)
    bridge = BridgeOptions(
        load_cluster=load_ray,
        assignment=Assignment(
            study=study.name,
            facts=place.data.facts,
            start=partial(start_on_machine, study),
            has_accelerators=study.search.engine != "graph",
        ),
        rows=partial(pack_training_rows, place.data),
        log=place.logs / "bridge.log",
    )
    link = Link(address, partial(start_bridge, bridge), bridge.log)
    return ClusterExecutor(link, place.results, study.search.workers, read_provenance())


def _check_precision(study: Study, logs: Path) -> None:
    """Raise InvalidSettingError if the graph engine does not know the study's precision; say so where it does not pay."""
    if study.training.precision == "tensorfloat32":
        raise InvalidSettingError(
            "training.precision = 'tensorfloat32' is for the cohort engine; this study trains on the graph engine, in "
            "float32 or bfloat16; leave it out, or use --engine cohort"
        )
    if study.training.precision == "bfloat16":
        speedup = run_in_process(_measure_bfloat16, "measuring bfloat16", logs / "precision.log")
        if speedup < 1:
            logger.warning(
                "this processor multiplies in bfloat16 at %.2g of its speed in float32: training.precision = 'bfloat16' slows it down",
                speedup,
            )


def _measure_bfloat16() -> float:
    from sweep.train.graph.precision import measure_speedup  # imports TensorFlow, so only once the environment is set

    return measure_speedup()


def compute_max_searched(search: Search) -> int:
    """Compute the most searched trials of a study that train at a time in cohorts.

    A model that chooses every next trial is asked for few at a time: `python -m tests.bench.search_quality` shows the cost.
    """
    if search.proposer == "freeze_thaw":
        return MODEL_BATCH
    return max(FEWEST, -(-(search.trials or 0) // SHARE))


def has_accelerator() -> bool:
    """Return whether JAX sees an accelerator.

    Asks JAX in a process of its own, because JAX claims the device. Asks nothing if no plugin of JAX is installed.
    """
    if find_spec("jax") is None or not (entry_points(group="jax_plugins") or find_spec("libtpu")):
        return False
    ask = [sys.executable, "-c", "import jax; print(jax.default_backend())"]
    try:
        answer = subprocess.run(
            ask, capture_output=True, encoding="utf-8", errors="replace", timeout=PROBE_S, check=False
        )
    except subprocess.TimeoutExpired:
        logger.warning("JAX did not list its devices within %d s: training on this machine's cores", PROBE_S)
        return False
    if answer.returncode == 0 and answer.stdout.strip() != "cpu":
        return True
    errors = answer.stderr.strip().splitlines()
    if errors or answer.returncode:  # a plugin that falls back to the CPU exits with code 0
        last_line = errors[-1] if errors else f"exit code {answer.returncode}"
        logger.warning("JAX has a plugin but cannot use it: training on this machine's cores (%s)", last_line)
    return False
