"""Run the command that was asked for, and turn its errors into a line on stderr and an exit code."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module

from sweep.cli.arguments import list_study_files, parse
from sweep.cli.stdout import set_up_streams
from sweep.environment import scratch_for_fonts, settle
from sweep.errors import Interrupted, SweepError, to_storage_error, translate


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command, and return its exit code: 0, that of a SweepError, or 128 and the number of a signal.

    Each command is a module of this folder with a function `run`. It is imported only when it is asked for, so `--help`
    loads no library.
    """
    set_up_streams()
    settle(os.environ)
    arguments = parse(argv)
    try:
        with translate(OSError, into=to_storage_error), scratch_for_fonts():
            _check_study_files(arguments)
            import_module(f"sweep.cli.{arguments.command}").run(arguments)
    except SweepError as error:
        print(f"{'' if isinstance(error, Interrupted) else 'error: '}{error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt as error:
        print(Interrupted(), file=sys.stderr)
        return 128 + next(iter(error.args), signal.SIGINT)
    return 0


def _check_study_files(arguments: argparse.Namespace) -> None:
    """Raise InvalidStudyError for a faulty study file at once: a command's module may take seconds to import."""
    if files := list_study_files(arguments):
        from sweep.study.file import load_study

        for file in files:
            load_study(file)
