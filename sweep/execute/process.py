"""Child processes: how one starts, ignores Ctrl-C, sets itself up, and dies with its parent."""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import parent_process, resource_tracker, spawn
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeVarTuple

from sweep.environment import settle

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
ONE_THREAD = {
    # One thread per process: processes side by side then use every core, and results do not depend on scheduling.
    "OMP_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "-1",  # this engine is for CPUs
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "KERAS_BACKEND": "tensorflow",
    "MPLBACKEND": "agg",
}

Arguments = TypeVarTuple("Arguments")

_starting = threading.Lock()


def start_process(
    target: Callable[[Connection, *Arguments], None], *arguments: *Arguments, name: str, daemon: bool = True
) -> tuple[BaseProcess, Connection]:
    """Run `target(connection, *arguments)` in a new process that ignores Ctrl-C. Return it and our end of the pipe."""
    context = multiprocessing.get_context("spawn")  # never fork: TensorFlow's threads do not survive it
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(theirs, *arguments), name=name, daemon=daemon)
    with _ctrl_c_blocked(), _main_left_out(name):
        process.start()
    theirs.close()
    return process, ours


@contextmanager
def _ctrl_c_blocked() -> Iterator[None]:
    """Block SIGINT, so that a process started inside never receives it: the child inherits the mask at once.

    Ctrl-C reaches every process of the terminal; the coordinator alone decides what it means.
    """
    resource_tracker.ensure_running()  # otherwise the first process started starts it, which unblocks the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _main_left_out(ours: str) -> Iterator[None]:
    """Have the process called `ours`, started inside, not import the main module of this program.

    It would run a script or a notebook's file that calls `sweep.run` again, unless all of it stood below
    `if __name__ == "__main__"`. What our processes run lies in modules of its own. multiprocessing has no option for this, so
    the function is replaced that tells a new process where the main module is.
    """

    def describe_without_main(name: str) -> dict[str, Any]:
        told = describe(name)
        return {key: value for key, value in told.items() if name != ours or not key.startswith("init_main_")}

    with _starting:  # another thread would restore what this one has replaced
        describe = spawn.get_preparation_data
        spawn.get_preparation_data = describe_without_main
        try:
            yield
        finally:
            spawn.get_preparation_data = describe


def set_up_process(log: Path, core: int | None, environment: Mapping[str, str] = ONE_THREAD) -> None:
    """Set up the child process that calls this: environment, core, stderr to `log`; and make it die with its parent."""
    settle(os.environ)  # on another machine of a cluster, no command has done so
    os.environ.update(environment)
    if sys.platform == "linux":
        # The kernel kills this process with its parent even while it is stopped or holds the interpreter's lock.
        ctypes.CDLL("libc.so.6").prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    _end_with_parent(within_s=0)  # the kernel reports only later deaths, and nothing may be written after the parent's
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    log.parent.mkdir(parents=True, exist_ok=True)
    # What was put there by another hand is not written through, and not waited for: a link, a pipe.
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK
    os.dup2(os.open(log, flags, 0o644), sys.stderr.fileno())
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent(within_s: float | None = None) -> None:
    """Exit once the parent is dead, however early it died: no orphan stays. Wait `within_s` for it; None: forever."""
    parent = parent_process()
    if parent is not None and wait([parent.sentinel], within_s):
        os._exit(1)
