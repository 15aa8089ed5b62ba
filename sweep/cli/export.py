"""`export`: export a study's champion, and register it in MLflow."""

import argparse

from sweep.cli.arguments import locate_runs
from sweep.cli.outcome import hand_on_champion, read_conclusion
from sweep.study.file import load_study


def run(arguments: argparse.Namespace) -> None:
    runs, name = locate_runs(arguments), load_study(arguments.study)[0].name
    hand_on_champion(read_conclusion(runs, name), runs, arguments.study)
