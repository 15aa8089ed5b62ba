"""Handing the champion over: exported as a bundle, then registered in MLflow."""

from collections.abc import Callable
from functools import partial

from sweep.champion import convert
from sweep.champion.export import export
from sweep.champion.registry import register
from sweep.errors import TrackingError
from sweep.report.conclusion import Conclusion


def release(conclusion: Conclusion, typed: str, say: Callable[[str], None]) -> None:
    """Export the champion, then register it; `say` hears a line for each that is done.

    typed: the study file as it was typed.
    If registration fails, raises TrackingError; the export is already on disk.
    """
    log = conclusion.tracked.runs.logs(conclusion.tracked.study.name) / "export.log"
    exported = export(conclusion, partial(convert.convert_in_process, log=log), typed)
    say(f"Export: {exported.folder}")
    try:
        registered = register(conclusion, exported)
    except TrackingError as error:
        raise TrackingError(
            f"exported, but not registered: {error}; `export` registers it, once that is put right"
        ) from error
    say(f"Registered: {registered}")
