"""Log lines on stderr."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.logging import RichHandler

from sweep.plain_text import to_line


class _OneLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Return a record as one line that holds no code for the terminal."""
        return to_line(super().format(record))


def set_up_logging(level: int = logging.INFO) -> Console:
    """Send log lines to stderr: above the live display on a terminal, plain elsewhere. Return the display's console."""
    console = _open_console()
    handler: logging.Handler
    if console.is_terminal:
        handler = RichHandler(console=console, show_level=False, show_path=False, log_time_format="%H:%M:%S")
    else:
        handler = logging.StreamHandler()
    handler.setFormatter(_OneLine("%(message)s" if console.is_terminal else "%(asctime)s %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("sweep")
    logger.handlers = [handler]
    logger.setLevel(level)
    logger.propagate = False
    return console


@contextmanager
def log_meanwhile(level: int = logging.INFO) -> Iterator[Console]:
    """Set up logging until the end, unless the program that calls has set it up itself. Yield the display's console."""
    logger = logging.getLogger("sweep")
    if logger.hasHandlers():
        yield _open_console()
        return
    before = logger.handlers, logger.level, logger.propagate
    try:
        yield set_up_logging(level)
    finally:
        logger.handlers, logger.level, logger.propagate = before


def _open_console() -> Console:
    return Console(stderr=True, markup=False, emoji=False)
