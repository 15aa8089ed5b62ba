"""A child process: how it starts, is deaf to Ctrl-C, and dies with its parent."""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import parent_process, resource_tracker
from multiprocessing.connection import wait
from pathlib import Path

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
ONE_THREAD = {
    # One thread for each process: side by side processes then use every core, and results do not depend on scheduling.
    "OMP_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "-1",  # this engine is for CPUs
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "KERAS_BACKEND": "tensorflow",
    "MPLBACKEND": "agg",
}


@contextmanager
def deaf_to_ctrl_c() -> Iterator[None]:
    """What is started in here does not hear Ctrl-C, from its first moment: `settle_in` comes after its imports.

    Ctrl-C reaches every process of the terminal; the coordinator alone decides what it means.
    """
    resource_tracker.ensure_running()  # else the first process that is started starts it, and it unblocks the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def settle_in(log: Path, core: int | None, environment: Mapping[str, str] = ONE_THREAD) -> None:
    """Make this a process that writes its stderr to `log`, and that a dead parent cannot strand."""
    os.environ.update(environment)
    if sys.platform == "linux":
        # The kernel ends this process with its parent even where it is stopped, or holds on to the interpreter's lock.
        ctypes.CDLL("libc.so.6").prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    _end_with_parent(within_s=0)  # the kernel tells of a later death alone; nothing may be written after the parent's
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    log.parent.mkdir(parents=True, exist_ok=True)
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), sys.stderr.fileno())
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent(within_s: float | None = None) -> None:
    """A coordinator that was killed, however early, leaves no orphans. Waits so long for its end; None: until it comes."""
    parent = parent_process()
    if parent is not None and wait([parent.sentinel], within_s):
        os._exit(1)
