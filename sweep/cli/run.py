"""`run`: train the trials that a study lacks, then report it and hand on its champion."""

import argparse
from functools import partial
from typing import Any

from sweep.cli.arguments import locate_runs
from sweep.conduct.display import Display
from sweep.conduct.log import set_up_logging
from sweep.conduct.training import train_study
from sweep.study.file import check_is_installed, load_study, parse_study, read_study_text
from sweep.study.schema import Study


def run(arguments: argparse.Namespace) -> None:
    study, table = _load_with_options(arguments)
    check_is_installed(study, str(arguments.study))
    runs, typed = locate_runs(arguments), read_study_text(arguments.study)
    open_display = partial(Display, console=set_up_logging())
    train_study(study, table, arguments.study.parent, runs, open_display, arguments.fork)
    # Imported here because it loads MLflow, which takes seconds. While trials train, the tracker's thread loads it.
    from sweep.cli.conclusion import print_conclusion
    from sweep.cli.stdout import say
    from sweep.conduct.outcome import deliver

    deliver(runs, study.name, typed, print_conclusion, say)


def _load_with_options(arguments: argparse.Namespace) -> tuple[Study, dict[str, Any]]:
    """Return the study and its table, with `--trials`, `--minutes`, `--workers` and the like in place of the file's values."""
    study, table = load_study(arguments.study)
    names = ("trials", "minutes", "workers", "engine", "executor")
    given = {name: value for name in names if (value := getattr(arguments, name)) is not None}
    if not given:
        return study, table
    changed = {**table, "search": {**table.get("search", {}), **given}}
    return parse_study(changed, str(arguments.study)), changed
