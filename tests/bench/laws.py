"""Laws of the coordinator: what each of its acts takes in processor time, measured on the real loop, source and record.

The real loop runs here with workers that are made up: their epochs pass on a clock that stands still while nothing is due
and otherwise advances by the processor time of this process. So a whole run has the length that it would have on a processor
of its own, however busy the machine is. `cluster_model.py` predicts that length from the laws.
"""

import heapq
import random
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from sweep.execute.fake import FakeEngine
from sweep.layout import RunsDir
from sweep.loop import run_trials
from sweep.record.trials import Record
from sweep.search.sources import SearchSource
from sweep.trial import EpochReport, Event, Phase, Trial, TrialResult, WorkerDied
from tests.simulation import N_EPOCHS, Plan
from tests.studies import FACTS

SIGMA = 0.5  # of the logarithm of what an epoch takes
BUCKETS = (0, 10, 50, 100, 200, 300, 400, 1000)  # trials: what a proposal takes is averaged between two


@dataclass(frozen=True)
class Laws:
    """Seconds of the coordinator's processor time."""

    propose: tuple[tuple[int, float], ...]  # from so many claimed trials on: to ask and claim one
    verdict: float  # to record that a trial has reached a rung, and to judge it
    tell: float  # to record an end
    commit: float  # for what is written together
    event: float  # to hear an event, beside the above; starts and shows what follows from it

    def propose_at(self, n: int) -> float:
        return next(seconds for start, seconds in reversed(self.propose) if n >= start)


class Meter:
    """Adds up processor time by act."""

    def __init__(self) -> None:
        self.spent: defaultdict[str, list[float]] = defaultdict(list)

    @contextmanager
    def timing(self, act: str) -> Iterator[None]:
        started = time.process_time()
        yield
        self.spent[act].append(time.process_time() - started)


class MeteredSource:
    """A `loop.Source` that times what it is asked."""

    def __init__(self, source: SearchSource, meter: Meter) -> None:
        self._source, self._meter, self._n = source, meter, 0

    @contextmanager
    def write_together(self) -> Iterator[None]:
        started = time.process_time()
        with self._source.write_together():
            began = time.process_time()
            yield
            ended = time.process_time()
        self._meter.spent["commit"].append(began - started + time.process_time() - ended)

    def next(self) -> Trial | None:
        bucket = max(start for start in BUCKETS if self._n >= start)
        with self._meter.timing(f"propose {bucket}"):
            trial = self._source.next()
        self._n += 1
        return trial

    def judge(self, reports: Sequence[EpochReport]) -> dict[str, bool]:
        if not reports:
            return {}
        with self._meter.timing("verdict"):
            return self._source.judge(reports)

    def handle_death(self, death: WorkerDied) -> Trial | TrialResult:
        return self._source.handle_death(death)

    def tell(self, result: TrialResult) -> Trial:
        with self._meter.timing("tell"):
            return self._source.tell(result)


@dataclass
class TimedWorkers:
    """See `Executor`. Results are not written: workers do that, on processors of their own."""

    n_slots: int
    epoch_s: float  # on average
    chance: random.Random
    idle_s: float = 0.0  # in which nothing was due
    n_events: int = 0
    busy_s: float = 0.0  # of all workers
    _running: dict[str, Iterator[EpochReport | TrialResult]] = field(default_factory=dict)
    _verdicts: dict[str, bool | None] = field(default_factory=dict)
    _due: list[tuple[float, str]] = field(default_factory=list)
    _engine: FakeEngine = field(default_factory=lambda: FakeEngine(N_EPOCHS))
    _started: float = field(default_factory=time.process_time)

    @property
    def now(self) -> float:
        return self.idle_s + time.process_time() - self._started

    @property
    def n_running(self) -> int:
        return len(self._running)

    def takes(self, trial: Trial) -> bool:
        return len(self._running) < self.n_slots

    def submit(self, trial: Trial) -> None:
        self._running[trial.key] = self._engine.train(trial)
        self._verdicts[trial.key] = None
        self._go_on(trial.key)

    def wait(self, timeout_s: float) -> Event | None:
        if not self._due or (timeout_s == 0 and self._due[0][0] > self.now):
            return None
        at, key = heapq.heappop(self._due)
        self.idle_s += max(at - self.now, 0.0)
        self.n_events += 1
        event: EpochReport | TrialResult = self._running[key].send(self._verdicts[key])  # type: ignore[attr-defined]
        if isinstance(event, TrialResult):
            del self._running[key]
        elif not event.waits:
            self._verdicts[key] = True
            if event.epoch == N_EPOCHS:  # its result comes at once
                heapq.heappush(self._due, (self.now, key))
            else:
                self._go_on(key)
        return event

    def answer(self, key: str, goes_on: bool) -> None:
        self._verdicts[key] = goes_on
        if goes_on:
            self._go_on(key)
        else:
            heapq.heappush(self._due, (self.now, key))

    def close(self) -> None:
        self._running.clear()

    def _go_on(self, key: str) -> None:
        takes_s = draw_epoch(self.chance, self.epoch_s)
        self.busy_s += takes_s
        heapq.heappush(self._due, (self.now + takes_s, key))


def draw_epoch(chance: random.Random, mean_s: float) -> float:
    return chance.lognormvariate(-SIGMA * SIGMA / 2, SIGMA) * mean_s


def run_real(
    plan: Plan, epoch_s: float, watch: Callable[[Trial, object], None] = lambda trial, event: None
) -> tuple[float, Meter, TimedWorkers]:
    """Run the real loop; return how long it took on its clock, what each act took, and the workers."""
    study, meter = plan.to_study(), Meter()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        runs = RunsDir(Path(folder))
        record = Record.open(runs.optuna_db, study, Phase.SEARCH, FACTS)
        source = MeteredSource(SearchSource(study, record, runs.results("simulated")), meter)
        workers = TimedWorkers(plan.n_workers, epoch_s, random.Random(plan.seed))
        run_trials(source, lambda: workers, lambda trial, result: None, watch)
        return workers.now, meter, workers


def measure_laws(plan: Plan, epoch_s: float) -> Laws:
    """Measure the laws on one run."""
    took_s, meter, workers = run_real(plan, epoch_s)
    spent = {act: fmean(seconds) for act, seconds in meter.spent.items()}
    known = sum(sum(seconds) for seconds in meter.spent.values())
    busy = took_s - workers.idle_s
    propose = tuple((start, spent[f"propose {start}"]) for start in BUCKETS if f"propose {start}" in spent)
    event = max(busy - known + sum(meter.spent["propose 0"][:1]), 0.0) / workers.n_events
    return Laws(propose, spent["verdict"], spent["tell"], spent["commit"], event)
