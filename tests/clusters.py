"""A Ray cluster on this machine: a head without cores, and simulated machines of one core each, which tests can break."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.execute.processes import find_descendants
from tests.servers import free_port
from tests.studies import ROOT

START_S = 120  # for the head or a machine; they are a dozen processes
STORE = "100000000"  # bytes of shared memory for each machine


class RayCluster:
    """Machines are numbered from 0; machine k has the address 127.0.0.(3 + k)."""

    def __init__(self, folder: Path) -> None:
        self.address = f"127.0.0.2:{free_port()}"
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
        host, port = self.address.split(":")
        head = ["--head", "--port", port, "--node-ip-address", host, "--num-cpus", "0", "--include-dashboard", "false"]
        self._start("head", *head, "--temp-dir", str(self._scratch))

    def add(self, machine: int) -> None:
        """Start a machine, and wait until it has joined."""
        address = ["--address", self.address, "--node-ip-address", f"127.0.0.{3 + machine}"]
        self._start(f"machine {machine}", *address, "--num-cpus", "1")

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

    def _start(self, name: str, *options: str) -> None:
        log = self._folder / f"{name}.log"
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]
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
