"""Ray as the cluster that outposts run on: the only file that imports it, and only the bridge and outposts load it.

Ray places outposts, carries messages and bytes, and says what died. What it does when things die was measured with 2.60:
`tests/faults/README.md`.
"""

import contextlib
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, GetTimeoutError, RayActorError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweep.execute.cluster.bridge import CannotConnectError, LostOutpostError
from sweep.execute.cluster.messages import Assignment, Description, Files, Machine, Order, Said
from sweep.execute.cluster.outpost import BrokenOutpostError, Outpost

PROBE_S = 5.0  # for the head's port to answer
SILENT_S = 45.0  # after which an outpost that does not answer is lost; Ray itself takes up to 62 s
START_S = 600.0  # for an outpost: its machine may be taken by others for a while
AGAIN_S = 0.5  # between two attempts at an outpost that is out of reach


def connect(address: str, assignment: Assignment, rows: Files) -> "RayCluster":
    """Join the cluster at `address`, and put there what outposts need. Raises CannotConnectError."""
    if address != "auto":
        _probe(address)
    try:
        ray.init(address=address, namespace="sweep", log_to_driver=False, configure_logging=False)
    except (RayError, OSError, RuntimeError, ValueError) as error:
        raise CannotConnectError(_first_line(error)) from error
    return RayCluster(assignment, rows)


def _probe(address: str) -> None:
    """Look whether anything listens at `address`: Ray would wait for a minute and a half."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), PROBE_S).close()
    except OSError as error:
        raise CannotConnectError(f"nothing answers there ({error})") from error


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__


class RayCluster:
    """See `bridge.Cluster`."""

    def __init__(self, assignment: Assignment, rows: Files) -> None:
        self._assignment = assignment
        self._rows = ray.put(rows)

    def list_machines(self) -> tuple[Machine, ...]:
        return tuple(
            Machine(
                node["NodeID"],
                node["NodeManagerAddress"],
                node["Alive"],
                int(node["Resources"].get("CPU", 0)),
                int(node["Resources"].get("GPU", 0)),
            )
            for node in ray.nodes()
        )

    def send_out(self, machine: Machine, n_workers: int) -> "RayOutpost":
        """Start an outpost on a machine, as an actor that Ray neither starts again nor calls twice."""
        n_accelerators = machine.n_accelerators if self._assignment.has_accelerators else 0
        actor = _RAY_OUTPOST.options(
            num_cpus=n_workers,
            num_gpus=n_accelerators,
            max_restarts=0,
            max_task_retries=0,
            max_concurrency=4,  # it hears, is heard, is asked what it is, and closed
            scheduling_strategy=NodeAffinitySchedulingStrategy(machine.id, soft=False),
        ).remote(self._assignment, [self._rows], n_workers)
        return RayOutpost(actor)

    def leave(self) -> None:
        ray.shutdown()


class _Actor(Outpost):
    """An outpost as an actor. rows: a reference to them, in a list so that Ray passes it on as it is."""

    def __init__(self, assignment: Assignment, rows: list[Any], n_workers: int) -> None:
        super().__init__(assignment, partial(ray.get, rows[0]), n_workers)


_RAY_OUTPOST: Any = ray.remote(_Actor)


class RayOutpost:
    """See `bridge.RemoteOutpost`. A call that may not have arrived is repeated; `Outpost` takes each once."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def describe(self) -> Description:
        description: Description = _call(self._actor.describe.remote, START_S)
        return description

    def order(self, number: int, orders: tuple[Order, ...]) -> None:
        _call(partial(self._actor.order.remote, number, orders), SILENT_S)

    def hear(self, acknowledged: int, timeout_s: float) -> tuple[Said, ...]:
        said: tuple[Said, ...] = _call(partial(self._actor.hear.remote, acknowledged, timeout_s), timeout_s + SILENT_S)
        return said

    def close(self) -> None:
        _call(self._actor.close.remote, SILENT_S)

    def kill(self) -> None:
        with contextlib.suppress(RayError):
            ray.kill(self._actor, no_restart=True)


def _call(start: Callable[[], Any], timeout_s: float) -> Any:
    """Return the answer of an actor. Raises LostOutpostError if it died or does not answer, and what the call raised."""
    end = time.monotonic() + timeout_s
    while True:
        try:
            return ray.get(start(), timeout=max(0.0, end - time.monotonic()))
        except ActorUnavailableError as error:  # it is out of reach for now, and may have been called or not
            if time.monotonic() > end:
                raise LostOutpostError(_first_line(error)) from error
            time.sleep(AGAIN_S)
        except GetTimeoutError as error:
            raise LostOutpostError(f"it does not answer for {timeout_s:.0f} s") from error
        except RayActorError as error:
            raise LostOutpostError(_describe(error)) from error
        except RayTaskError as error:
            cause = error.cause if isinstance(error.cause, BrokenOutpostError) else None
            raise cause or BrokenOutpostError(_first_line(error)) from None
        except RayError as error:
            raise LostOutpostError(f"{type(error).__name__}: {_first_line(error)}") from error


def _describe(error: RayActorError) -> str:
    return "its process ended" if "worker process" in str(error) else "Ray calls it dead"
