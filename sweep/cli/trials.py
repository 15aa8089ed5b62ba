"""`trials`: list the trials of a study, the best first."""

import argparse

from sweep.cli.arguments import locate_runs
from sweep.cli.named import describe_seconds, describe_value, read_study_name
from sweep.cli.stdout import say
from sweep.cli.tables import make_table, open_console
from sweep.overview import Overview, read_overview, to_row
from sweep.plain_text import to_csv, to_line
from sweep.record.trials import RecordedTrial

_HEADINGS = ["trial", "state", "learning rate", "epochs", "time"]


def run(arguments: argparse.Namespace) -> None:
    study = read_overview(locate_runs(arguments), read_study_name(arguments))
    if arguments.csv:
        say(_to_csv(study), end="")
        return
    rows = [_describe(study, one) for one in study.ranked]
    table = make_table(f"trials of {study.name}", [[_HEADINGS[0], study.objective, *_HEADINGS[1:]], *rows])
    open_console(width=160).print(table)


def _describe(study: Overview, one: RecordedTrial) -> list[str]:
    described = [
        to_line(one.trial.label),
        describe_value(study, one),
        one.state or "unfinished",
        f"{one.trial.config.learning_rate:.2g}",
    ]
    course = one.course
    if course is None:
        return [*described, "-", "-"]
    return [*described, str(course.n_epochs), describe_seconds(course.ended_at - course.started_at)]


def _to_csv(study: Overview) -> str:
    """Return the trials as CSV: a row each, a column for each value of a config; of several depths, all units columns."""
    rows = [to_row(one, study.objective) for one in study.ranked]
    headings = list(dict.fromkeys(name for row in rows for name in row))
    return to_csv([headings, *([row.get(name, "") for name in headings] for row in rows)])
