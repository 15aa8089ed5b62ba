"""Messages between the coordinator, its bridge and the outposts. All of them are pickled."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal, Protocol

from sweep.data.facts import DataFacts
from sweep.data.prepared import PreparedData
from sweep.execute.executor import Executor
from sweep.trial import Event, Trial

Files = Mapping[str, bytes]  # content by name


class MachineExecutor(Executor, Protocol):
    """An executor that an outpost runs: one whose wait others can end, and whose hung processes can be killed."""

    bell: Connection | None  # ends a wait early when it has something to read; whoever rings it, reads it

    def kill(self, key: str) -> None:
        """Kill the process that trains a trial; `wait` then reports the death."""


@dataclass(frozen=True)
class Place:
    """The folders that an executor works in, on one machine."""

    data: PreparedData
    results: Path
    logs: Path
    programs: Path  # compiled by JAX


@dataclass(frozen=True)
class Capacity:
    """How many trials the executor of a machine takes."""

    engine: Literal["graph", "cohort"]
    n_slots: int  # workers; or, in cohorts, searched trials at a time


# (place, provenance, workers at most) -> the executor of the machine that it is called on, and what that takes.
StartOnMachine = Callable[[Place, dict[str, str], int], tuple[MachineExecutor, Capacity]]


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """What an outpost is sent out with, beside the rows. The same for every machine."""

    study: str  # name
    facts: DataFacts
    start: StartOnMachine
    has_accelerators: bool = False  # whether outposts may need those of their machines


@dataclass(frozen=True)
class Machine:
    """A machine of the cluster, as the cluster describes it."""

    id: str
    address: str
    is_alive: bool
    n_cores: int
    n_accelerators: int = 0


@dataclass(frozen=True)
class Description:
    """An outpost that is ready, and what it runs on."""

    host: str
    capacity: Capacity
    provenance: Mapping[str, str]


@dataclass(frozen=True)
class Submit:
    """An order to run a trial."""

    trial: Trial


@dataclass(frozen=True)
class Answer:
    """An order to give a trial that waits at a rung its verdict."""

    key: str
    goes_on: bool


@dataclass(frozen=True)
class Kill:
    """An order to kill the process of a trial that hangs."""

    key: str


Order = Submit | Answer | Kill


@dataclass(frozen=True)
class Said:
    """An event at an outpost, with the files of a result. number: counts from 1 at each outpost."""

    number: int
    event: Event
    files: Files


# From the coordinator to the bridge. outpost: a number that the coordinator gives, never twice.


@dataclass(frozen=True)
class Found:
    """Send an outpost to a machine."""

    outpost: int
    machine: Machine
    n_workers: int


@dataclass(frozen=True)
class Orders:
    """Pass orders on to an outpost, all before it looks for events again."""

    outpost: int
    orders: tuple[Order, ...]


@dataclass(frozen=True)
class Acknowledge:
    """Everything an outpost said up to `number` is durable, so it may forget that."""

    outpost: int
    number: int


@dataclass(frozen=True)
class Abandon:
    """End an outpost; nothing that it says is wanted any more."""

    outpost: int


@dataclass(frozen=True)
class Close:
    """End all outposts and leave the cluster."""


# From the bridge to the coordinator.


@dataclass(frozen=True)
class Connecting:
    """The bridge is set up; from here on it is the cluster that is waited for."""


@dataclass(frozen=True)
class CannotConnect:
    """The cluster does not let the bridge in."""

    reason: str


@dataclass(frozen=True)
class Machines:
    """The machines of the cluster, now. The first such message says that the bridge is connected."""

    machines: tuple[Machine, ...]


@dataclass(frozen=True)
class Ready:
    """An outpost has started its executor."""

    outpost: int
    description: Description


@dataclass(frozen=True)
class Heard:
    """What an outpost says that is not acknowledged yet; it says nothing more before that is."""

    outpost: int
    said: tuple[Said, ...]


@dataclass(frozen=True)
class Lost:
    """An outpost that died or fell silent."""

    outpost: int
    reason: str


@dataclass(frozen=True)
class Broken:
    """An outpost whose executor cannot start or cannot go on."""

    outpost: int
    reason: str


FromCoordinator = Found | Orders | Acknowledge | Abandon | Close
FromBridge = Connecting | CannotConnect | Machines | Ready | Heard | Lost | Broken
