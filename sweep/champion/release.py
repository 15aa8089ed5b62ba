"""A study's champion handed on: exported as a bundle, then registered in MLflow."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from sweep.champion import convert
from sweep.champion.export import export
from sweep.champion.registry import register
from sweep.errors import TrackingError
from sweep.layout import RunsDir
from sweep.report.conclusion import Conclusion


def hand_on(conclusion: Conclusion, runs: RunsDir, study_file: Path) -> Iterator[str]:
    """Do it, with a line for each of the two once it is done. Raises TrackingError, by when the export is written."""
    log = runs.logs(conclusion.runs.study.name) / "export.log"
    exported = export(conclusion, runs, partial(convert.convert_in_process, log=log), study_file.read_text())
    yield f"Export: {exported.folder}"
    try:
        yield f"Registered: {register(conclusion, exported, runs)}"
    except TrackingError as error:
        raise TrackingError(
            f"exported, but not registered: {error}; `export` registers it, once that is put right"
        ) from error
