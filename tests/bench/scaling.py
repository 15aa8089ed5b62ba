"""`python -m tests.bench.scaling`: ours with one worker and with one per core, alternating, over the same configs."""

import argparse
import json
import os
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from tests.bench.configs import config_set
from tests.bench.contender import prepare_rows
from tests.bench.run import RESULTS, Outcome, run
from tests.bench.summary import ratios, spread


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.scaling", description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--configs", choices=["notebook", "default", "quick"], default="default")
    parser.add_argument("--n-default", type=int, default=8, help="configs drawn from the space of `study.toml`")
    given = parser.parse_args()
    prepare_rows()
    configs = config_set(given.configs, given.n_default)
    runs: dict[int, list[Outcome]] = {n: [] for n in (1, len(os.sched_getaffinity(0)))}
    for _ in range(given.repeats):
        for n_workers, outcomes in runs.items():
            outcomes.append(run("ours", configs, given.epochs, n_workers))
    path = RESULTS / f"scaling-{datetime.now(UTC):%Y%m%dT%H%M%S}.json"
    path.write_text(json.dumps({n: [outcome.to_dict() for outcome in outcomes] for n, outcomes in runs.items()}))
    title = f"ours, {len(configs)} configs, {given.epochs} epochs each, {given.repeats} repeats"
    table = Table("workers", "trials/h, once started", "over 1 worker", "peak MB", title=title, title_justify="left")
    for n_workers, outcomes in runs.items():
        speed_up = ratios(
            outcomes, runs[1], lambda a, b: a.figures.trials_per_hour_started / b.figures.trials_per_hour_started
        )
        table.add_row(
            str(n_workers),
            spread(o.figures.trials_per_hour_started for o in outcomes).show(0),
            f"{speed_up.show(2)}x",
            spread(o.figures.peak_mb for o in outcomes).show(0),
        )
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
