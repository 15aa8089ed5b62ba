"""`python -m tests.bench.scale_cost`: what a cluster costs a trial, and how soon a lost machine is missed.

Workers train nothing, so that what is left is the way of trials, reports, verdicts and results: on workers of this machine,
and on two simulated machines of a Ray cluster. Ends with 1 where a limit is passed.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from unittest import mock

from sweep.data.prepared import PreparedData
from sweep.execute.cluster.executor import ClusterExecutor
from sweep.execute.cluster.messages import Place
from sweep.execute.executor import Executor
from sweep.execute.start import start_executor
from sweep.layout import RunsDir
from sweep.study.config import Config
from sweep.study.file import parse_study
from sweep.trial import EpochReport, Phase, Trial, TrialResult, WorkerDied
from tests.clusters import RayCluster, run_cluster
from tests.faults.machines import start_paced
from tests.studies import FACTS, tiny_table

N_WARM, RUNGS = 10, (1, 3)
MAX_WALL_MS, MAX_PROCESSOR_MS = 60.0, 10.0  # over what workers of this machine cost
MAX_KILLED_S, MAX_SILENT_S = 15.0, 70.0
CONFIG = Config(units=(8,), dropout=0.2, batch_size=32, learning_rate=0.01)

Costs = tuple[float, float]  # medians over trials: wall clock and the coordinator's processor, ms


def drive(executor: Executor, n_trials: int) -> Costs:
    """Train `n_trials` trials two at a time. Return what one costs."""
    wall, processor, begun = [], [], 0
    ended_at, used = time.monotonic(), time.process_time()
    while len(wall) < n_trials + N_WARM:
        trial = Trial(number=begun, phase=Phase.SEARCH, config=CONFIG, seed=begun, rungs=RUNGS)
        if begun < n_trials + N_WARM + 2 and executor.takes(trial):
            executor.submit(trial)
            begun += 1
            continue
        match executor.wait(1.0):
            case EpochReport(key, _, _, True):
                executor.answer(key, True)
            case TrialResult():
                now, used_now = time.monotonic(), time.process_time()
                wall.append((now - ended_at) * 1000)
                processor.append((used_now - used) * 1000)
                ended_at, used = now, used_now
    # Two trials end in one go now and then: pairs are what is compared.
    pairs = [
        [(a + b) / 2 for a, b in zip(one[N_WARM::2], one[N_WARM + 1 :: 2], strict=False)] for one in (wall, processor)
    ]
    return median(pairs[0]), median(pairs[1])


@contextmanager
def started(folder: Path, cluster: RayCluster, epoch_s: float) -> Iterator[Executor]:
    """Start the executor on the cluster, and wait for both machines."""
    folder.mkdir()
    table = tiny_table()
    table["search"] = table["search"] | {"engine": "graph", "executor": "ray"}
    study = parse_study(table, "tiny.toml")
    data = PreparedData(folder / "data", FACTS)
    with (
        mock.patch.dict("os.environ", cluster.environment),
        mock.patch("sweep.execute.start.start_on_machine", partial(start_paced, epoch_s)),
    ):
        executor = start_executor(study, data, RunsDir(folder), folder / "results")
        assert isinstance(executor, ClusterExecutor)
        try:
            while executor.n_machines < 2:
                executor.wait(0.1)
            yield executor
        finally:
            executor.close()


def cost_here(folder: Path, n_trials: int) -> Costs:
    study = parse_study(tiny_table(), "tiny.toml")
    place = Place(PreparedData(folder / "data", FACTS), folder / "results", folder / "logs", folder / "programs")
    executor, _ = start_paced(0.0, study, place, {}, 2)
    try:
        return drive(executor, n_trials)
    finally:
        executor.close()


def seconds_to_miss(folder: Path, cluster: RayCluster, harm: Callable[[], object]) -> float:
    """Do harm to a machine that trains; return how long it takes until its trial is given up."""
    with started(folder, cluster, epoch_s=0.5) as executor:
        for number in range(2):
            executor.submit(Trial(number=number, phase=Phase.SEARCH, config=CONFIG, seed=number))
        while not isinstance(executor.wait(1.0), EpochReport):
            pass
        harm()
        began = time.monotonic()
        n_further = 2
        while not isinstance(event := executor.wait(0.2), WorkerDied):
            if isinstance(event, TrialResult):
                trial = Trial(number=n_further, phase=Phase.SEARCH, config=CONFIG, seed=n_further)
                n_further += 1
                if executor.takes(trial):
                    executor.submit(trial)
        return time.monotonic() - began


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.scale_cost", description=__doc__)
    parser.add_argument("--trials", type=int, default=120, metavar="N")
    n_trials = parser.parse_args(argv).trials
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        here = cost_here(folder / "here", n_trials)
        with run_cluster(folder) as cluster:
            with started(folder / "there", cluster, 0.0) as executor:
                there = drive(executor, n_trials)
            killed_s = seconds_to_miss(folder / "killed", cluster, lambda: cluster.kill("machine 0"))
            cluster.add(0)
            silent_s = seconds_to_miss(folder / "silent", cluster, lambda: cluster.freeze("machine 1"))
    rows = [
        ("wall clock of a trial, ms", here[0], there[0], there[0] - here[0], MAX_WALL_MS),
        ("coordinator's processor, ms", here[1], there[1], there[1] - here[1], MAX_PROCESSOR_MS),
    ]
    for what, ours, theirs, more, limit in rows:
        print(f"{what}: {ours:.1f} here, {theirs:.1f} on a cluster; {more:.1f} more, at most {limit:.0f}")
    print(f"a machine that is killed is missed after {killed_s:.0f} s, at most {MAX_KILLED_S:.0f}")
    print(f"a machine that is silent is missed after {silent_s:.0f} s, at most {MAX_SILENT_S:.0f}")
    is_within = all(more <= limit for *_, more, limit in rows)
    return int(not (is_within and killed_s <= MAX_KILLED_S and silent_s <= MAX_SILENT_S))


if __name__ == "__main__":
    sys.exit(main())
