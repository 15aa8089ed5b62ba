"""The progress of a study below the cell of a notebook."""

import io
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

from rich.console import Console

from sweep.conduct.display import Display
from sweep.study.schema import Study
from sweep.trial import Trial, TrialEvent

WIDTH = 110  # columns
REFRESH_S = 0.5  # between two pictures: each is a message to the browser


def is_notebook() -> bool:
    """Return whether this process runs the cells of a notebook. IPython is then loaded."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


class NotebookDisplay(Display):
    """Draws the progress as one output of the cell, which each later picture replaces."""

    def __init__(self, study: Study, console: Console) -> None:
        super().__init__(study, console)
        self._output: Any = None
        self._drawn_at = 0.0

    def watch(self, trial: Trial, event: TrialEvent | None) -> None:
        """Take up an event as `Display` does, and draw it, unless the last picture is new."""
        super().watch(trial, event)
        if self._output is not None and time.monotonic() > self._drawn_at + REFRESH_S:
            self._draw()

    @contextmanager
    def live(self) -> Iterator[None]:
        """Draw the progress from here to the end."""
        from IPython.display import display

        self._output = display(self._picture(), display_id=True)
        try:
            yield
        finally:
            self._draw()

    def _draw(self) -> None:
        self._output.update(self._picture())
        self._drawn_at = time.monotonic()

    def _picture(self) -> Any:
        from IPython.display import HTML

        text = io.StringIO()
        # A kernel asks for colours, which are codes of a terminal.
        Console(
            file=text,
            width=WIDTH,
            color_system=None,
            force_terminal=False,
            force_jupyter=False,
            markup=False,
            emoji=False,
        ).print(self.render())
        return HTML(f"<pre>{escape(text.getvalue())}</pre>")
