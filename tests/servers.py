"""Servers on loopback, started inside a test and ended by their own process id."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from sweep.layout import RunsDir
from tests.faults.engine import FILES as FILES
from tests.studies import ROOT


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def mlflow_server(runs: RunsDir, port: int) -> Iterator[str]:
    """Start `python -m sweep ui` on `runs`, a whole tracking server; yield its address once it answers. Kill it at the end."""
    command = [sys.executable, "-m", "sweep", "ui", "--runs-dir", str(runs.root), "--port", str(port)]
    server = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 60
        while not _answers(port):
            assert server.poll() is None, f"the server ended with exit code {server.poll()}"
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _answers(port: int) -> bool:
    try:
        return http_status(port, "localhost") == 200
    except OSError:
        return False


def http_status(port: int, host: str) -> int:
    """Return the status with which the server on a port of this machine answers a request for `host`."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/", headers={"Host": f"{host}:{port}"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
