"""The executor on a cluster: an outpost on each machine as machines come and go, heard through the bridge.

Nothing on the cluster is trusted with what lasts. A result arrives as bytes, is compared with the hashes that its worker took,
and is stored here; only then is it an event, and only then is the outpost told to forget it. An outpost that was given up
is never heard again, so whatever it still does is written nowhere.
"""

import hashlib
import logging
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from sweep.durable.failpoint import failpoint
from sweep.durable.inside import check_name
from sweep.errors import WorkersError
from sweep.execute.cluster.link import Clock, Cut, Link
from sweep.execute.cluster.messages import (
    Abandon,
    Acknowledge,
    Answer,
    Broken,
    Description,
    Files,
    Found,
    FromBridge,
    Heard,
    Kill,
    Lost,
    Machine,
    Machines,
    Orders,
    Ready,
    Said,
    Submit,
)
from sweep.execute.cluster.rules import Quarantine, Watchdog, is_free, plan_outposts
from sweep.record import results
from sweep.trial import CohortReport, EpochReport, Event, Trial, TrialResult, WorkerDied

ALONE_S = 600.0  # without any machine
NOTICE_S = 30.0  # after which that is said; an outpost takes some seconds to start
LOOK_S = 1.0  # between two looks for trials that hang

logger = logging.getLogger(__name__)


class DamagedOnTheWayError(Exception):
    """What came from an outpost and is not what its worker wrote, or of no trial that is its to train."""


@dataclass(eq=False)
class _Site:
    """An outpost, as the coordinator knows it."""

    number: int
    machine: Machine
    n_workers: int
    description: Description | None = None  # once it is ready
    running: dict[str, Trial] = field(default_factory=dict)  # those that are its to train, by key
    waiting: list[Trial] = field(default_factory=list)  # those of `running` that were not sent yet
    sent: list[str] = field(default_factory=list)  # keys of those of `running` that were sent
    hung: set[str] = field(default_factory=set)  # keys of those whose worker was killed for its silence
    n_heard: int = 0  # number of the last message that was dealt with

    @property
    def is_cohort(self) -> bool:
        return self.description is not None and self.description.capacity.engine == "cohort"

    def pulse(self, key: str) -> str:
        """Name what is expected to say something while a trial runs: the trial, or its whole cohort."""
        return f"cohort {self.number}" if self.is_cohort else key


