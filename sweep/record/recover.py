"""What a start does with what a crash left, and what a death of a worker means."""

import time
from pathlib import Path

from sweep.record import results
from sweep.record.trials import Record
from sweep.trial import Trial, TrialResult

MAX_DEATHS = 3  # of workers on one trial, in one run of the command: it may be the trial that kills


def recover(record: Record, folder: Path) -> list[Trial]:
    """Complete what was trained and not told; the trials to train again, claimed as their next attempt.

    A trial without a result was cut off, however that came about, so it is trained again under its own number: the
    budget is met exactly, and the same config with the same seed gives what it would have given.
    """
    results.remove_drafts(folder)
    to_train = []
    for trial in record.unfinished():
        result = results.find(folder / trial.key)
        if result is None:
            to_train.append(record.restart(trial))
        else:
            record.tell(result)
    return to_train


def after_death(record: Record, key: str, reason: str, n_deaths: int, folder: Path) -> Trial | TrialResult:
    """A trial's next attempt after its worker died; its result, if that is there, or if it died `MAX_DEATHS` times."""
    result = results.find(folder / key)
    if result is not None:
        return result
    if n_deaths < MAX_DEATHS:
        return record.restart(record.trials[key].trial)
    now = time.time()
    failed = TrialResult.failed(key, f"{reason}, {n_deaths} times in a row", started_at=now, ended_at=now)
    return results.save(folder / key, failed, lambda draft: None)
