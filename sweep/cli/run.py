"""`run`: train the trials that a study lacks, then report it and hand on its champion."""

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

from sweep.cli.arguments import locate_runs
from sweep.cli.display import Display
from sweep.cli.jobs import make_job
from sweep.cli.log import set_up_logging
from sweep.cli.signals import collect_signals
from sweep.coordinator import Job, Runtime, run_study
from sweep.errors import Interrupted
from sweep.execute import scoring
from sweep.execute.start import start_executor
from sweep.study.file import check_is_installed, load_study, parse_study
from sweep.study.schema import Study


def run(arguments: argparse.Namespace) -> None:
    study, table = _load_with_options(arguments)
    check_is_installed(study, str(arguments.study))
    runs = locate_runs(arguments)
    display = Display(study, set_up_logging())
    with collect_signals() as arrived, display.live():
        job = make_job(study, table, arguments.study.parent, runs)
        try:
            run_study(job, _make_runtime(job, display, lambda: bool(arrived)), arguments.fork)
        except Interrupted as error:
            error.exit_code = 128 + arrived[0]
            raise
    # Imported here because it loads MLflow, which takes seconds. While trials train, the tracker's thread loads it.
    from sweep.cli.outcome import deliver

    deliver(runs, study.name, arguments.study)


def _load_with_options(arguments: argparse.Namespace) -> tuple[Study, dict[str, Any]]:
    """Return the study and its table, with `--trials`, `--minutes` and the like in place of the file's values."""
    study, table = load_study(arguments.study)
    names = ("trials", "minutes", "workers", "engine", "executor")
    given = {name: value for name in names if (value := getattr(arguments, name)) is not None}
    if not given:
        return study, table
    changed = {**table, "search": {**table.get("search", {}), **given}}
    return parse_study(changed, str(arguments.study)), changed


def _make_runtime(job: Job, display: Display, is_interrupted: Callable[[], bool]) -> Runtime:
    log = job.runs.logs(job.study.name) / "scoring.log"
    return Runtime(
        start_executor=partial(start_executor, job.study, job.data, job.runs),
        score=partial(scoring.score_in_processes, data=job.data, log=log, is_interrupted=is_interrupted),
        watch=display.watch,
        remember=display.remember,
        is_interrupted=is_interrupted,
    )
