"""`export`: export a study's champion, and register it in MLflow."""

import argparse

from sweep.champion.release import release
from sweep.cli.arguments import locate_runs
from sweep.cli.outcome import read_conclusion
from sweep.cli.stdout import say
from sweep.study.file import load_study


def run(arguments: argparse.Namespace) -> None:
    runs, name = locate_runs(arguments), load_study(arguments.study)[0].name
    release(read_conclusion(runs, name), arguments.study, say)
