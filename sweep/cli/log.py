"""Log lines on stderr."""

import logging

from rich.console import Console
from rich.logging import RichHandler


def set_up_logging() -> Console:
    """Send log lines to stderr: above the live display on a terminal, plain elsewhere. Return the display's console."""
    console = Console(stderr=True)
    handler: logging.Handler
    if console.is_terminal:
        handler = RichHandler(console=console, show_level=False, show_path=False, log_time_format="%H:%M:%S")
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("sweep")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    return console
