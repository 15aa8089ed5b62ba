"""Take over trials of another study that this study would train in exactly the same way."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from sweep.errors import ChangedStudyError
from sweep.record import results
from sweep.record.trials import RecordedTrial
from sweep.study.config import Config
from sweep.study.schema import differences
from sweep.trial import State, TrialResult

DECIDING = ("data", "seed", "training")  # parts of a study that decide, beside the config, how a trial is trained


@dataclass(frozen=True)
class Offer:
    """A complete trial of another study, which this study may take over instead of training the same config."""

    study: str  # the other study's name
    config: Config
    folder: Path  # where the other study keeps the trial's result

    def load(self) -> TrialResult:
        """Load the result, with its origin added to its provenance. Raises DamagedResultError."""
        result = results.load(self.folder)
        origin = {"taken_over_from": f"{self.study}/{self.folder.name}"}
        return replace(result, provenance={**result.provenance, **origin})

    def save(self, result: TrialResult, folder: Path) -> TrialResult:
        """Make `result`, as `load` returned it, durable as `folder`, with copies of its files.

        The name of `folder` becomes the result's key.
        """
        return results.save(folder, replace(result, key=folder.name), partial(self._copy_files, result.files))

    def _copy_files(self, names: Iterable[str], draft: Path) -> None:
        for name in names:
            shutil.copyfile(self.folder / name, draft / name)


def check_alike(name: str, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    """Raise ChangedStudyError unless stored study `name` trained its trials as this study would.

    theirs, ours: the identities of the stored study and of this one, as `Record.identity` has them.
    """
    changes = differences({key: theirs[key] for key in DECIDING}, {key: ours[key] for key in DECIDING})
    if changes:
        raise ChangedStudyError(
            f"nothing of study {name!r} can be taken over: its trials were trained differently ({'; '.join(changes)}); "
            "undo these changes, or leave --fork out"
        )


def list_offers(name: str, trials: Iterable[RecordedTrial], folder: Path) -> list[Offer]:
    """Return what stored study `name` offers: its complete trials, by number, with their results below `folder`.

    Pruned trials are left out: they were pruned by comparison with the other trials of that study.
    """
    complete = (recorded.trial for recorded in trials if recorded.state == State.COMPLETE)
    return [Offer(name, trial.config, folder / trial.key) for trial in complete]
