"""`python -m tests.bench.growth`: what grows with the trials of a study: a proposal, a verdict, a start, the coordinator's memory.

Proposals and verdicts are measured on a record in memory; what is proposed is the same. A start is that of a study recorded on
disk, in a process of its own: it opens the record, looks for results of nobody, recovers, builds the sampler and the budget,
and chooses the finalists. The space is that of the default study, with groups of equal coverage.
"""

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from sweep.execute.fake import plausible_logs
from sweep.layout import RunsDir
from sweep.record import results
from sweep.record.optuna_terms import to_params
from sweep.record.rungs import Rungs
from sweep.record.trials import Course, Record, RecordedTrial
from sweep.search.freeze_thaw import FreezeThaw
from sweep.search.pruner import survives_rung
from sweep.search.sampler import Suggester
from sweep.search.sources import ConfirmSource, SearchSource, choose_finalists, open_suggester
from sweep.study.config import Config
from sweep.study.file import parse_study
from sweep.study.schema import PROBE_EPOCHS, Study
from sweep.study.search import Pruner
from sweep.trial import Phase, State, Trial, TrialResult
from tests.bench.loop_cost import FACTS
from tests.bench.measure import rss_kb

N_EPOCHS = 20
PROMOTED = 3  # of so many probes, one is promoted
N_ASKED = 50
N_RUNNING = 60
SAMPLERS = ("freeze_thaw", "tpe", "random")
PRUNER = Pruner(kind="halving", rungs=(1,), reduction_factor=3)
STUDY: dict[str, Any] = {
    "name": "growth",
    "seed": 1,
    "data": {"validation_rows": 1},
    "space": {
        "hidden_layers": {"choice": [2, 3, 5]},
        "units": {"int": [64, 512], "log": True},
        "dropout": {"float": [0.1, 0.6]},
        "batch_size": {"choice": [64, 128, 256]},
        "learning_rate": {"float": [5e-4, 5e-3], "log": True},
    },
    "training": {"max_epochs": N_EPOCHS},
    "confirmation": {},
}


class RecordInMemory(Record):
    """A record of trials that end as soon as they are claimed."""

    def __init__(self) -> None:
        self.unit = 1.0
        self.trials: dict[str, RecordedTrial] = {}
        self.rungs = Rungs("val_accuracy")

    def claim(self, phase: Phase, config: Config, seed: int, **lasting: Any) -> Trial:
        rungs = () if lasting.get("promoted_from") is not None else (PROBE_EPOCHS,)
        trial = Trial(
            number=len(self.trials),
            phase=phase,
            config=config,
            seed=seed,
            promoted_from=lasting.get("promoted_from"),
            rungs=rungs,
        )
        self.trials[trial.key] = RecordedTrial(trial, None, None)
        return trial

    def course_of(self, key: str) -> Course | None:
        return self.trials[key].course

    def end(self, trial: Trial) -> TrialResult:
        """End a trial as plausible curves say."""
        n_epochs = PROBE_EPOCHS if trial.rungs else N_EPOCHS
        curve = tuple(plausible_logs(trial.config, trial.seed, t)["val_accuracy"] for t in range(1, n_epochs + 1))
        state = State.PRUNED if trial.rungs else State.COMPLETE
        ended = replace(self.trials[trial.key], state=state, value=curve[-1], course=Course(n_epochs, curve, 0.0, 1.0))
        self.trials[trial.key] = ended
        return TrialResult(key=trial.key, state=state, started_at=0.0, ended_at=1.0)


def make_study(sampler: str) -> Study:
    return parse_study({**STUDY, "search": {"trials": 10**9, "sampler": sampler}}, "growth.toml")


def fill(study: Study, record: RecordInMemory, n_trials: int) -> FreezeThaw | Suggester:
    """Record `n_trials` of configs drawn by chance; return a search that has seen them."""
    assert study.space is not None
    suggester, rng = open_suggester(study, record), np.random.default_rng(0)
    while len(record.trials) < n_trials:
        for config in study.space.draw(100, rng):
            probe = suggester.claim(config, Phase.SEARCH)
            suggester.tell(record.end(probe))
            if isinstance(suggester, FreezeThaw) and probe.number % PROMOTED == 0:
                suggester.tell(record.end(suggester.claim(config, Phase.SEARCH, promoted_from=probe.number)))
    return suggester


def measure_asks(sampler: str, n_trials: int) -> list[float]:
    """Measure proposals after `n_trials`, in seconds of this process's processor time."""
    record = RecordInMemory()
    suggester, took = fill(make_study(sampler), record, n_trials), []
    running = [suggester.suggest() for _ in range(N_RUNNING)]
    assert None not in running
    for _ in range(N_ASKED):
        started = time.process_time()
        trial = suggester.suggest()
        took.append(time.process_time() - started)
        assert trial is not None
        suggester.tell(record.end(trial))
    return took


