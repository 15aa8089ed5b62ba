"""The bridge: a process beside the coordinator that holds the connection to the cluster.

It is a process of its own because a cluster's library may block the process that it is in, or end it, when its head is gone.
It decides nothing and keeps nothing: if it dies, the coordinator starts another and sends out new outposts.
"""

import os
import queue
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Protocol

from sweep.durable.failpoint import failpoint
from sweep.execute.cluster.messages import (
    Abandon,
    Acknowledge,
    Assignment,
    Broken,
    CannotConnect,
    Close,
    Connecting,
    Description,
    Files,
    Found,
    FromBridge,
    FromCoordinator,
    Heard,
    Lost,
    Machine,
    Machines,
    Order,
    Orders,
    Ready,
    Said,
)
from sweep.execute.cluster.outpost import BrokenOutpostError
from sweep.execute.process import set_up_process

LOOK_S = 2.0  # between two looks at which machines there are
HEAR_S = 5.0  # that an outpost with nothing to say keeps its ear open; it is asked again at once
CLOSE_S = 5.0  # for outposts to clean up


class CannotConnectError(Exception):
    """A cluster that cannot be reached, or does not let us in."""


class LostOutpostError(Exception):
    """An outpost that died or fell silent."""


class RemoteOutpost(Protocol):
    """An outpost from afar; see `Outpost`. Every call raises LostOutpostError where it is dead or silent for too long."""

    def describe(self) -> Description: ...

    def order(self, number: int, orders: tuple[Order, ...]) -> None: ...

    def hear(self, acknowledged: int, timeout_s: float) -> tuple[Said, ...]: ...

    def close(self) -> None: ...

    def kill(self) -> None:
        """End it without a word, as far as it can be reached."""


class Cluster(Protocol):
    """Machines, and the means to run an outpost on each."""

    def list_machines(self) -> tuple[Machine, ...]: ...

    def send_out(self, machine: Machine, n_workers: int) -> RemoteOutpost: ...

    def leave(self) -> None: ...


# Connects to a cluster; the assignment and the rows are for the outposts on it. Raises CannotConnectError.
Connect = Callable[[Assignment, Files], Cluster]


@dataclass(frozen=True, kw_only=True)
class BridgeOptions:
    """Options of the bridge."""

    load_cluster: Callable[[], Connect]  # called in the bridge: it loads the cluster's library
    assignment: Assignment
    rows: Callable[[], Files]  # reads them, in the bridge
    log: Path


def run_bridge(connection: Connection, options: BridgeOptions) -> None:
    """Be the bridge, until told to close."""
    set_up_process(options.log, None, {})
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what the cluster's library prints
    coordinator = _Coordinator(connection)
    connect = options.load_cluster()
    coordinator.send(Connecting())
    try:
        cluster = connect(options.assignment, options.rows())
    except CannotConnectError as error:
        coordinator.send(CannotConnect(str(error)))
        return
    _Bridge(cluster, coordinator).run()
    os._exit(0)  # its threads may wait for machines that are out of reach


class _Coordinator:
    """The coordinator, at the other end of `connection`. Threads may send to it at the same time."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def send(self, message: FromBridge) -> None:
        with self._lock:
            self._connection.send(message)

    def receive(self, timeout_s: float) -> FromCoordinator | None:
        return self._connection.recv() if self._connection.poll(timeout_s) else None


class _Bridge:
    """Carries messages between the coordinator and outposts, each of which has two threads here."""

    def __init__(self, cluster: Cluster, coordinator: _Coordinator) -> None:
        self._cluster = cluster
        self._coordinator = coordinator
        self._lines: dict[int, _Line] = {}

    def run(self) -> None:
        threading.Thread(target=self._watch_machines, daemon=True).start()
        while True:
            match self._coordinator.receive(LOOK_S):
                case Found(outpost, machine, n_workers):
                    remote = self._cluster.send_out(machine, n_workers)
                    self._lines[outpost] = _Line(outpost, remote, self._coordinator)
                case Orders(outpost, orders):
                    self._lines[outpost].orders.put(orders)
                case Acknowledge(outpost, number):
                    self._lines[outpost].acknowledged.put(number)
                case Abandon(outpost):
                    self._lines.pop(outpost).abandon()
                case Close():
                    self._close()
                    return

    def _watch_machines(self) -> None:
        pause = threading.Event()
        try:
            while True:
                self._coordinator.send(Machines(self._cluster.list_machines()))
                pause.wait(LOOK_S)
        except Exception:  # the head is gone, or the coordinator
            traceback.print_exc()
            os._exit(1)

    def _close(self) -> None:
        closing = [threading.Thread(target=line.close, daemon=True) for line in self._lines.values()]
        for thread in closing:
            thread.start()
        for thread in closing:
            thread.join(CLOSE_S)
        self._cluster.leave()


class _Line:
    """The line to one outpost: a thread that hears it, and one that passes orders on."""

    def __init__(self, outpost: int, remote: RemoteOutpost, coordinator: _Coordinator) -> None:
        self._outpost = outpost
        self._remote = remote
        self._coordinator = coordinator
        self._is_over = False
        self.orders: queue.SimpleQueue[tuple[Order, ...]] = queue.SimpleQueue()
        self.acknowledged: queue.SimpleQueue[int] = queue.SimpleQueue()
        for work in (self._hear, self._pass_on):
            threading.Thread(target=self._end_with, args=(work,), daemon=True).start()

    def abandon(self) -> None:
        self._is_over = True
        threading.Thread(target=self._remote.kill, daemon=True).start()  # which may take as long as it was silent

    def close(self) -> None:
        self._is_over = True
        with suppress(LostOutpostError):
            self._remote.close()
        self._remote.kill()

    def _hear(self) -> None:
        self._coordinator.send(Ready(self._outpost, self._remote.describe()))
        acknowledged = 0
        while not self._is_over:
            said = self._remote.hear(acknowledged, HEAR_S)
            if said and not self._is_over:
                failpoint("cluster.heard")
                self._coordinator.send(Heard(self._outpost, said))
                acknowledged = self.acknowledged.get()

    def _pass_on(self) -> None:
        number = 0
        while not self._is_over:
            number += 1
            self._remote.order(number, self.orders.get())

    def _end_with(self, work: Callable[[], None]) -> None:
        """Do `work`; tell the coordinator how it ended, unless that has been told."""
        end: FromBridge
        try:
            work()
            return
        except LostOutpostError as error:
            end = Lost(self._outpost, str(error))
        except BrokenOutpostError as error:
            end = Broken(self._outpost, str(error))
        if not self._is_over:
            self._is_over = True
            self._coordinator.send(end)
