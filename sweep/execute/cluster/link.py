"""The coordinator's end of the bridge: it starts one, and another where that ends."""

import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TypeAlias

from sweep.errors import WorkersError
from sweep.execute.cluster.bridge import BridgeOptions, run_bridge
from sweep.execute.cluster.messages import CannotConnect, Close, Connecting, FromBridge, FromCoordinator, Machines
from sweep.execute.executor import describe_death
from sweep.execute.process import start_process

CONNECT_S = 10.0  # for the cluster to let a bridge in
START_S = 60.0  # for a bridge to start and load the cluster's library; a machine may be busy
SILENT_S = 60.0  # of a bridge, which lists the machines every few seconds
RECONNECT_S = 60.0  # a cluster that was there and is gone may come back within
PAUSE_S = 2.0  # between two attempts to reconnect
CLOSE_S = 8.0
PREFIX = re.compile(r"^\[[^]]*\] \S+:\d+: ")  # of a line of Ray's: time, level, processes, place

Clock = Callable[[], float]
Started: TypeAlias = tuple[BaseProcess, Connection]


@dataclass(frozen=True)
class Cut:
    """The bridge is gone, and with it every outpost."""

    reason: str


def start_bridge(options: BridgeOptions) -> Started:
    """Start a bridge process. It is no daemon, for those may not start processes; it dies with its parent all the same."""
    return start_process(run_bridge, options, name="sweep-bridge", daemon=False)


class Link:
    """Holds a bridge. It starts at once; while there is none, messages go nowhere."""

    def __init__(self, cluster: str, start: Callable[[], Started], log: Path, clock: Clock = time.monotonic) -> None:
        """cluster, log: for messages."""
        self._cluster = cluster
        self._start = start
        self._log = log
        self._clock = clock
        self._lost_at: float | None = None  # when a connection was lost that is not back yet
        self._start_at = clock()
        self._deadline = 0.0  # for the next sign of life
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None
        self.is_connected = False
        self._open()

    def send(self, message: FromCoordinator) -> None:
        """Send a message to the bridge. If it has just died, `receive` will say so."""
        if self._connection is not None:
            with suppress(OSError):
                self._connection.send(message)

    def receive(self, timeout_s: float) -> FromBridge | Cut | None:
        """Return the next message; None if there is none within `timeout_s`.

        Raises WorkersError if the cluster cannot be reached in time, or where it was lost, does not come back.
        """
        if self._connection is None:
            wait([], timeout_s)
            if self._clock() >= self._start_at:
                self._open()
            return None
        if not self._connection.poll(timeout_s):
            return self._check_time()
        try:
            message: FromBridge = self._connection.recv()
        except (EOFError, OSError):
            return self._handle_end()
        match message:
            case Connecting():
                self._deadline = self._clock() + CONNECT_S
                return None
            case CannotConnect(reason):
                return self._fail(reason)
            case Machines():
                self.is_connected, self._lost_at = True, None
                self._deadline = self._clock() + SILENT_S
        return message

    def close(self) -> None:
        """End the bridge and with it the outposts; kill it if it takes long."""
        if self._process is None:
            return
        if self.is_connected:
            self.send(Close())
            self._process.join(CLOSE_S)
        self._kill()

    def _open(self) -> None:
        self._process, self._connection = self._start()
        self._deadline = self._clock() + START_S

    def _check_time(self) -> Cut | None:
        if self._clock() <= self._deadline:
            return None
        if self.is_connected:
            return self._fail(f"the bridge to it is silent for {SILENT_S:.0f} s")
        return self._fail(f"it does not answer within {CONNECT_S:.0f} s{self._quote_log()}")

    def _handle_end(self) -> Cut | None:
        assert self._process is not None
        self._process.join()
        return self._fail(describe_death(self._process.exitcode).replace("its worker", "the bridge to it", 1))

    def _fail(self, reason: str) -> Cut | None:
        """Give this bridge up. Raises WorkersError if there is no hope in another."""
        self._kill()
        was_connected, now = self.is_connected, self._clock()
        self.is_connected = False
        if was_connected:
            self._lost_at = now
        if self._lost_at is None or now - self._lost_at > RECONNECT_S:
            raise WorkersError(
                f"cannot work on the cluster at {self._cluster}: {reason}; see that it runs and that RAY_ADDRESS names it, "
                f"or use --executor local (log: {self._log})"
            )
        self._start_at = now if was_connected else now + PAUSE_S
        return Cut(reason) if was_connected else None

    def _quote_log(self) -> str:
        """Return the last line of the bridge's log, in brackets: a cluster's library says there what it tries again."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines() if self._log.exists() else []
        return f" ({PREFIX.sub('', lines[-1])[:200]})" if lines else ""

    def _kill(self) -> None:
        if self._process is not None and self._connection is not None:
            self._process.kill()
            self._process.join()
            self._connection.close()
        self._process = self._connection = None