class ClusterExecutor:
    """See `Executor`. Sends an outpost to every machine of a cluster.

    n_workers: workers at most, over all machines; None for one a core. own: the coordinator's provenance, to say what
    differs on a machine.
    """

    def __init__(
        self,
        link: Link,
        results: Path,
        n_workers: int | None,
        own: Mapping[str, str],
        clock: Clock = time.monotonic,
    ) -> None:
        self._link = link
        self._results = results
        self._n_workers = n_workers
        self._own = own
        self._clock = clock
        self._sites: dict[int, _Site] = {}
        self._n_sites = 0  # ever
        self._quarantine = Quarantine()
        self._watchdog = Watchdog()
        self._events: deque[Event] = deque()
        self._looked_at = self._had_machines_at = clock()
        self._is_alone = False  # and has said so
        results.mkdir(parents=True, exist_ok=True)

    @property
    def n_running(self) -> int:
        n_ended = sum(not isinstance(event, EpochReport | CohortReport) for event in self._events)
        return sum(len(site.running) for site in self._sites.values()) + n_ended

    @property
    def n_machines(self) -> int:
        """Count the machines whose outpost is ready."""
        return sum(site.description is not None for site in self._sites.values())

    def takes(self, trial: Trial) -> bool:
        return any(True for _ in self._list_free(trial))

    def submit(self, trial: Trial) -> None:
        site = min(self._list_free(trial), key=lambda free: len(free.running) / max(free.n_workers, 1))
        site.running[trial.key] = trial
        site.waiting.append(trial)  # sent by `wait`, so that a cohort begins with all that is submitted

    def answer(self, key: str, goes_on: bool) -> None:
        for site in self._sites.values():
            if key in site.running:
                self._link.send(Orders(site.number, (Answer(key, goes_on),)))

    def wait(self, timeout_s: float) -> Event | None:
        self._send_orders()
        if not self._events:
            self._look_for_trouble()
            self._receive(timeout_s)
        return self._events.popleft() if self._events else None

    def close(self) -> None:
        self._link.close()
        self._sites.clear()

    def _list_free(self, trial: Trial) -> Iterator[_Site]:
        for site in self._sites.values():
            ready = site.description
            if ready and is_free(ready.capacity, site.running.values(), site.sent, trial):
                yield site

    def _send_orders(self) -> None:
        for site in self._sites.values():
            if not site.waiting or (site.is_cohort and self._events):  # what these lead to may join the cohort
                continue
            self._link.send(Orders(site.number, tuple(map(Submit, site.waiting))))
            for trial in site.waiting:
                site.sent.append(trial.key)
                self._watchdog.expect(site.pulse(trial.key), self._clock())
            site.waiting.clear()

    def _receive(self, timeout_s: float) -> None:
        message = self._link.receive(timeout_s)
        match message:
            case Machines(machines):
                self._look_at(machines)
            case Cut(reason):
                logger.warning("lost the connection to the cluster: %s", reason)
                for site in list(self._sites.values()):
                    self._give_up(site, "the connection to its machine was lost")
            case None:
                pass
            case _:
                self._hear_outpost(message)

    def _hear_outpost(self, message: FromBridge) -> None:
        site = self._sites.get(getattr(message, "outpost", 0))
        if site is None:
            return  # it was given up
        match message:
            case Ready(_, description):
                site.description = description
                self._introduce(site, description)
            case Heard(_, said):
                self._hear(site, said)
            case Lost(_, reason):
                self._lose(site, reason)
            case Broken(_, reason):
                self._lose(site, reason)
                if not self._sites:
                    raise WorkersError(f"no machine of the cluster can train: {reason}")

    def _hear(self, site: _Site, said: tuple[Said, ...]) -> None:
        """Deal with what an outpost said, then let it forget that."""
        for one in said:
            if one.number > site.n_heard:
                try:
                    self._take(site, one.event, one.files)
                except DamagedOnTheWayError as error:
                    self._lose(site, str(error))
                    return
                site.n_heard = one.number
        self._link.send(Acknowledge(site.number, site.n_heard))

    def _take(self, site: _Site, event: Event, files: Files) -> None:
        """Make a result durable, and pass an event on to the loop."""
        keys = [report.key for report in event.reports] if isinstance(event, CohortReport) else [event.key]
        for key in keys:
            self._watchdog.hear(site.pulse(key), self._clock())
        if isinstance(event, TrialResult | WorkerDied) and event.key not in site.running:
            raise DamagedOnTheWayError(f"{event.key!r:.100} is no trial that was sent there")
        if isinstance(event, TrialResult):
            failpoint("cluster.arrived")
            event = store(self._results / event.key, event, files)
            failpoint("cluster.stored")
            self._quarantine.forgive(site.machine.id)
        if isinstance(event, WorkerDied) and event.key in site.hung:
            event = replace(event, reason="its worker hung and was killed")
        if isinstance(event, TrialResult | WorkerDied):
            self._end(site, event.key)
        self._events.append(event)

    def _end(self, site: _Site, key: str) -> None:
        del site.running[key]
        site.sent.remove(key)
        site.hung.discard(key)
        if site.pulse(key) == key or not site.sent:
            self._watchdog.forget(site.pulse(key))

    def _introduce(self, site: _Site, description: Description) -> None:
        """Say what a machine has, and what of it differs from here: its results are tagged with it."""
        capacity = description.capacity
        what = f"{capacity.n_slots} workers" if capacity.engine == "graph" else "cohorts"
        logger.info("machine %s (%s): %s", description.host, site.machine.address, what)
        for name, here in self._own.items():
            there = description.provenance.get(name, "missing")
            if there != here and name not in ("engine", "host"):
                logger.warning("machine %s: %s is %s, here %s", description.host, name, there, here)

    def _lose(self, site: _Site, reason: str) -> None:
        """Give up an outpost, and send none to its machine for a while."""
        host = site.description.host if site.description else site.machine.address
        logger.warning("lost machine %s with %d trials: %s", host, len(site.running), reason)
        self._quarantine.add(site.machine.id, self._clock())
        self._link.send(Abandon(site.number))
        self._give_up(site, f"its machine {host} was lost: {reason}")

    def _give_up(self, site: _Site, reason: str) -> None:
        for key in list(site.running):
            self._watchdog.forget(site.pulse(key))
            self._events.append(WorkerDied(key, reason, blames_trial=False))
        del self._sites[site.number]

    def _look_at(self, machines: tuple[Machine, ...]) -> None:
        """Send an outpost to each machine that has none and may have one."""
        self._quarantine.look(machines, self._clock())
        taken = [site.machine.id for site in self._sites.values()]
        n_left = None if self._n_workers is None else self._n_workers - sum(s.n_workers for s in self._sites.values())
        for machine, n_workers in plan_outposts(machines, taken, self._quarantine, n_left):
            self._n_sites += 1
            self._sites[self._n_sites] = _Site(self._n_sites, machine, n_workers)
            self._link.send(Found(self._n_sites, machine, n_workers))

    def _look_for_trouble(self) -> None:
        """Kill workers that hang, and give up if there is no machine for long."""
        now = self._clock()
        if now - self._looked_at < LOOK_S:
            return
        self._looked_at = now
        hung = set(self._watchdog.find_hung(now))
        for site in self._sites.values():
            keys = [key for key in site.sent if site.pulse(key) in hung]
            for key in keys:
                logger.warning("%s said nothing for %.0f s: its worker is killed", key, self._watchdog.deadline_s)
                site.hung.add(key)
                self._watchdog.forget(site.pulse(key))
                self._watchdog.expect(site.pulse(key), now)
                self._link.send(Orders(site.number, (Kill(key),)))
        self._check_is_not_alone(now)

    def _check_is_not_alone(self, now: float) -> None:
        alone_s = now - self._had_machines_at
        if self.n_machines or not self._link.is_connected:
            self._had_machines_at, self._is_alone = now, False
        elif alone_s > ALONE_S:
            raise WorkersError(f"the cluster has had no machine with free cores for {ALONE_S:.0f} s; add one to it")
        elif alone_s > NOTICE_S and not self._is_alone:
            self._is_alone = True
            logger.warning("no machine of the cluster has free cores: waiting up to %.0f s for one", ALONE_S)


def store(folder: Path, result: TrialResult, files: Files) -> TrialResult:
    """Make a result from elsewhere durable as `folder`, in the way of every result.

    Raises DamagedOnTheWayError if a file is not what its worker wrote.
    """
    for name, digest in result.files.items():
        try:
            check_name(name)
        except ValueError as error:
            raise DamagedOnTheWayError(f"a file of {result.key}: {error}") from error
        if hashlib.sha256(files.get(name, b"")).hexdigest() != digest:
            raise DamagedOnTheWayError(f"{name} of {result.key} arrived damaged")

    def write(draft: Path) -> None:
        for name in result.files:
            (draft / name).write_bytes(files[name])

    return results.save(folder, result, write)
