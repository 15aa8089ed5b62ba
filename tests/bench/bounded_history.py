"""`python -m tests.bench.bounded_history`: whether TPE searches as well on a bounded history as on the whole one.

Each seed searches the same made-up objective twice, with `N_RUNNING` trials running at any time: once the sampler is shown
what `sweep/search/history.py` keeps, once every trial. The objective is a smooth function over the space of `growth.py`,
known without noise; what searches are told is noisy. Differences are paired by seed. The history is bounded from trial 250
on, so that more trials than that are needed for any to show.
"""

import argparse
import math
import random
import statistics
import time
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Console
from rich.table import Table
from scipy.stats import t as student

from sweep.search import history
from sweep.search.sampler import Suggester
from sweep.study.config import Config
from sweep.study.file import parse_study
from sweep.study.schema import Study
from sweep.trial import State, Trial, TrialResult
from tests.bench.growth import STUDY, RecordInMemory

N_RUNNING = 20
NOISE = 0.003
N_LAST = 200  # proposals whose mean is compared
WHOLE = history.Limits(best=10**9, drawn=0, running=10**9)
WIDTHS = (320, 180, 120, 260, 90)  # the best ones
LOSS_BY_DEPTH = {2: 0.004, 3: 0.0, 5: 0.003}
LOSS_BY_BATCH_SIZE = {64: 0.0, 128: 0.001, 256: 0.003}


@dataclass(frozen=True)
class Found:
    """What a search found."""

    best: float  # true value of its best config
    last: float  # mean true value of its last proposals
    seconds: float  # of processor time


def true_value(config: Config) -> float:
    of_widths = sum(2e-3 * math.log2(units / best) ** 2 for units, best in zip(config.units, WIDTHS, strict=False))
    of_dropout = 0.4 * (config.dropout - 0.3) ** 2
    of_rate = 0.048 * math.log10(config.learning_rate / 1.5e-3) ** 2
    return (
        0.98
        - of_widths
        - of_dropout
        - of_rate
        - LOSS_BY_DEPTH[config.hidden_layers]
        - LOSS_BY_BATCH_SIZE[config.batch_size]
    )


class MeasuredRecord(RecordInMemory):
    """A record whose trials end with a value that is given."""

    def end_with(self, trial: Trial, value: float) -> TrialResult:
        self.trials[trial.key] = replace(self.trials[trial.key], state=State.COMPLETE, value=value)
        return TrialResult(key=trial.key, state=State.COMPLETE, started_at=0.0, ended_at=1.0)


def search(study: Study, n_trials: int) -> Found:
    """Run one search. Which trial ends next is drawn from its seed."""
    record, chance, started = MeasuredRecord(), random.Random(study.seed), time.process_time()
    suggester = Suggester(study, record)
    running, values = list[Trial](), list[float]()
    for _ in range(n_trials):
        trial = suggester.suggest()
        assert trial is not None
        running.append(trial)
        values.append(true_value(trial.config))
        if len(running) > N_RUNNING:
            ended = running.pop(chance.randrange(len(running)))
            suggester.tell(record.end_with(ended, true_value(ended.config) + chance.gauss(0, NOISE)))
    return Found(max(values), statistics.fmean(values[-N_LAST:]), time.process_time() - started)


def search_both_ways(seed: int, n_trials: int) -> tuple[Found, Found]:
    """Search with the bounded history, and with the whole one."""
    table: dict[str, Any] = {**STUDY, "seed": seed, "search": {"trials": 10**9, "sampler": "tpe"}}
    study, bounded = parse_study(table, "bounded.toml"), history.LIMITS["tpe"]
    found = search(study, n_trials)
    history.LIMITS["tpe"] = WHOLE
    try:
        return found, search(study, n_trials)
    finally:
        history.LIMITS["tpe"] = bounded


def compare(name: str, bounded: list[float], whole: list[float]) -> tuple[str, str, str, str]:
    """Return a row: both means, and the mean difference by pair with its 95 % interval."""
    differences = [one - other for one, other in zip(bounded, whole, strict=True)]
    half = student.ppf(0.975, len(differences) - 1) * statistics.stdev(differences) / len(differences) ** 0.5
    mean = statistics.fmean(differences)
    interval = f"{mean:+.5f} ({mean - half:+.5f} to {mean + half:+.5f})"
    return name, f"{statistics.fmean(bounded):.5f}", f"{statistics.fmean(whole):.5f}", interval


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--trials", type=int, default=800)
    given, found = parser.parse_args(), list[tuple[Found, Found]]()
    console = Console(width=120)
    for seed in range(given.seeds):
        found.append(search_both_ways(seed, given.trials))
        console.print(f"seed {seed}: best {found[-1][0].best:.5f} and {found[-1][1].best:.5f}")
    shown = Table(f"{given.seeds} seeds of {given.trials} trials", "bounded", "whole", "difference (95 %)")
    shown.add_row(*compare("best true value", [b.best for b, _ in found], [w.best for _, w in found]))
    shown.add_row(*compare(f"mean of the last {N_LAST}", [b.last for b, _ in found], [w.last for _, w in found]))
    seconds = [statistics.fmean(pair[i].seconds for pair in found) for i in (0, 1)]
    shown.add_row("seconds of processor time", f"{seconds[0]:.0f}", f"{seconds[1]:.0f}", "")
    console.print(shown)


if __name__ == "__main__":
    main()
