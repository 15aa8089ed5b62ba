"""Remove a study from a runs directory: from MLflow, from the record of trials, and from the disk."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sweep.durable.disk import sync
from sweep.durable.failpoint import failpoint
from sweep.durable.files import write_durably
from sweep.errors import MissingRunsError
from sweep.layout import RunsDir
from sweep.record import results
from sweep.record.hold import hold_study
from sweep.record.storage import count_recorded, delete_recorded
from sweep.track.removal import Tracked, count_tracked, delete_tracked


@dataclass(frozen=True)
class Belongings:
    """What a study has left in a runs directory."""

    n_trials: int | None  # in the record, replicates included; None where it holds no such study
    tracked: Tracked | None
    folders: tuple[Path, ...]  # those that exist, the results last

    @property
    def n_bytes(self) -> int:
        """Size of the folders on the disk."""
        return sum(path.stat().st_size for folder in self.folders for path in folder.rglob("*") if path.is_file())


def find_belongings(runs: RunsDir, name: str, with_exports: bool) -> Belongings:
    """Find everything of the study called `name`. Raises MissingRunsError for nothing, TrackingError, RecordError."""
    exports = [runs.exports(name)] if with_exports else []
    folders = [runs.artifacts(name), runs.reports(name), runs.logs(name), runs.given(name)]
    folders += [runs.deleted_exports(name), *exports]
    folders += [runs.deleted_results(name), runs.results(name)]
    found = Belongings(
        count_recorded(runs.record, name),
        count_tracked(runs, name),
        tuple(folder for folder in folders if folder.exists()),
    )
    if found.n_trials is None and found.tracked is None and not found.folders:
        raise MissingRunsError(f"{runs.root}: holds nothing of a study {name!r}")
    return found


def delete_study(runs: RunsDir, name: str, with_exports: bool, say: Callable[[str], object]) -> None:
    """Delete everything of the study called `name`, and say each step. Safe to kill and to repeat.

    From the first step to the last the study is marked as half deleted, which every other command refuses. Raises
    StudyInUseError while another command is at work on it.
    """
    folder = runs.results(name)
    with hold_study(runs, name) as held:
        found = find_belongings(runs, name, with_exports)
        write_durably(folder / results.DELETING, b"")
        failpoint("delete.marked")
        delete_tracked(runs, name)
        if found.tracked is not None:
            say(
                f"{found.tracked.n_runs} runs and {found.tracked.n_versions} model versions deleted in {runs.mlflow_name}"
            )
        if found.n_trials is not None:
            delete_recorded(runs.record, name, held)
            say(f"{found.n_trials} trials deleted in {runs.record}")
        for left in found.folders:
            if left != folder:
                held.check()
                # A bundle may be in use elsewhere, so no half of one may have its name.
                _remove(left.rename(runs.deleted_exports(name)) if left == runs.exports(name) else left)
                say(f"{left} deleted")
        # The mark goes with the last folder, in one step: the study is half deleted, or it is not there.
        held.check()
        folder.rename(runs.deleted_results(name))
        sync(folder.parent)
        failpoint("delete.unmarked")
        _remove(runs.deleted_results(name))
        say(f"{folder} deleted")


def _remove(folder: Path) -> None:
    shutil.rmtree(folder)
    sync(folder.parent)
    failpoint("delete.folder")
