"""Ctrl-C and SIGTERM, as a request to stop."""

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)


@contextmanager
def collect_signals() -> Iterator[list[int]]:
    """Collect the numbers of SIGINT and SIGTERM instead of dying of them. A second signal raises KeyboardInterrupt.

    Python hears signals in its main thread alone: in any other, none is collected and none is taken from who hears it.
    """
    arrived: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield arrived
        return

    def hear(number: int, frame: object) -> None:
        if arrived:
            raise KeyboardInterrupt(number)
        arrived.append(number)
        logger.warning("stopping: the next start trains the running trials again; interrupt again to stop at once")

    before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield arrived
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
