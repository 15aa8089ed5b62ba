"""The tree of named errors: one line each, with what was given, what was wanted and the way out.

SweepError                exit code 1; a line without a code has that of its parent
├── InvalidStudyError     2, also a ValueError
├── InvalidSettingError   2, also a ValueError
├── InvalidDataError      also a ValueError
│   └── UnfitColumnsError
├── ChangedStudyError
├── StudyInUseError
├── TrackingError         3
│   └── LostExperimentError
├── StorageError          4
│   ├── RecordError
│   ├── DamagedResultError
│   ├── LostStudyError
│   └── ResultsError
├── UnsoundStudyError
├── MissingRunsError
├── ConversionError
├── MissingPackageError
├── WorkersError
└── Interrupted           130
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from sweep.plain_text import to_line


class SweepError(Exception):
    """Ends the command with one line on stderr and `exit_code`. Everything acknowledged before it is kept."""

    exit_code = 1

    def __str__(self) -> str:
        return to_line(" ".join(super().__str__().splitlines()))  # a name or a path may hold line breaks and more


class InvalidStudyError(SweepError, ValueError):
    """A study file that cannot be read or asks for something that does not exist."""

    exit_code = 2


class InvalidDataError(SweepError, ValueError):
    """Data that cannot be trained on: missing, malformed, or other than its study says."""


class UnfitColumnsError(InvalidDataError):
    """Columns of a table that are no features as they are."""

    def __init__(self, message: str, columns: Mapping[str, str], cells: Iterable[str] = ()) -> None:
        """Take what is wrong by the name of its column, and the cells that may stand for missing values."""
        super().__init__(message)
        self.columns, self.cells = dict(columns), tuple(cells)


class ChangedStudyError(SweepError):
    """A study file that no longer describes the study stored under its name."""


class StudyInUseError(SweepError):
    """A study that another coordinator is at work on."""


class InvalidSettingError(SweepError, ValueError):
    """An option or an environment variable that asks for something impossible."""

    exit_code = 2


class TrackingError(SweepError):
    """MLflow that cannot be read or written. Trained models are kept, and tracked later."""

    exit_code = 3


class LostExperimentError(TrackingError):
    """An experiment that a person deleted or renamed in MLflow, which keeps it."""


class StorageError(SweepError):
    """A full disk, a locked database, a damaged file: a person has to act before the study can go on."""

    exit_code = 4


class RecordError(StorageError):
    """A record of trials that cannot be read or written."""


class DamagedResultError(StorageError):
    """A result or model on disk that differs from what was written."""


class LostStudyError(StorageError):
    """A study that this coordinator held in a record on a server, and holds no more."""


class ResultsError(StorageError):
    """A result that cannot be written."""


class UnsoundStudyError(SweepError):
    """Records and files of a study that contradict each other."""


class MissingRunsError(SweepError):
    """Runs that a report or an export needs and that are missing."""


class ConversionError(SweepError):
    """A model that cannot be converted to the format of an export."""


class MissingPackageError(SweepError):
    """A package that a command needs and that is not installed."""


class WorkersError(SweepError):
    """Worker processes that cannot be started or kept alive."""


class Interrupted(SweepError):
    """An end by Ctrl-C or SIGTERM; the same command continues the study."""

    exit_code = 130

    def __init__(self) -> None:
        super().__init__("interrupted; the same command continues")


def to_storage_error(error: Exception) -> StorageError:
    """Say what the system refused: a full disk, a folder without write permission."""
    return StorageError(f"{error}; fix that, and the same command continues")


@contextmanager
def translate(*kinds: type[Exception], into: Callable[[Exception], SweepError]) -> Iterator[None]:
    """Translate errors of these `kinds`, raised by a library, with `into`. A SweepError passes through unchanged."""
    try:
        yield
    except SweepError:
        raise
    except kinds as error:
        raise into(error) from error
