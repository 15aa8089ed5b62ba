"""`status`: show how far a study is and what it trains now, from any terminal."""

import argparse
import time
from collections.abc import Callable

from rich.console import Group
from rich.live import Live
from rich.text import Text

from sweep.cli.arguments import locate_runs
from sweep.cli.named import describe_seconds, describe_value, read_study_name
from sweep.cli.tables import make_table, open_console
from sweep.overview import Overview, read_overview
from sweep.plain_text import to_line
from sweep.trial import State

_EVERY_S = 2.0


def run(arguments: argparse.Namespace) -> None:
    runs, name = locate_runs(arguments), read_study_name(arguments)
    console = open_console(width=160)
    if not arguments.watch:
        console.print(_describe(read_overview(runs, name)))
        return
    with Live(console=console, auto_refresh=False) as live:
        watch(lambda: read_overview(runs, name), lambda study: live.update(_describe(study), refresh=True))


def watch(
    read: Callable[[], Overview], show: Callable[[Overview], None], wait: Callable[[float], None] = time.sleep
) -> None:
    """Show a study until no process is at work on it."""
    while True:
        study = read()
        show(study)
        if study.holder is None:
            return
        wait(_EVERY_S)


def _describe(study: Overview) -> Group:
    lines = [Text(f"{study.name}: {study.state}{f' ({study.holder})' if study.holder else ''}"), Text(_count(study))]
    lines.append(Text(f"best {study.objective}: {describe_value(study, study.best)}{_name_best(study)}"))
    spent = describe_seconds(study.trained_s)
    lines.append(Text(f"spent: {study.n_epochs} epochs, {spent} of training"))
    if not study.unfinished:
        return Group(*lines)
    title = "training" if study.holder else "begun, and trained again by the next `run`"
    rows = [[to_line(one.trial.label), one.trial.phase, str(one.trial.attempt)] for one in study.unfinished]
    return Group(*lines, make_table(title, [["trial", "phase", "attempt"], *rows]))


def _count(study: Overview) -> str:
    ended = ", ".join(f"{study.count(state)} {state}" for state in State)
    replicates = ", ".join(f"{study.count(state, replicates=True)} {state}" for state in State)
    return f"trials: {ended}; replicates: {replicates}"


def _name_best(study: Overview) -> str:
    return "" if study.best is None else f" by {to_line(study.best.trial.label)}"
