"""`python -m tests.bench.whole_study`: each contender searches the space of `study.toml` by itself, pruning on where it can."""

import argparse
import json
import os
from datetime import UTC, datetime
from functools import partial

from rich.console import Console

from sweep.study.file import load_study
from tests.bench.configs import STUDY
from tests.bench.contender import prepare_rows
from tests.bench.figure_tables import print_searches
from tests.bench.run import MODULES, RESULTS, alternate, search


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.whole_study", description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--trials", type=int, default=16, help="of each search; Hyperband sets its own number")
    parser.add_argument("--contenders", nargs="+", choices=list(MODULES), default=list(MODULES))
    given = parser.parse_args()
    max_epochs = load_study(STUDY)[0].training.max_epochs
    n_workers = len(os.sched_getaffinity(0))
    prepare_rows()
    console = Console(width=150)
    run = partial(search, n_trials=given.trials, max_epochs=max_epochs, n_workers=n_workers)
    runs = alternate(given.contenders, given.repeats, run, console.print)
    path = RESULTS / f"whole-study-{datetime.now(UTC):%Y%m%dT%H%M%S}.json"
    path.write_text(json.dumps({contender: [o.to_dict() for o in outcomes] for contender, outcomes in runs.items()}))
    print_searches(
        console, f"search of the space of `study.toml`, {max_epochs} epochs at most, {given.repeats} repeats", runs
    )


if __name__ == "__main__":
    main()
