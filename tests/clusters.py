"""A Ray cluster on this machine: a head without cores, and simulated machines of one core each, which tests can break."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.execute.processes import find_descendants
from tests.servers import free_port
from tests.studies import ROOT

START_S = 120  # for the head or a machine; they are a dozen processes
STORE = "100000000"  # bytes of shared memory for each machine


class RayCluster:
    """Machines are numbered from 0; machine k has the address 127.0.0.(3 + k)."""

    def __init__(self, folder: Path, host: str = "127.0.0.2") -> None:
        self.address = f"{host}:{free_port()}"
        self.environment = {
            "RAY_ADDRESS": self.address,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
            "PYTHONPATH": str(ROOT),
        }
        self._folder = folder
        self._scratch = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # short: Ray puts sockets below it
        self._commands: dict[str, subprocess.Popen[bytes]] = {}
        _, port = self.address.split(":")
        head = ["--head", "--port", port, "--node-ip-address", host, "--num-cpus", "0", "--include-dashboard", "false"]
        self._start("head", *head, "--temp-dir", str(self._scratch))

    def add(self, machine: int, host: str | None = None, within: Sequence[str] = ()) -> None:
        """Start a machine, and wait until it has joined. within: a command that it runs in."""
        address = ["--address", self.address, "--node-ip-address", host or f"127.0.0.{3 + machine}"]
        self._start(f"machine {machine}", *address, "--num-cpus", "1", within=within)

    def pids(self, name: str) -> list[int]:
        """List the processes of the head or of a machine, its outposts and workers among them."""
        command = self._commands[name].pid
        return [command, *find_descendants(command)]

    def kill(self, name: str) -> None:
        """Kill the head or a machine with all that runs on it, as when its power is cut."""
        for pid in self.pids(name):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._commands.pop(name).wait()

    def freeze(self, name: str) -> list[int]:
        """Stop all processes of a machine, as when its network is cut; return them."""
        pids = self.pids(name)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        return pids

    def close(self) -> None:
        for name in [*self._commands]:
            self.kill(name)
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _start(self, name: str, *options: str, within: Sequence[str] = ()) -> None:
        log = self._folder / f"{name}.log"
        command = [*within, sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]
        environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"} | self.environment
        environment.pop("RAY_ADDRESS")
        with log.open("wb") as file:
            self._commands[name] = subprocess.Popen(
                [*command, "--object-store-memory", STORE, *options],
                cwd=ROOT,
                env=environment,
                stdout=file,
                stderr=file,
            )
        deadline = time.monotonic() + START_S
        while b"Ray runtime started" not in log.read_bytes():
            assert self._commands[name].poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)


class Wire:
    """A network of two places on this machine, `near` and `far`, that can be cut. Making it takes root, or raises OSError."""

    near, far = "10.99.7.1", "10.99.7.2"
    _space, _near_end, _far_end = "sweep-far", "sweep-near", "sweep-far"

    def __init__(self) -> None:
        self.remove()
        try:
            _ip("netns", "add", self._space)
            _ip("link", "add", self._near_end, "type", "veth", "peer", "name", self._far_end, "netns", self._space)
            _ip("address", "add", f"{self.near}/24", "dev", self._near_end)
            _ip("link", "set", self._near_end, "up")
            _ip("-n", self._space, "address", "add", f"{self.far}/24", "dev", self._far_end)
            for device in (self._far_end, "lo"):
                _ip("-n", self._space, "link", "set", device, "up")
        except subprocess.CalledProcessError as error:
            self.remove()
            raise OSError(error.stderr) from error

    @property
    def within(self) -> list[str]:
        """A command that runs another at the far end."""
        return ["ip", "netns", "exec", self._space]

    def cut(self) -> None:
        _ip("-n", self._space, "link", "set", self._far_end, "down")

    def mend(self) -> None:
        _ip("-n", self._space, "link", "set", self._far_end, "up")

    def remove(self) -> None:
        for what in (["link", "delete", self._near_end], ["netns", "delete", self._space]):
            with suppress(subprocess.CalledProcessError, FileNotFoundError):
                _ip(*what)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


@contextmanager
def run_cluster(folder: Path, n_machines: int = 2):
    """Start a cluster, and end it with everything on it."""
    cluster = RayCluster(folder)
    try:
        for machine in range(n_machines):
            cluster.add(machine)
        yield cluster
    finally:
        cluster.close()
