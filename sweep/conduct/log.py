"""Log lines on stderr."""

import logging

from rich.console import Console
from rich.logging import RichHandler

from sweep.plain_text import to_line


class _OneLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Return a record as one line that holds no code for the terminal."""
        return to_line(super().format(record))


def set_up_logging() -> Console:
    """Send log lines to stderr: above the live display on a terminal, plain elsewhere. Return the display's console."""
    console = Console(stderr=True, markup=False, emoji=False)
    handler: logging.Handler
    if console.is_terminal:
        handler = RichHandler(console=console, show_level=False, show_path=False, log_time_format="%H:%M:%S")
    else:
        handler = logging.StreamHandler()
    handler.setFormatter(_OneLine("%(message)s" if console.is_terminal else "%(asctime)s %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("sweep")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    return console
