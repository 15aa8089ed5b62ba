"""An outpost: it runs the executor of one machine for a coordinator elsewhere. It knows no cluster and opens no database."""

import shutil
import socket
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing import Pipe
from pathlib import Path

from sweep.data.prepared import unpack_training_rows
from sweep.durable.failpoint import failpoint
from sweep.errors import SweepError
from sweep.execute.cluster.messages import (
    Answer,
    Assignment,
    Description,
    Files,
    Kill,
    MachineExecutor,
    Order,
    Place,
    Said,
    Submit,
)
from sweep.execute.cluster.scratch import find_base, open_scratch
from sweep.record.provenance import read_provenance
from sweep.trial import Event, TrialResult

WAIT_S = 1.0  # for events, where no order ends it earlier


class BrokenOutpostError(Exception):
    """The executor of an outpost cannot start or cannot go on."""


@dataclass
class _Talk:
    """What an outpost and its coordinator have said to each other and not yet dealt with. Guarded by `changed`."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    orders: deque[Order] = field(default_factory=deque)
    n_ordered: int = 0  # number of the last orders taken
    said: deque[tuple[int, Event]] = field(default_factory=deque)  # not acknowledged
    n_said: int = 0
    description: Description | None = None
    failure: str | None = None
    is_closing: bool = False


class Outpost:
    """Follows the orders that come by calls, on a thread of its own. The calls may come on any thread, side by side."""

    def __init__(
        self,
        assignment: Assignment,
        read_rows: Callable[[], Mapping[str, bytes]],
        n_workers: int,
        base: Path | None = None,
    ) -> None:
        """Start at once. read_rows: fetches the rows; base: where its folder is made."""
        self._assignment = assignment
        self._read_rows = read_rows
        self._n_workers = n_workers
        self._base = base or find_base()
        self._talk = _Talk()
        self._results = Path()
        self._ring, self._bell = Pipe()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def describe(self) -> Description:
        """Wait until the executor has started, and describe it. Raises BrokenOutpostError."""
        talk = self._talk
        with talk.changed:
            talk.changed.wait_for(lambda: talk.description or talk.failure)
            if talk.description is None:
                raise BrokenOutpostError(talk.failure)
            return talk.description

    def order(self, number: int, orders: tuple[Order, ...]) -> None:
        """Take orders. A call that was thought lost may be repeated: those with a number that was taken are not."""
        with self._talk.changed:
            if number <= self._talk.n_ordered:
                return
            self._talk.n_ordered = number
            self._talk.orders += orders
        self._ring.send(None)

    def hear(self, acknowledged: int, timeout_s: float) -> tuple[Said, ...]:
        """Return what was said since the message `acknowledged`, after `timeout_s` at most; forget what came up to it.

        Raises BrokenOutpostError when all that was said before is acknowledged.
        """
        talk = self._talk
        with talk.changed:
            while talk.said and talk.said[0][0] <= acknowledged:
                _, event = talk.said.popleft()
                if isinstance(event, TrialResult):
                    shutil.rmtree(self._results / event.key, ignore_errors=True)
            talk.changed.wait_for(lambda: talk.said or talk.failure, timeout_s)
            if not talk.said and talk.failure:
                raise BrokenOutpostError(talk.failure)
            said = tuple(talk.said)
        return tuple(Said(number, event, self._read_files(event)) for number, event in said)

    def close(self) -> None:
        """Stop all that runs, at once, and remove its folder."""
        self._talk.is_closing = True
        self._ring.send(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            with ExitStack() as stack:
                executor = self._open(stack)
                while not self._talk.is_closing:
                    self._follow_orders(executor)
                    self._say(executor.wait(WAIT_S))
        except Exception as error:  # it must be heard of at the coordinator, whatever it is
            reason = str(error) if isinstance(error, SweepError) else f"{type(error).__name__}: {error}"
            with self._talk.changed:
                self._talk.failure = f"{socket.gethostname()}: {reason}"
                self._talk.changed.notify_all()

    def _open(self, stack: ExitStack) -> MachineExecutor:
        """Set up the folder, and start the executor of this machine."""
        scratch = stack.enter_context(open_scratch(self._base, self._assignment.study))
        data = unpack_training_rows(self._read_rows(), self._assignment.facts, scratch / "rows")
        place = Place(data, scratch / "results", scratch / "logs", scratch / "programs")
        self._results = place.results
        host = socket.gethostname()
        provenance = read_provenance() | {"host": host}
        executor, capacity = self._assignment.start(place, provenance, self._n_workers)
        stack.callback(executor.close)
        executor.bell = self._bell
        with self._talk.changed:
            self._talk.description = Description(host, capacity, provenance)
            self._talk.changed.notify_all()
        return executor

    def _follow_orders(self, executor: MachineExecutor) -> None:
        while self._bell.poll():
            self._bell.recv()
        with self._talk.changed:
            orders = list(self._talk.orders)
            self._talk.orders.clear()
        for order in orders:
            match order:
                case Submit(trial):
                    shutil.rmtree(self._results / trial.key, ignore_errors=True)  # of an attempt that nobody waits for
                    executor.submit(trial)
                case Answer(key, goes_on):
                    executor.answer(key, goes_on)
                case Kill(key):
                    executor.kill(key)

    def _say(self, event: Event | None) -> None:
        if event is None:
            return
        with self._talk.changed:
            self._talk.n_said += 1
            self._talk.said.append((self._talk.n_said, event))
            self._talk.changed.notify_all()
        failpoint("cluster.said")

    def _read_files(self, event: Event) -> Files:
        """Read the files of a result; none once it was acknowledged by a later call, whose answer is the one that counts."""
        if not isinstance(event, TrialResult):
            return {}
        return {name: (self._results / event.key / name).read_bytes() for name in event.files}
