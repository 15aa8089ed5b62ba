"""The tree of errors a person can meet: one line each, saying what was given, what was wanted and the way out."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class SweepError(Exception):
    """Ends the command with one line on stderr and `exit_code`; what was acknowledged before it is kept."""

    exit_code = 1

    def __str__(self) -> str:
        return " ".join(super().__str__().splitlines())  # what it quotes may hold line breaks


class InvalidStudyError(SweepError, ValueError):
    """A study file that cannot be read or asks for something that does not exist."""

    exit_code = 2


class InvalidDataError(SweepError, ValueError):
    """Data that cannot be trained on: missing, malformed, or not what its study says."""


class ChangedStudyError(SweepError):
    """A study file that no longer describes the study stored under its name."""


class StudyInUseError(SweepError):
    """Another coordinator is at work on the study."""


class InvalidSettingError(SweepError, ValueError):
    """An option or an environment variable asks for something that does not exist or cannot be."""

    exit_code = 2


class TrackingError(SweepError):
    """MLflow cannot be read or written. What was trained is kept, and tracked later."""

    exit_code = 3


class StorageError(SweepError):
    """A disk that is full, a database that is locked, a file that is damaged: a person has to act before it goes on."""

    exit_code = 4


class RecordError(StorageError):
    """The record of trials cannot be read or written."""


class DamagedResultError(StorageError):
    """A result or model on disk is not what was written."""


class ResultsError(StorageError):
    """A result cannot be written."""


class UnsoundStudyError(SweepError):
    """What a study has left does not hold together."""


class MissingRunsError(SweepError):
    """A report or export was asked of runs that are not there."""


class ConversionError(SweepError):
    """A model that cannot be given the form that it is handed on in."""


class MissingPackageError(SweepError):
    """A command needs a package that is not installed."""


class WorkersError(SweepError):
    """Worker processes cannot be started or kept alive."""


class Interrupted(SweepError):
    """Ctrl-C or SIGTERM arrived; the same command continues."""

    exit_code = 130

    def __init__(self) -> None:
        super().__init__("interrupted; the same command continues")


@contextmanager
def translate(*kinds: type[Exception], into: Callable[[Exception], SweepError]) -> Iterator[None]:
    """Raise errors of a library, of these `kinds`, as the error of ours that `into` makes of them. Ours pass through."""
    try:
        yield
    except SweepError:
        raise
    except kinds as error:
        raise into(error) from error
