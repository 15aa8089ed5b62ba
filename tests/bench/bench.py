"""`python -m tests.bench.bench`: what people use and ours, alternating, over the same configs, rows and epochs."""

import argparse
import json
import os
import platform
from datetime import UTC, datetime
from functools import partial
from typing import Any

from rich.console import Console

from tests.bench.configs import config_set, notebook, twins
from tests.bench.contender import N_CLASSES, N_FEATURES, prepare_rows
from tests.bench.figure_tables import Runs, print_figures, print_limits, print_ratios
from tests.bench.limits import flops_per_row, sgemm_peak
from tests.bench.run import MODULES, RESULTS, alternate, run
from tests.bench.summary import N_TRAIN, steady_epoch_s

FLOOR_EPOCHS = 5
IDLE_LOAD = 0.5
FLOOR_NETS = {"-".join(map(str, config.units)): config for config in notebook()}
FLOOR_NAMES = ("400-100", "500-350-200-100-50")


def main() -> None:
    given = _parser().parse_args()
    if given.quick:
        given.repeats, given.epochs, given.configs = 1, [2], ["quick"]
    console = Console(width=150)
    cores = sorted(os.sched_getaffinity(0))
    prepare_rows()
    path = RESULTS / f"{datetime.now(UTC):%Y%m%dT%H%M%S}.json"
    record: dict[str, Any] = {"machine": _machine(cores), "load_before": os.getloadavg(), "cases": [], "limits": []}
    console.print(f"{record['machine']}, load {record['load_before'][0]:.1f} before; results in {path}")
    if record["load_before"][0] > IDLE_LOAD:
        console.print("[bold red]THE MACHINE IS BUSY[/]: ratios suffer, and seconds mean nothing")

    def keep() -> None:
        path.write_text(json.dumps(record))

    runs: Runs = {}
    for name in given.configs:
        configs = config_set(name, given.n_default)
        for epochs in given.epochs:
            title = f"{name}: {len(configs)} configs, {epochs} epochs each, {given.repeats} repeats"
            train = partial(run, configs=configs, epochs=epochs, n_workers=len(cores))
            runs = alternate(given.contenders, given.repeats, train, console.print)
            case = {contender: [outcome.to_dict() for outcome in outcomes] for contender, outcomes in runs.items()}
            record["cases"].append({"name": name, "configs": configs, "epochs": epochs, "runs": case})
            keep()
            print_figures(console, title, runs)
            print_ratios(console, title, runs)
    peaks, floors = against_floor(given.repeats, 2 if given.quick else FLOOR_EPOCHS, cores)
    record["limits"] = {"sgemm_peak": peaks, "floors": floors}
    keep()
    print_limits(console, peaks, floors, runs)


def against_floor(
    repeats: int, epochs: int, cores: list[int]
) -> tuple[list[float], dict[str, list[tuple[float, float]]]]:
    """The sgemm peak, FLOP/s, by repeat; and for two nets, alone on all cores: (seconds per epoch over workers, floor in s).

    The peak is measured before and after each net, and the higher one counts.
    """
    peaks, floors = [], {name: [] for name in FLOOR_NAMES}
    for _ in range(repeats):
        before = sgemm_peak(cores)
        for name, pairs in floors.items():
            configs = [config.to_dict() for config in twins(FLOOR_NETS[name])]
            outcome = run("ours", configs, epochs, n_workers=2)
            after = sgemm_peak(cores)
            peak, before = max(before, after), after
            floor_s = N_TRAIN * flops_per_row(configs[0], N_FEATURES, N_CLASSES) / peak
            pairs.append((steady_epoch_s(outcome.trials) / 2, floor_s))
            peaks.append(peak)
    return peaks, floors


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bench", description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, nargs="+", default=[20, 5])
    parser.add_argument(
        "--configs", nargs="+", choices=["notebook", "default", "quick"], default=["notebook", "default"]
    )
    parser.add_argument("--n-default", type=int, default=6, help="configs drawn from the space of `study.toml`")
    parser.add_argument("--contenders", nargs="+", choices=list(MODULES), default=list(MODULES))
    parser.add_argument(
        "--quick", action="store_true", help="one repeat, two tiny nets: whether the bench itself works"
    )
    return parser


def _machine(cores: list[int]) -> str:
    with open("/proc/cpuinfo") as file:
        name = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), "")
    return f"{len(cores)} cores of {name or platform.machine()}"


if __name__ == "__main__":
    main()
