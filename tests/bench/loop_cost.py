"""`python -m tests.bench.loop_cost`: what the loop itself costs, with the fake executor and both SQLite databases.

Everything runs in line here, on one thread, so that each part has its own time; in a sweep, tracking runs beside the rest.
The fake executor saves no model: a real trial costs the tracker the copy of one more file.
"""

import argparse
import cProfile
import json
import os
import pstats
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.table import Table

from sweep.data.facts import DataFacts
from sweep.execute.fake import FakeExecutor
from sweep.layout import RunsDir
from sweep.loop import run_trials
from sweep.record.provenance import read_provenance
from sweep.record.trials import Record
from sweep.search.sources import SearchSource
from sweep.study.file import parse_study
from sweep.study.schema import Study
from sweep.track.experiment import ProjectedStudy
from sweep.track.projection import Projection
from sweep.track.runs import read_study
from sweep.track.tracker import Ended
from sweep.trial import EpochReport, Event, Trial, TrialEvent, TrialResult, WorkerDied
from tests.bench.configs import STUDY
from tests.bench.measure import rss_kb
from tests.bench.run import RESULTS

EPOCHS = 20
AROUND = (10, 100, 1000)  # trials
PARTS = ("ask", "rung", "record", "track", "executor")
FACTS = DataFacts(
    name="none",
    sha256="0" * 64,
    n_train=54_000,
    n_validation=6_000,
    n_test=10_000,
    n_features=784,
    classes=tuple("0123456789"),
    scaling="pixels",
    feature_shape=(28, 28),
)


