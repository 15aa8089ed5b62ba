"""`python -m tests.bench.growth`: what a proposal of freeze_thaw costs after so many trials, in processor time.

The record is kept in memory, as writing 100,000 trials to a database would take an hour; what is proposed is the same. The
space is that of the default study, with groups of equal coverage.
"""

import argparse
import statistics
import time
from dataclasses import replace
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from sweep.execute.fake import plausible_logs
from sweep.record.rungs import Rungs
from sweep.record.trials import Course, Record, RecordedTrial
from sweep.search.freeze_thaw import FreezeThaw
from sweep.study.config import Config
from sweep.study.file import parse_study
from sweep.study.schema import PROBE_EPOCHS, Study
from sweep.trial import Phase, State, Trial, TrialResult

N_EPOCHS = 20
PROMOTED = 3  # of so many probes, one is promoted
N_ASKED = 50
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
    "search": {"trials": 10**9},
    "confirmation": {},
}


class RecordInMemory(Record):
    """A record of trials that end as soon as they are claimed."""

    def __init__(self) -> None:
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


def fill(study: Study, record: RecordInMemory, n_trials: int) -> FreezeThaw:
    """Record `n_trials` of configs drawn by chance; return a search that has seen them."""
    assert study.space is not None
    suggester, rng = FreezeThaw(study, record), np.random.default_rng(0)
    while len(record.trials) < n_trials:
        for config in study.space.draw(100, rng):
            probe = suggester.claim(config, Phase.SEARCH)
            suggester.tell(record.end(probe))
            if probe.number % PROMOTED == 0:
                suggester.tell(record.end(suggester.claim(config, Phase.SEARCH, promoted_from=probe.number)))
    return suggester


def measure_asks(n_trials: int) -> list[float]:
    """Measure proposals after `n_trials`, in seconds of this process's processor time."""
    record = RecordInMemory()
    suggester, took = fill(parse_study(STUDY, "growth.toml"), record, n_trials), []
    for _ in range(N_ASKED):
        started = time.process_time()
        trial = suggester.suggest()
        took.append(time.process_time() - started)
        assert trial is not None
        suggester.tell(record.end(trial))
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 1_000, 10_000, 100_000])
    shown = Table("trials", "ms a proposal, median", "longest")
    for n_trials in parser.parse_args().trials:
        took = measure_asks(n_trials)
        shown.add_row(f"{n_trials:,}", f"{1000 * statistics.median(took):.1f}", f"{1000 * max(took):.1f}")
    Console().print(shown)


if __name__ == "__main__":
    main()
