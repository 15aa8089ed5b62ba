"""The report in MLflow: artifacts of the parent run, and the conclusion in its description.

The files on disk come first, and they come from the runs alone: MLflow is shown a report, and never asked for one.
"""

from collections.abc import Iterator

from sweep.durable.failpoint import failpoint
from sweep.durable.files import sha256_of
from sweep.errors import TrackingError
from sweep.report.conclusion import Conclusion
from sweep.report.files import report_files
from sweep.report.text import champion_line, markdown_sections
from sweep.track.client import open_client
from sweep.track.describe import experiment_text, study_text
from sweep.track.errors import translate_errors
from sweep.track.names import NOTE, REPORT_FOLDER
from sweep.track.tables import settle_locations

MAX_NOTE = 8000  # characters that MLflow keeps of a tag


def upload(conclusion: Conclusion) -> None:
    """Show in MLflow the report that was written to disk, in place of an older one. Nothing is written where it is there.

    Raises TrackingError; the files on disk stay.
    """
    tracked = conclusion.tracked
    try:
        if not is_uploaded(conclusion):
            _upload(conclusion)
    except TrackingError as error:
        raise TrackingError(
            f"the report is written to {tracked.runs.reports(tracked.study.name)}, and MLflow does not show it yet: {error}; "
            "`python -m sweep report` again, once that is put right"
        ) from error


def is_uploaded(conclusion: Conclusion) -> bool:
    """Return whether MLflow shows the report that lies on disk, to the byte. Raises TrackingError."""
    tracked, parent = conclusion.tracked, conclusion.tracked.parent_run_id
    client = open_client(tracked.runs)
    with translate_errors(tracked.runs):
        run = client.get_run(parent)
        experiment = client.get_experiment(run.info.experiment_id)
    if run.data.tags.get(NOTE) != compose_note(conclusion):
        return False
    if experiment.tags.get(NOTE) != _compose_experiment_note(conclusion, experiment.experiment_id):
        return False
    copies = {file: f"{REPORT_FOLDER}/{file.name}" for file in report_files(conclusion)}
    return all(
        tracked.files.has_artifact(parent, copy) and sha256_of(tracked.files.artifact(parent, copy)) == sha256_of(file)
        for file, copy in copies.items()
    )


def compose_note(conclusion: Conclusion) -> str:
    """Compose the parent run's description: as many sections of the conclusion as a tag holds, the last left out first."""
    whole = f"The whole report is among the artifacts of this run, in `{REPORT_FOLDER}/`."
    kept = ""
    for part in _parts(conclusion):
        if len(kept) + len(part) + len(whole) + 4 > MAX_NOTE:
            break
        kept += f"{part}\n\n"
    return kept + whole


def _compose_experiment_note(conclusion: Conclusion, experiment: str) -> str:
    tracked = conclusion.tracked
    return experiment_text(tracked.study, tracked.facts, experiment, tracked.parent_run_id, champion_line(conclusion))


def _parts(conclusion: Conclusion) -> Iterator[str]:
    sections = markdown_sections(conclusion)
    yield f"**Champion.** {sections.pop('Champion')}"
    for title, text in sections.items():
        yield f"### {title}\n\n{text}"
    yield f"### The study\n\n{study_text(conclusion.tracked.study, conclusion.tracked.facts)}"


def _upload(conclusion: Conclusion) -> None:
    runs, parent = conclusion.tracked.runs, conclusion.tracked.parent_run_id
    settle_locations(runs, conclusion.tracked.study.name)
    client = open_client(runs)
    with translate_errors(runs):
        for file in report_files(conclusion):
            client.log_artifact(parent, str(file), REPORT_FOLDER)
            failpoint("announce.file")
        experiment = client.get_run(parent).info.experiment_id
        client.set_experiment_tag(experiment, NOTE, _compose_experiment_note(conclusion, experiment))
        client.set_tag(parent, NOTE, compose_note(conclusion))
        failpoint("announce.noted")
