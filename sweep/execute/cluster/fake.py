"""A cluster of fake machines: outposts are threads of the bridge, so their workers are processes of this machine."""

from pathlib import Path

from sweep.execute.cluster.messages import Assignment, Description, Files, Machine, Order, Said
from sweep.execute.cluster.outpost import Outpost


class FakeCluster:
    """See `bridge.Cluster`. machines: the cores of each."""

    def __init__(self, machines: tuple[int, ...], scratch: Path, assignment: Assignment, rows: Files) -> None:
        self._machines = tuple(
            Machine(f"fake-{k}", f"127.0.0.{k + 1}", True, n_cores) for k, n_cores in enumerate(machines)
        )
        self._scratch = scratch
        self._assignment = assignment
        self._rows = rows

    def list_machines(self) -> tuple[Machine, ...]:
        return self._machines

    def send_out(self, machine: Machine, n_workers: int) -> "FakeRemote":
        return FakeRemote(Outpost(self._assignment, lambda: self._rows, n_workers, self._scratch))

    def leave(self) -> None:
        """Do nothing."""


class FakeRemote:
    """See `bridge.RemoteOutpost`."""

    def __init__(self, outpost: Outpost) -> None:
        self._outpost = outpost

    def describe(self) -> Description:
        return self._outpost.describe()

    def order(self, number: int, orders: tuple[Order, ...]) -> None:
        self._outpost.order(number, orders)

    def hear(self, acknowledged: int, timeout_s: float) -> tuple[Said, ...]:
        return self._outpost.hear(acknowledged, timeout_s)

    def close(self) -> None:
        self._outpost.close()

    def kill(self) -> None:
        self._outpost.close()
