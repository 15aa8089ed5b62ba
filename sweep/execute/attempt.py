"""One attempt at a trial: its result, a failed result, or word that the result cannot be written."""

import time
from collections.abc import Callable
from pathlib import Path

from sweep.record import results
from sweep.trial import CannotStore, Trial, TrialResult


def attempt(
    trial: Trial, folder: Path, provenance: dict[str, str], train: Callable[[], TrialResult]
) -> TrialResult | CannotStore:
    """Return the result of `train`, which saves it as `folder`; if `train` fails, save and return a failed result.

    Returns CannotStore if the disk fails: the trial is not to blame.
    Raises ConnectionError or EOFError if the coordinator is gone.
    """
    began = time.time()
    try:
        return train()
    except (ConnectionError, EOFError):  # the coordinator is gone
        raise
    except OSError as error:
        return CannotStore(trial.key, str(error))
    except Exception as error:  # a trial that cannot be trained is a failed result; the sweep goes on
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        failed = TrialResult.failed(trial.key, reason, started_at=began, ended_at=time.time(), provenance=provenance)
        return results.save(folder, failed, lambda draft: None)
