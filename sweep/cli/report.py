"""`report`: rebuild a study's report from MLflow, or check that it is up to date."""

import argparse

from sweep.cli.arguments import locate_runs
from sweep.cli.conclusion import print_conclusion
from sweep.cli.stdout import say
from sweep.conduct.outcome import deliver, read_conclusion
from sweep.errors import UnsoundStudyError
from sweep.layout import RunsDir
from sweep.report.files import find_stale
from sweep.study.file import load_study


def run(arguments: argparse.Namespace) -> None:
    runs, name = locate_runs(arguments), load_study(arguments.study)[0].name
    if arguments.check:
        _check(runs, name)
    else:
        deliver(runs, name, None, print_conclusion, say)


def _check(runs: RunsDir, name: str) -> None:
    if outdated := find_stale(read_conclusion(runs, name)):
        files = ", ".join(map(str, outdated))
        raise UnsoundStudyError(f"missing, or not what the runs of {name} give: {files}; `report` rebuilds the report")
    say(f"The report of {name} matches its runs: {runs.reports(name)}")
