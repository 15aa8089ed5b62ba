"""Recover trials that a crash cut off, and decide what follows when a worker dies."""

import time
from pathlib import Path

from sweep.record import results
from sweep.record.trials import Record
from sweep.trial import Trial, TrialResult

MAX_DEATHS = 3  # of workers on one trial, in one run of the command; then the trial itself may be what kills them


def recover(record: Record, folder: Path) -> list[Trial]:
    """Tell the results of trials that were trained but not told. Return the trials to train again, as a next attempt.

    A trial without a result was cut off, whatever the cause. It is trained again under its own number, so the budget is
    met exactly. With the same config and seed, it gives the result that it would have given.
    """
    record.hold.check()  # before anything is removed: these drafts may be those of another coordinator
    results.remove_drafts(folder)
    to_train = []
    with record.write_together():
        for trial in record.list_unfinished():
            result = results.find(folder / trial.key)
            if result is None:
                to_train.append(record.restart(trial))
            else:
                record.tell(result)
    return to_train


def handle_death(record: Record, key: str, reason: str, n_deaths: int, folder: Path) -> Trial | TrialResult:
    """Return what follows the death of a trial's worker: the trial's result or its next attempt.

    The result is the one that the worker left, or else a failure if workers died `MAX_DEATHS` times on this trial.
    """
    result = results.find(folder / key)
    if result is not None:
        return result
    if n_deaths < MAX_DEATHS:
        return record.restart(record.trials[key].trial)
    record.hold.check()  # the files of a result are guarded by no transaction
    now = time.time()
    failed = TrialResult.failed(key, f"{reason}, {n_deaths} times in a row", started_at=now, ended_at=now)
    return results.save(folder / key, failed, lambda draft: None)
