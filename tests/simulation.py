"""A whole search on a virtual clock: machines that are lost, cut off or come back, a coordinator that crashes at any write.

The loop, the source, the sampler and the record are those of the product, on a real database; result folders are real. Only
training and time are made up. Everything follows from one seed, so that a run that breaks a rule can be run again. The idea
is that of FoundationDB's simulation (Zhou et al. 2021, SIGMOD, section 4).
"""

import heapq
import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from sweep.execute.fake import FakeEngine
from sweep.execute.tabular import VirtualClock
from sweep.layout import RunsDir
from sweep.loop import run_trials
from sweep.record import results, trials
from sweep.record.trials import Record
from sweep.search.sources import SearchSource
from sweep.study.file import parse_study
from sweep.study.schema import Study
from sweep.trial import EpochReport, Event, Phase, Trial, TrialEvent, TrialResult, WorkerDied
from tests.studies import FACTS

N_EPOCHS = 4
EPOCH_S = 60.0  # on average
SUBMIT_S = 0.02  # of the coordinator's time, in which other things happen
PER_MACHINE = 8  # workers
NOTICED_S = {"killed": 12.0, "saved": 12.0, "cut off": 62.0}  # after how long a lost machine is given up


class Crash(BaseException):
    """The coordinator dies here, as by SIGKILL: nothing that it has in memory stays."""


class Kind(Enum):
    """What happens on the virtual clock."""

    EPOCH = 1  # a trial ends an epoch
    LOSS = 2  # a machine is lost
    NOTICE = 3  # the executor gives a lost machine up


@dataclass(frozen=True)
class Plan:
    """What is simulated. `losses` are of machines, `crashes` of the coordinator."""

    n_trials: int
    losses: int
    crashes: int
    seed: int
    n_workers: int = 64
    sampler: str = "random"

    def to_study(self) -> Study:
        space = {
            "hidden_layers": {"choice": [1, 2, 3]},
            "units": {"int": [16, 512], "log": True},
            "dropout": {"float": [0.0, 0.6]},
            "learning_rate": {"float": [1e-4, 1e-2], "log": True},
        }
        search = {
            "trials": self.n_trials,
            "sampler": self.sampler,
            "pruner": {"kind": "halving", "rungs": [1], "reduction_factor": 3},
        }
        table = {"name": "simulated", "seed": self.seed, "data": {"validation_rows": 1}, "space": space}
        return parse_study(table | {"training": {"max_epochs": N_EPOCHS}, "search": search}, "simulated.toml")


@dataclass
class Attempt:
    """A trial that trains on a machine, under a lease that the executor may give up."""

    trial: Trial
    machine: int
    epochs: Any
    verdict: bool | None = None  # of the last report; None before the first epoch
    is_leased: bool = True


