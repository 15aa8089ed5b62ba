"""`predict`: classify rows with an exported champion."""

import argparse
from pathlib import Path

from sweep.champion.predict import predict
from sweep.cli.stdout import say
from sweep.conduct.log import set_up_logging
from sweep.durable.files import write_durably
from sweep.errors import InvalidSettingError


def run(arguments: argparse.Namespace) -> None:
    set_up_logging()
    out = _choose_out(arguments.out)
    text = predict(arguments.bundle, arguments.rows, arguments.id)
    if out is None:
        say(text, end="")
    else:
        write_durably(out, text.encode())


def _choose_out(path: Path) -> Path | None:
    """Return the file to write, None for standard output. Raises InvalidSettingError for what is there and no file."""
    if str(path) == "-":
        return None
    # A file is replaced as a whole, and so would be a device, a pipe or a link.
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise InvalidSettingError(f"--out {path}: is there and no regular file; name a file, or - for standard output")
    return path