def measure_verdicts(n_trials: int) -> list[float]:
    """Measure verdicts at a rung that `n_trials` have reached, in seconds of processor time."""
    rungs, rng, took = Rungs("val_accuracy"), np.random.default_rng(0), list[float]()
    values = rng.random(n_trials + N_ASKED).tolist()
    for i, value in enumerate(values):
        started = time.process_time()
        rungs.add(1, f"trial-{i:05d}", value)
        survives_rung(-value, rungs.costs_at(1), PRUNER)
        took.append(time.process_time() - started)
    return took[-N_ASKED:]


def write_study(root: Path, study: Study, n_trials: int) -> None:
    """Record `n_trials` on disk, as ended, with a folder each."""
    runs, rng = RunsDir(root), np.random.default_rng(0)
    record, folder = Record.open(runs.optuna_db, study, Phase.SEARCH, FACTS), runs.results(study.name)
    folder.mkdir(parents=True)
    assert study.space is not None
    while len(record.trials) < n_trials:
        with record.write_together():
            for config in study.space.draw(1000, rng):
                params, distributions = to_params(study, config)
                trial = record.claim(Phase.SEARCH, config, 1, params=params, distributions=distributions)
                history = [plausible_logs(config, 1, t) for t in range(1, N_EPOCHS + 1)]
                settled = {"settled_val_accuracy": float(rng.random())}  # no ties
                record.tell(
                    TrialResult(
                        key=trial.key,
                        state=State.COMPLETE,
                        history=history,
                        metrics=settled,
                        started_at=0.0,
                        ended_at=1.0,
                    )
                )
                (folder / trial.key).mkdir()


@dataclass(frozen=True)
class Start:
    """What it takes to go on with a recorded study."""

    wall_s: float
    cpu_s: float
    added_mb: float  # resident memory, beside what the program has when it starts


def measure_start(root: Path, sampler: str) -> Start:
    """Start as `coordinator.py` does, up to the first proposal. To be called in a new process."""
    study, runs = make_study(sampler), RunsDir(root)
    folder = runs.results(study.name)
    before_mb, wall, cpu = rss_kb(os.getpid()) / 1024, time.perf_counter(), time.process_time()
    search, confirmation = (Record.open(runs.optuna_db, study, part, FACTS) for part in (Phase.SEARCH, Phase.CONFIRM))
    assert not results.list_strangers(folder, search.trials.keys() | confirmation.trials.keys())
    source = SearchSource(study, search, folder)
    assert choose_finalists(study, search, confirmation, folder)
    ConfirmSource(study, confirmation, [], folder)
    results.remove_drafts(folder)
    took = Start(time.perf_counter() - wall, time.process_time() - cpu, rss_kb(os.getpid()) / 1024 - before_mb)
    assert source.next() is not None
    return took


def show_in_memory(numbers: Sequence[int], console: Console) -> None:
    shown = Table(
        "ms of processor time", *(f"{n:,} trials" for n in numbers), title="median, longest", title_justify="left"
    )
    for sampler in SAMPLERS:
        shown.add_row(f"proposal by {sampler}", *(_cell(measure_asks(sampler, n)) for n in numbers))
    shown.add_row("verdict at a rung", *(_cell(measure_verdicts(n), 3) for n in numbers))
    console.print(shown)


def show_starts(numbers: Sequence[int], console: Console) -> None:
    shown = Table("start", *(f"{n:,} trials" for n in numbers))
    rows: dict[str, list[str]] = {sampler: [] for sampler in SAMPLERS}
    for n in numbers:
        with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
            write_study(Path(folder) / "mlruns", make_study(SAMPLERS[0]), n)
            for sampler, cells in rows.items():
                with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as child:
                    start = child.submit(measure_start, Path(folder) / "mlruns", sampler).result()
                cells.append(f"{start.wall_s:.1f} s, {start.cpu_s:.1f} s cpu, {start.added_mb:.0f} MB")
    for sampler, cells in rows.items():
        shown.add_row(sampler, *cells)
    console.print(shown)


def _cell(took: list[float], digits: int = 1) -> str:
    return f"{1000 * statistics.median(took):.{digits}f}, {1000 * max(took):.{digits}f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    numbers, console = parser.parse_args().trials, Console(width=120)
    show_in_memory(numbers, console)
    show_starts(numbers, console)


if __name__ == "__main__":
    main()
