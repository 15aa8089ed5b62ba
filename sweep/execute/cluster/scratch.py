"""The folder of an outpost, and the removal of those that dead ones left."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sweep.durable.lock import hold
from sweep.errors import StudyInUseError

LOCK = ".lock"


def find_base() -> Path:
    """Return the folder of this machine and user that holds the folders of outposts."""
    return Path(tempfile.gettempdir()) / f"sweep-outposts-{os.getuid()}"


@contextmanager
def open_scratch(base: Path, study: str) -> Iterator[Path]:
    """Make a folder for an outpost below `base`, and remove it in the end. Remove first what dead outposts left there.

    Each outpost holds the lock of its folder, which the kernel drops when it dies.
    """
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    sweep_dead(base)
    folder = Path(tempfile.mkdtemp(prefix=f"{study}-", dir=base))
    try:
        with hold(folder / LOCK):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep_dead(base: Path) -> None:
    """Remove the folders below `base` whose outpost is dead. One that has no lock yet is being made."""
    for lock in base.glob(f"*/{LOCK}"):
        with suppress(StudyInUseError, OSError), hold(lock):
            shutil.rmtree(lock.parent, ignore_errors=True)
