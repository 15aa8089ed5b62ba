"""`python -m tests.bench.track_rate`: how many trials a second are recorded in Optuna and tracked in MLflow, on SQLite.

Trials of the space of `study.toml` with 20 epochs of curves and a model each, as a cohort leaves them: claimed, told and projected, in
this one process. Drawing configs and training are left out.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from sweep.data.facts import DataFacts
from sweep.execute.fake import FakeEngine
from sweep.layout import RunsDir
from sweep.record.provenance import read_provenance
from sweep.record.results import CURVES, MODEL, SUMMARY
from sweep.record.trials import Record
from sweep.study.file import load_study
from sweep.track.experiment import ProjectedStudy
from sweep.track.projection import Projection
from sweep.track.tracker import Ended
from tests.bench.configs import STUDY, default
from tests.bench.run import RESULTS

EPOCHS = 20
FILES = {MODEL: bytes(1_500_000), SUMMARY: bytes(2000), CURVES: bytes(30_000)}
FACTS = DataFacts("mnist", "0" * 64, 54_000, 6_000, 10_000, 784, tuple("0123456789"), "pixels", (28, 28))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.track_rate", description=__doc__)
    parser.add_argument("--trials", type=int, default=256)
    given = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-track-", dir=RESULTS) as folder:
        print("\n".join(measure(RunsDir(Path(folder)), given.trials)))


def measure(runs: RunsDir, n_trials: int) -> list[str]:
    study, table = load_study(STUDY)
    record = Record.open(runs.optuna_db, study, "search", FACTS)
    engine = FakeEngine(EPOCHS, files=FILES)
    made_by = read_provenance() | {"engine": "cohort"}
    projection = Projection(runs, ProjectedStudy(study, table, FACTS, made_by))
    lines, total = [], Stopwatch()
    claim, tell, track = Stopwatch(), Stopwatch(), Stopwatch()
    waiting: list[Ended] = []  # a cohort's trials end together
    for number, config in enumerate(default(n_trials)):
        with claim:
            trial = record.claim("search", config, number)
        left = engine.fit(trial, lambda report: True, runs.results(study.name) / trial.key)
        result = replace(left, provenance=made_by)
        with tell:
            record.tell(result)
        waiting.append(Ended(trial, result, None))
        if len(waiting) == projection.at_once:
            with track:
                projection.write(waiting)
            waiting = []
    with track:
        projection.write(waiting)
    with total:
        projection.close("FINISHED")
    for name, watch in (("claim", claim), ("tell", tell), ("track", track)):
        lines.append(
            f"{name}: {1e3 * watch.wall_s / n_trials:.1f} ms a trial, {1e3 * watch.cpu_s / n_trials:.1f} of the processor"
        )
    lines.append(f"the ten best models at the end: {total.wall_s:.2f} s")
    wall_s = claim.wall_s + tell.wall_s + track.wall_s + total.wall_s
    lines.append(
        f"{n_trials / wall_s:.1f} trials a second, recorded and tracked ({n_trials} trials, {EPOCHS} epochs each)"
    )
    return lines


class Stopwatch:
    """Adds up the time spent inside it."""

    def __init__(self) -> None:
        self.wall_s = self.cpu_s = 0.0

    def __enter__(self) -> None:
        self._began = time.perf_counter(), time.process_time()

    def __exit__(self, *error: object) -> None:
        self.wall_s += time.perf_counter() - self._began[0]
        self.cpu_s += time.process_time() - self._began[1]


if __name__ == "__main__":
    main()
