"""Run a command and measure its whole process tree: wall clock and peak memory. Linux only: it reads /proc."""

import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

SAMPLE_S = 0.5
PROC = Path("/proc")


@dataclass(frozen=True)
class Measured:
    """What one command took."""

    exit_code: int
    began_at: float  # UTC seconds since 1970
    wall_s: float
    peak_mb: float  # 10^6 bytes: the highest sum of proportional set sizes, sampled every SAMPLE_S


def measure(command: list[str], log: Path, environment: dict[str, str]) -> Measured:
    """Run `command` to its end, its output in `log`. What it leaves behind is ended too, and so is all of it on Ctrl-C."""
    began_at, start = time.time(), time.monotonic()
    peak_kb = 0
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
        try:
            while process.poll() is None:
                peak_kb = max(peak_kb, sum(map(pss_kb, _tree(process.pid))))
                with suppress(subprocess.TimeoutExpired):
                    process.wait(SAMPLE_S)
            wall_s = time.monotonic() - start
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return Measured(process.returncode, began_at, wall_s, peak_kb * 1024 / 1e6)


def _tree(root: int) -> list[int]:
    """`root` and all its living descendants."""
    children: dict[int, list[int]] = {}
    for path in PROC.glob("[0-9]*/stat"):
        with suppress(OSError):
            pid, rest = path.read_text().split(" ", 1)
            parent = int(rest.rsplit(")", 1)[1].split()[1])  # a command's name may hold anything, ")" too
            children.setdefault(parent, []).append(int(pid))
    tree = [root]
    for pid in tree:  # grows while it is walked
        tree += children.get(pid, [])
    return tree


def pss_kb(pid: int) -> int:
    """Proportional set size: what is shared counts once over all who share it. 0 for a process that has just ended."""
    return _rollup_kb(pid, "Pss:")


def rss_kb(pid: int) -> int:
    """Resident set size: what is shared counts in full. 0 for a process that has just ended."""
    return _rollup_kb(pid, "Rss:")


def _rollup_kb(pid: int, name: str) -> int:
    with suppress(OSError):
        for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1])
    return 0