@dataclass
class Stopwatch:
    """Seconds by part and by how many trials had ended then."""

    spent: dict[str, dict[int, float]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(float)))
    ended_at: list[float] = field(default_factory=list)
    cpu_s_at: list[float] = field(default_factory=list)  # of this process, when each trial ended
    mb_at: list[float] = field(default_factory=list)  # resident memory of this process, when each trial ended

    def trial_ended(self) -> None:
        self.ended_at.append(time.perf_counter())
        self.cpu_s_at.append(time.process_time())
        self.mb_at.append(rss_kb(os.getpid()) / 1024)

    @contextmanager
    def timing(self, part: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.spent[part][len(self.ended_at)] += time.perf_counter() - start

    def ms(self, part: str, around: int) -> float:
        """Mean milliseconds for a trial, over the trials around the given one."""
        return 1000 * fmean(self.spent[part][n] for n in window(around, len(self.ended_at)))

    def whole_ms(self, around: int) -> float:
        """Mean milliseconds from one trial's end to the next one's."""
        return _mean_gap_ms(self.ended_at, around)

    def cpu_ms(self, around: int) -> float:
        """The same in processor time: what is left where the disk and other processes are not waited for."""
        return _mean_gap_ms(self.cpu_s_at, around)


def _mean_gap_ms(stamps: list[float], around: int) -> float:
    trials = window(around, len(stamps))
    return 1000 * (stamps[trials[-1]] - stamps[trials[0]]) / (len(trials) - 1)


def window(around: int, n_trials: int) -> range:
    """The trials around the given one, a tenth as many but at least 10, cut where there are no more."""
    half = max(5, around // 20)
    return range(max(1, around - half), min(n_trials, around + half))


class TimedSource:
    """A `loop.Source` that says what each call took."""

    def __init__(self, source: SearchSource, watch: Stopwatch) -> None:
        self._source = source
        self._watch = watch

    def write_together(self) -> AbstractContextManager[None]:
        return self._source.write_together()

    def next(self) -> Trial | None:
        with self._watch.timing("ask"):
            return self._source.next()

    def judge(self, reports: Sequence[EpochReport]) -> dict[str, bool]:
        with self._watch.timing("rung"):
            return self._source.judge(reports)

    def handle_death(self, death: WorkerDied) -> Trial | TrialResult:
        return self._source.handle_death(death)

    def tell(self, result: TrialResult) -> Trial:
        with self._watch.timing("record"):
            return self._source.tell(result)


class TimedExecutor(FakeExecutor):
    """The fake executor; its time is the result folder's, which a worker writes in a real sweep."""

    def __init__(self, folder: Path, watch: Stopwatch) -> None:
        super().__init__(folder, EPOCHS)
        self._watch = watch

    def wait(self, timeout_s: float) -> Event | None:
        with self._watch.timing("executor"):
            return super().wait(timeout_s)


def default_study(n_trials: int, with_pruner: bool) -> tuple[Study, dict[str, Any]]:
    """The space and sampler of `study.toml`, without its baselines; unpruned, every trial has all its epochs."""
    import tomllib

    table = tomllib.loads(STUDY.read_text())
    table |= {"training": {"max_epochs": EPOCHS}, "baselines": []}
    table["search"] |= {"trials": n_trials}
    if not with_pruner:
        del table["search"]["pruner"]
    del table["confirmation"]
    return parse_study(table, "loop cost"), table


def run_loop(study: Study, table: dict[str, Any], runs: RunsDir) -> Stopwatch:
    """Run the whole study in `runs`; what it took."""
    watch = Stopwatch()
    folder = runs.results(study.name)
    record = Record.open(runs.optuna_db, study, "search", FACTS)
    projection = Projection(runs, ProjectedStudy(study, table, FACTS, read_provenance()))
    source = TimedSource(SearchSource(study, record, folder), watch)

    def track(trial: Trial, result: TrialResult) -> None:
        with watch.timing("track"):
            projection.write([Ended(trial, result, None)])

    def ended(trial: Trial, event: TrialEvent | None) -> None:
        if isinstance(event, TrialResult):
            watch.trial_ended()

    run_trials(source, lambda: TimedExecutor(folder, watch), track, ended)
    projection.close("FINISHED")
    return watch


def timed(function: Callable[[], object]) -> float:
    """Seconds."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.loop_cost", description=__doc__)
    parser.add_argument("--trials", type=int, default=max(AROUND))
    parser.add_argument("--pruner", action="store_true", help="with the pruner of `study.toml`: most trials end early")
    parser.add_argument(
        "--profile", action="store_true", help="profile it, which slows it, and print the top of sweep/"
    )
    given = parser.parse_args()
    study, table = default_study(given.trials, given.pruner)
    RESULTS.mkdir(exist_ok=True)
    root = Path(tempfile.mkdtemp(prefix="loop-cost-", dir=RESULTS))
    runs, profile = RunsDir(root / "mlruns"), cProfile.Profile()
    try:
        watch = profile.runcall(run_loop, study, table, runs) if given.profile else run_loop(study, table, runs)
        read_s = timed(lambda: read_study(runs, study.name))
    finally:
        shutil.rmtree(root)
    points = [n for n in AROUND if n <= given.trials]
    rows = {part: [watch.ms(part, n) for n in points] for part in PARTS if part in watch.spent}
    rows["whole"] = [watch.whole_ms(n) for n in points]
    rows["whole, processor time"] = [watch.cpu_ms(n) for n in points]
    rows["resident memory, MB"] = [watch.mb_at[n - 1] for n in points]
    record = {"trials": points, "ms_per_trial": rows, "read_runs_s": read_s, "n_trials": given.trials}
    (RESULTS / f"loop-cost-{datetime.now(UTC):%Y%m%dT%H%M%S}.json").write_text(json.dumps(record))
    show(points, rows, read_s, given.trials)
    if given.profile:
        stats = pstats.Stats(profile)
        stats.sort_stats("cumulative").print_stats(r"/sweep/", 40)
        stats.sort_stats("tottime").print_stats(20)


def show(points: list[int], rows: dict[str, list[float]], read_s: float, n_trials: int) -> None:
    title = f"the loop alone, ms per trial, {EPOCHS} epochs each"
    table = Table("part", *(f"around trial {n:,}" for n in points), "growth", title=title, title_justify="left")
    for part, values in rows.items():
        growth = f"{values[-1] / values[0]:.1f}x" if values[0] else ""
        table.add_row(part, *(f"{value:.1f}" for value in values), growth)
    console = Console(width=120)
    console.print(table)
    console.print(f"read_runs at {n_trials:,} trials: {read_s:.2f} s")


if __name__ == "__main__":
    main()
