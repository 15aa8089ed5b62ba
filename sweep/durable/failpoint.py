"""Named points of the write protocol at which a test can end this process, or fill its disk.

`SWEEP_FAILPOINT=name:hit:action` acts when a process reaches the point for the hit-th time, counted from 1. It acts
once among all processes: the first creates the file `SWEEP_FAILPOINT_MARK`, and the others do nothing once that exists. The
actions `kill`, `kill_parent` and `kill_child` send SIGKILL to the process itself, to its parent, or to one of its
children; `full` raises OSError ENOSPC. Without the variable, a point costs one comparison.
"""

import errno
import multiprocessing
import os
import signal
from collections import Counter
from pathlib import Path

_ARMED = os.environ.get("SWEEP_FAILPOINT")
_hits: Counter[str] = Counter()


def failpoint(name: str) -> None:
    """Act at the point `name` if a test asked for it."""
    if _ARMED is None:
        return
    armed, hit, action = _ARMED.rsplit(":", 2)
    _hits[name] += 1
    if name != armed or _hits[name] != int(hit):
        return
    try:
        Path(os.environ["SWEEP_FAILPOINT_MARK"]).touch(exist_ok=False)
    except FileExistsError:
        return
    match action:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "kill_parent":
            os.kill(os.getppid(), signal.SIGKILL)
        case "kill_child":
            for child in multiprocessing.active_children()[:1]:
                child.kill()
        case "full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
        case _:
            raise ValueError(f"SWEEP_FAILPOINT: no such action: {action}")
