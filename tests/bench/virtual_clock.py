"""`python -m tests.bench.virtual_clock --trials 100000 --losses 1000 --seed 1`: a search that loses machines, on a virtual clock.

The loop, the source, the sampler and the record are the real ones; see `tests/simulation.py`. Exits with 1 where a trial was
lost, doubled, left RUNNING, or told otherwise than it was shown.
"""

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from sweep.layout import RunsDir
from tests.simulation import Plan, Simulation


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--losses", type=int, default=1000, help="of machines of eight workers")
    parser.add_argument("--crashes", type=int, default=10, help="of the coordinator")
    parser.add_argument("--workers", type=int, default=256)
    parser.add_argument("--sampler", choices=("random", "tpe"), default="random")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    plan = Plan(given.trials, given.losses, given.crashes, given.seed, given.workers, given.sampler)
    started, cpu = time.perf_counter(), time.process_time()
    # In memory where there is such a place: nothing here is to survive a power cut.
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        done = Simulation(plan, RunsDir(Path(folder)), keeps_folders=False)
        done.run()
    print(
        f"{given.trials:,} trials in {done.virtual_hours:.1f} h of the virtual clock; states: {dict(Counter(done.tracked.values()))}"
    )
    print(
        f"{given.losses:,} machines lost, {done.n_deaths:,} trials with them; the coordinator crashed {done.n_crashes} times"
    )
    print(f"{time.perf_counter() - started:.0f} s, {time.process_time() - cpu:.0f} s of processor time")
    print("\n".join(done.faults[:20]) or "nothing lost, doubled or left RUNNING")
    return 1 if done.faults else 0


if __name__ == "__main__":
    sys.exit(main())
