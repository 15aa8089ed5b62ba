"""`compare`: print the champions of several studies side by side, and test their differences."""

import argparse

from sweep.cli.arguments import locate_runs
from sweep.cli.tables import make_table, open_console
from sweep.conduct.outcome import read_conclusion
from sweep.report.conclusion import compare_champions
from sweep.report.text import VERDICTS_NOTES, champions_table, verdict_line
from sweep.study.file import load_study


def run(arguments: argparse.Namespace) -> None:
    runs = locate_runs(arguments)
    names = dict.fromkeys(load_study(path)[0].name for path in arguments.studies)
    conclusions = [read_conclusion(runs, name) for name in names]
    console = open_console(width=160)
    console.print(make_table("champions", champions_table(conclusions)))
    verdicts = compare_champions(conclusions)
    if len(verdicts) < len(conclusions) * (len(conclusions) - 1) // 2:
        console.print("Champions that were not scored on the same test rows are not compared.")
    for verdict in verdicts:
        console.print(f"- {verdict_line(verdict)}", highlight=False, soft_wrap=True)
    tasks = {c.tracked.facts.task for c in conclusions} if verdicts else set()
    for task in sorted(tasks):
        console.print(VERDICTS_NOTES[task], style="dim", soft_wrap=True)
