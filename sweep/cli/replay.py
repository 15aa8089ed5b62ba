"""`replay`: train a run again from its record, and compare the two."""

import argparse
from functools import partial

from sweep.cli.arguments import locate_runs
from sweep.cli.stdout import say
from sweep.conduct.job import prepare_data
from sweep.conduct.log import set_up_logging
from sweep.errors import UnsoundStudyError
from sweep.execute.start import start_executor
from sweep.replay import replay
from sweep.study.file import check_is_installed
from sweep.track.runs import find_study_of, read_study


def run(arguments: argparse.Namespace) -> None:
    runs = locate_runs(arguments)
    tracked = read_study(runs, find_study_of(runs, arguments.run_id))
    again = tracked.trial(arguments.run_id)
    search = tracked.study.search.model_copy(
        update={"workers": 1, "engine": again.engine or "auto", "executor": "local"}
    )
    study = tracked.study.model_copy(update={"search": search})
    check_is_installed(study, f"run {arguments.run_id}")
    set_up_logging()
    data = prepare_data(study, arguments.data_dir, runs)
    done = replay(tracked, again, data.facts, partial(start_executor, study, data, runs))
    say(f"Run {arguments.run_id} is {done.lines[0]}", *done.lines[1:])
    if done.outcome == "different":
        raise UnsoundStudyError(f"run {arguments.run_id}: training it again gave a different model, see above")