class SimulatedCluster:
    """See `Executor`. Machines of several workers each, on a virtual clock.

    A machine that is lost takes its trials with it: some without a result, some just after one was made durable and before
    anyone heard of it. One that is cut off goes on for itself; what it ends after it was given up is never fetched.
    """

    def __init__(
        self, folder: Path, plan: Plan, clock: VirtualClock, chance: random.Random, loss_at: list[float]
    ) -> None:
        self._folder, self._plan, self._clock, self._chance = folder, plan, clock, chance
        self._engine = FakeEngine(N_EPOCHS)
        self._running: dict[str, Attempt] = {}
        self._due: list[tuple[float, int, Kind, Any]] = []
        self._n_scheduled = 0
        self._died: list[WorkerDied] = []
        self.saved: Counter[str] = Counter()  # results made durable, by key
        for at in loss_at:
            self._schedule(max(at - clock.now, 0.0), Kind.LOSS, None)

    @property
    def n_running(self) -> int:
        return len(self._running)

    def takes(self, trial: Trial) -> bool:
        return len(self._running) < self._plan.n_workers

    def submit(self, trial: Trial) -> None:
        assert self.takes(trial), "no slot is free"
        assert trial.key not in self._running, f"{trial.key} trains twice at a time"
        self._clock.now += SUBMIT_S
        machine = self._chance.randrange(self._plan.n_workers // PER_MACHINE)
        attempt = Attempt(trial, machine, self._engine.train(trial))
        self._running[trial.key] = attempt
        self._go_on(attempt)

    def wait(self, timeout_s: float) -> Event | None:
        while True:
            if self._died:
                return self._died.pop()
            if not self._running or (timeout_s == 0 and self._due[0][0] > self._clock.now):
                return None
            at, _, kind, what = heapq.heappop(self._due)
            self._clock.now = max(at, self._clock.now)
            event = self._act(kind, what)
            if event is not None:
                return event

    def answer(self, key: str, goes_on: bool) -> None:
        self._running[key].verdict = goes_on
        self._go_on(self._running[key])

    def close(self) -> None:
        """Let some of what trains end by itself, unheard; stop the rest."""
        for attempt in self._running.values():
            if attempt.is_leased and self._chance.random() < 0.1:
                self._end_by_itself(attempt)
        self._running.clear()

    def _act(self, kind: Kind, what: Any) -> Event | None:
        match kind:
            case Kind.LOSS:
                self._lose(self._chance.randrange(self._plan.n_workers // PER_MACHINE))
            case Kind.NOTICE:
                self._give_up(what)
            case Kind.EPOCH if what.is_leased:
                return self._end_epoch(what)
        return None

    def _end_epoch(self, attempt: Attempt) -> Event:
        event: EpochReport | TrialResult = attempt.epochs.send(attempt.verdict)
        if isinstance(event, TrialResult):
            del self._running[event.key]
            return self._save(event)
        if not event.waits:
            attempt.verdict = True
            self._go_on(attempt)
        return event

    def _lose(self, machine: int) -> None:
        how = self._chance.choice(sorted(NOTICED_S))
        lost = [attempt for attempt in self._running.values() if attempt.machine == machine and attempt.is_leased]
        for attempt in lost:
            attempt.is_leased = False  # nothing of it is heard from now on
            if how == "saved" and self._chance.random() < 0.5:
                self._end_by_itself(attempt)
        self._schedule(NOTICED_S[how], Kind.NOTICE, lost)

    def _give_up(self, lost: list[Attempt]) -> None:
        for attempt in lost:
            if self._running.get(attempt.trial.key) is attempt:
                del self._running[attempt.trial.key]
                self._died.append(WorkerDied(attempt.trial.key, "its machine was lost", blames_trial=False))

    def _end_by_itself(self, attempt: Attempt) -> None:
        """Make the result of a trial durable that nobody hears of; not where it waits for a verdict."""
        if not attempt.trial.rungs or attempt.verdict is not None:
            event = attempt.epochs.send(attempt.verdict)
            while isinstance(event, EpochReport):
                event = attempt.epochs.send(True)
            self._save(event)

    def _save(self, result: TrialResult) -> TrialResult:
        saved = results.save(self._folder / result.key, result, lambda draft: None)
        self.saved[result.key] += 1
        return saved

    def _go_on(self, attempt: Attempt) -> None:
        self._schedule(self._chance.lognormvariate(0, 0.5) * EPOCH_S, Kind.EPOCH, attempt)

    def _schedule(self, in_s: float, kind: Kind, what: Any) -> None:
        self._n_scheduled += 1
        heapq.heappush(self._due, (self._clock.now + in_s, self._n_scheduled, kind, what))


@dataclass
class Simulation:
    """One search, from its first trial to its last, by as many coordinators as it takes."""

    plan: Plan
    runs: RunsDir
    keeps_folders: bool = True  # False: a result is removed once it is told and shown, as 100,000 of them fill a disk
    tracked: dict[str, str] = field(default_factory=dict)  # key -> state; what a report would be made from
    shown: dict[str, str] = field(default_factory=dict)  # what was said to have ended
    saved: Counter[str] = field(default_factory=Counter)
    n_crashes: int = 0
    n_deaths: int = 0
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.plan.seed)
        self._clock = VirtualClock()
        length_s = (
            self.plan.n_trials * 2 * EPOCH_S / self.plan.n_workers
        )  # roughly: two of three are pruned after an epoch
        begin = self._clock.now
        self._loss_at = sorted(begin + self._chance.uniform(0, length_s) for _ in range(self.plan.losses))
        self._folder = self.runs.results("simulated")
        self._folder.mkdir(parents=True)

    @property
    def virtual_hours(self) -> float:
        return (self._clock.now - VirtualClock().now) / 3600

    def run(self) -> None:
        """Run coordinators until one of them ends by itself, then check what is left."""
        hits_apart = 8 * self.plan.n_trials // (self.plan.crashes + 1)  # a trial comes by about so many failpoints
        while True:
            is_last = self.n_crashes >= self.plan.crashes
            hits = None if is_last else self._chance.randrange(1, 2 * hits_apart)
            with crash_after(hits):
                try:
                    self._coordinate()
                    break
                except Crash:
                    self.n_crashes += 1
        self.faults += check(self)

    def _coordinate(self) -> None:
        """Do what `coordinator.py` does for a search, with tracking in a dict."""
        study = self.plan.to_study()
        record = Record.open(self.runs.optuna_db, study, Phase.SEARCH, FACTS)
        self.faults += [
            f"{path.name}: a result of nobody" for path in results.list_strangers(self._folder, record.trials)
        ]
        source = SearchSource(study, record, self._folder, self._clock)
        for key, recorded in record.trials.items():
            if recorded.state is not None:
                self.tracked[key] = recorded.state
        losses = [at for at in self._loss_at if at > self._clock.now]
        cluster = SimulatedCluster(self._folder, self.plan, self._clock, self._chance, losses)
        try:
            run_trials(source, lambda: cluster, self._track, self._watch)
        finally:
            with crash_after(None):
                cluster.close()
            self.saved += cluster.saved

    def _track(self, trial: Trial, result: TrialResult) -> None:
        self.tracked[trial.key] = result.state

    def _watch(self, trial: Trial, event: TrialEvent | None) -> None:
        if isinstance(event, WorkerDied):
            self.n_deaths += 1
        if isinstance(event, TrialResult):
            self.shown[trial.key] = event.state
            if not self.keeps_folders:
                shutil.rmtree(self._folder / trial.key)


@contextmanager
def crash_after(n_hits: int | None) -> Iterator[None]:
    """Crash at the n-th failpoint of the record or of a result from now on; None: never."""
    left = n_hits

    def reach(name: str) -> None:
        nonlocal left
        if left is not None:
            left -= 1
            if left == 0:
                raise Crash(name)

    rooms: list[Any] = [trials, results]
    before: list[Callable[[str], None]] = [room.failpoint for room in rooms]
    for room in rooms:
        room.failpoint = reach
    try:
        yield
    finally:
        for room, failpoint in zip(rooms, before, strict=True):
            room.failpoint = failpoint


def check(done: Simulation) -> list[str]:
    """Return what was lost, doubled, left RUNNING or told otherwise than shown, by SQL on the database alone."""
    with closing(sqlite3.connect(done.runs.optuna_db)) as connection:
        rows = connection.execute("SELECT number, state FROM trials ORDER BY trial_id").fetchall()
        attributes = connection.execute("SELECT value_json FROM trial_user_attributes WHERE key = 'trial'").fetchall()
    states = {f"trial-{number:05d}": {"FAIL": "failed"}.get(state, state.lower()) for number, state in rows}
    faults = []
    if [number for number, _ in rows] != list(range(done.plan.n_trials)):
        faults.append(f"{len(rows)} trials are recorded, wanted {done.plan.n_trials}, numbered one by one")
    if len(set(attributes)) != len(attributes):
        faults.append("a config was tried twice")
    faults += [f"{key} was left RUNNING" for key, state in states.items() if state == "running"]
    faults += [
        f"{key} is told {state}, shown {done.shown[key]}"
        for key, state in states.items()
        if done.shown.get(key, state) != state
    ]
    faults += [
        f"{key} is tracked as {done.tracked.get(key)}, told {state}"
        for key, state in states.items()
        if done.tracked.get(key) != state
    ]
    faults += [f"{key}: {n} results" for key, n in done.saved.items() if n != 1 or key not in states]
    if done.keeps_folders:
        there = {path.name for path in done.runs.results("simulated").iterdir() if not path.name.startswith(".")}
        faults += [f"{key}: a result without a trial, or a trial without one" for key in there ^ states.keys()]
    return faults
