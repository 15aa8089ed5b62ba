"""Taking over what another study has trained: the trials that this one would train the same."""

import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from sweep.errors import ChangedStudyError
from sweep.record import results
from sweep.record.trials import RecordedTrial
from sweep.study.config import Config
from sweep.study.schema import differences
from sweep.trial import State, TrialResult

DECIDING = ("data", "seed", "training")  # what, beside its config, decides how a trial is trained

Load = Callable[[], tuple[TrialResult, Callable[[Path], None]]]  # what came of a trial, and what writes its files
Found = tuple[Config, Load]


def check_alike(name: str, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    """Raises ChangedStudyError unless trials of stored study `name` were trained as ours would be; by both identities."""
    changes = differences({key: theirs[key] for key in DECIDING}, {key: ours[key] for key in DECIDING})
    if changes:
        raise ChangedStudyError(
            f"nothing of study {name!r} can be taken over, its trials were trained otherwise ({'; '.join(changes)}); "
            "undo that, or leave --fork out"
        )


def found(name: str, trials: Iterable[RecordedTrial], folder: Path) -> Iterator[Found]:
    """The complete trials of stored study `name`, its results below `folder`, by number."""
    for recorded in trials:
        if recorded.state == State.COMPLETE:  # what was pruned was pruned among its peers there
            yield recorded.trial.config, partial(_load, name, folder / recorded.trial.key)


def _load(name: str, folder: Path) -> tuple[TrialResult, Callable[[Path], None]]:
    """Raises DamagedResultError."""
    result = results.load(folder)
    origin = {**result.provenance, "taken_over_from": f"{name}/{folder.name}"}
    return replace(result, provenance=origin), partial(_copy, folder, result.files)


def _copy(source: Path, names: Iterable[str], draft: Path) -> None:
    for name in names:
        shutil.copyfile(source / name, draft / name)
