"""Run a study from Python, as the command `run` does: the same record, the same guarantees."""

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep.conduct.place import open_runs
from sweep.durable.files import write_durably
from sweep.environment import scratch_for_fonts, settled
from sweep.errors import to_storage_error, translate
from sweep.layout import RunsDir
from sweep.python.study import NAME, Study

if TYPE_CHECKING:
    from sweep.conduct.display import Display
    from sweep.python.result import Result
    from sweep.study import schema

GIVEN_STUDY = "study.toml"  # beside rows from memory: the study that names them, for the commands

logger = logging.getLogger(__name__)

_one_at_a_time = threading.Lock()  # the environment and the log are the process'


@dataclass(frozen=True)
class _Asked:
    """A study as it is to be run."""

    study: "schema.Study"
    where: str  # it was read from, for messages
    table: dict[str, Any]
    typed: str  # as text
    base: Path  # the folder that its data is relative to
    kept_at: Path | None = None  # where it is left as a file for the commands, if it has none of its own

    def keep(self) -> None:
        """Leave the study as a file."""
        if self.kept_at is not None:
            write_durably(self.kept_at, self.typed.encode())


def run(
    study: str | Path | Study, data: Any = None, *, label: str | None = None, runs_dir: str | Path = "mlruns"
) -> "Result":
    """Train the trials that a study lacks, report it and export its champion, as `sweep run` does; return what it came to.

    study: a study file, or a study built in code, whose data is relative to the current folder. data: rows in place of the
    study's `data.source`: a DataFrame, or features and labels, (X, y). label: the label column of a DataFrame. runs_dir:
    where runs are kept. The same call again continues; when nothing is missing, it trains nothing.

    Where Ctrl-C or SIGTERM stops it, which only the main thread hears, raises Interrupted; else another SweepError, in one
    line. Studies in several threads of a program run one after another.
    """
    with _one_at_a_time, settled(os.environ), scratch_for_fonts(), translate(OSError, into=to_storage_error):
        runs = open_runs(Path(runs_dir))
        asked = _read(study) if data is None else _give(_read(study), data, label, runs)
        return _run(asked, runs)


def _read(study: str | Path | Study) -> _Asked:
    """Read a study file, or take a study that was built in code. Raises InvalidStudyError."""
    from sweep.study.file import check_is_installed, load_study, parse_study, read_study_text
    from sweep.study.toml_text import to_toml

    if isinstance(study, Study):
        parsed, table, where = parse_study(study.table, NAME), study.table, NAME
        typed, base = to_toml(table), Path()
    else:
        path = Path(study)
        (parsed, table), where = load_study(path), str(path)
        typed, base = read_study_text(path), path.parent
    check_is_installed(parsed, where)
    return _Asked(parsed, where, table, typed, base)


def _give(asked: _Asked, data: Any, label: str | None, runs: RunsDir) -> _Asked:
    """Put rows, as a file, in place of those that the study names."""
    from sweep.python.given import write_rows
    from sweep.study.file import parse_study
    from sweep.study.toml_text import to_toml

    folder = runs.given(asked.study.name)
    table = {**asked.table, "data": {**asked.table["data"], **write_rows(data, label, folder)}}
    given = parse_study(table, asked.where)
    return _Asked(given, asked.where, table, to_toml(table), folder, folder / GIVEN_STUDY)


def _run(asked: _Asked, runs: RunsDir) -> "Result":
    from sweep.conduct.training import train_study
    from sweep.overview import read_overview

    if asked.kept_at is not None and not asked.kept_at.exists():
        asked.keep()
    with _open_display() as open_display:
        classes = train_study(asked.study, asked.table, asked.base, runs, open_display)
        asked.keep()  # not before: it may be another study than the one of its name, and refused
        # Imported here because they load MLflow, which takes seconds. While trials train, the tracker's thread loads it.
        from sweep.conduct.outcome import deliver
        from sweep.python.result import Result

        conclusion = deliver(runs, asked.study.name, asked.typed, lambda conclusion, files: None, logger.info)
    return Result(conclusion, read_overview(runs, asked.study.name), classes)


@contextmanager
def _open_display() -> Iterator[Callable[["schema.Study"], "Display"]]:
    """Show progress until the end: in the cell of a notebook, or else as the command does."""
    from sweep.conduct.display import Display
    from sweep.conduct.log import log_meanwhile
    from sweep.python.notebook import NotebookDisplay, is_notebook

    if is_notebook():
        with log_meanwhile(logging.WARNING) as console:
            yield partial(NotebookDisplay, console=console)
    else:
        with log_meanwhile() as console:
            yield partial(Display, console=console)
