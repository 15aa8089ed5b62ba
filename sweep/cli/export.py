"""`export`: export a study's champion, and register it in MLflow."""

import argparse

from sweep.champion.release import release
from sweep.cli.arguments import locate_runs
from sweep.cli.stdout import say
from sweep.conduct.outcome import read_conclusion
from sweep.study.file import load_study, read_study_text


def run(arguments: argparse.Namespace) -> None:
    runs, name = locate_runs(arguments), load_study(arguments.study)[0].name
    release(read_conclusion(runs, name), read_study_text(arguments.study), say)
