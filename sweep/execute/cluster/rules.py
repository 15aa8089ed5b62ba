"""Pure rules of a cluster: which machines get an outpost, who takes a trial, when a trial counts as hung."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sweep.execute.cluster.messages import Capacity, Machine
from sweep.trial import Phase, Trial

QUARANTINE_S = (
    60.0  # after a first loss; Ray itself takes up to 62 s to call a silent machine dead. Doubled by each further loss
)
MOST_DOUBLINGS = 6  # about an hour

FIRST_DEADLINE_S = 1800.0  # before anything is known of what epochs take: a first one may include minutes of compiling
PATIENCE = 10  # times the longest silence that ended well
SHORTEST_DEADLINE_S = 60.0
GAP_S = 5.0  # a pause of the coordinator itself: it was stopped, or its machine slept


def is_free(capacity: Capacity, running: Iterable[Trial], sent: Sequence[str], trial: Trial) -> bool:
    """Return whether an outpost can be given `trial`.

    running: the trials that it has been given or will be; sent: the keys of those that it has been given already. A
    cohort trains those together, and takes no searched trial meanwhile, as in `CohortExecutor.takes`.
    """
    if capacity.engine == "graph":
        return sum(1 for _ in running) < capacity.n_slots
    if trial.phase != Phase.SEARCH:
        return True
    return not sent and sum(one.phase == Phase.SEARCH for one in running) < capacity.n_slots


@dataclass
class Quarantine:
    """Machines that were lost: a cluster may call one alive for a minute after it died.

    A machine comes back when the cluster has called it dead and calls it alive again, or when its time is over.
    """

    _until: dict[str, float] = field(default_factory=dict)  # machine id -> time
    _losses: dict[str, int] = field(default_factory=dict)  # machine id -> losses in a row

    def add(self, machine: str, now: float) -> None:
        """Keep out a machine that was just lost, longer after each loss in a row."""
        losses = self._losses[machine] = self._losses.get(machine, 0) + 1
        self._until[machine] = now + QUARANTINE_S * 2 ** min(losses - 1, MOST_DOUBLINGS)

    def forgive(self, machine: str) -> None:
        """Forget earlier losses of a machine that has finished a trial."""
        self._losses.pop(machine, None)

    def look(self, machines: Iterable[Machine], now: float) -> None:
        """Release machines by what the cluster says of them now."""
        alive = {machine.id for machine in machines if machine.is_alive}
        self._until = {id: until for id, until in self._until.items() if id in alive and until > now}

    def holds(self, machine: str) -> bool:
        return machine in self._until


def plan_outposts(
    machines: Iterable[Machine], taken: Iterable[str], quarantine: Quarantine, n_left: int | None
) -> list[tuple[Machine, int]]:
    """Return the machines that get an outpost now, each with its number of workers.

    taken: ids of machines that have one. n_left: workers that may still be started, None for no bound.
    """
    taken, planned = set(taken), []
    for machine in machines:
        if not machine.is_alive or machine.id in taken or quarantine.holds(machine.id):
            continue
        n_workers = machine.n_cores if n_left is None else min(machine.n_cores, n_left)
        if n_workers < 1:
            continue
        planned.append((machine, n_workers))
        n_left = None if n_left is None else n_left - n_workers
    return planned


@dataclass
class Watchdog:
    """Finds trials that hang: those that have been silent much longer than any trial that went on afterwards.

    A trial is expected to say something, an epoch or its end, from when its outpost has it until it ends; not while it
    waits for others, or for its verdict.
    """

    _last: dict[str, float] = field(default_factory=dict)  # key -> when it was given out or last said something
    _longest_s: float | None = None  # the longest silence that ended with an epoch or a result
    _looked_at: float | None = None

    @property
    def deadline_s(self) -> float:
        """The silence that is too long."""
        if self._longest_s is None:
            return FIRST_DEADLINE_S
        return max(SHORTEST_DEADLINE_S, PATIENCE * self._longest_s)

    def expect(self, key: str, now: float) -> None:
        """Start to wait for a trial, unless it is waited for already."""
        self._last.setdefault(key, now)

    def hear(self, key: str, now: float) -> None:
        """Take note that a trial said something."""
        if key in self._last:
            self._longest_s = max(self._longest_s or 0.0, now - self._last[key])
            self._last[key] = now

    def forget(self, key: str) -> None:
        """Stop waiting for a trial."""
        self._last.pop(key, None)

    def find_hung(self, now: float) -> list[str]:
        """Return the trials that are silent for too long. Call this every few seconds.

        The time between two calls does not count where it is long: then it was the caller that did not listen.
        """
        gap = 0.0 if self._looked_at is None else now - self._looked_at
        self._looked_at = now
        if gap > GAP_S:
            self._last = {key: last + gap for key, last in self._last.items()}
        return [key for key, last in self._last.items() if now - last > self.deadline_s]
