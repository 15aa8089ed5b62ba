"""Standard output: its reader may close it early, as `head` does, and its encoding may lack characters that we print."""

import io
import os
import sys

from sweep.plain_text import to_line


def set_up_streams() -> None:
    """Print a question mark for each character that the encoding of stdout or stderr lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def say(*lines: str, end: str = "\n") -> None:
    """Print lines; on a terminal, without codes for it. Where nobody reads them any more, go on without a word: the command has more to do than to print."""
    if sys.stdout.isatty():  # elsewhere it is data, to the character
        lines = tuple("\n".join(map(to_line, line.split("\n"))) for line in lines)
    try:
        print(*lines, sep="\n", end=end, flush=True)
    except BrokenPipeError:
        discard_stdout()


def discard_stdout() -> None:
    """Send the rest of stdout nowhere, what is buffered too: the interpreter flushes it at the end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
