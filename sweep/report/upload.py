"""The report in MLflow: its files are artifacts of the parent run, whose description holds the conclusion.

The files on disk come first, and they come from the runs alone: MLflow is shown a report, and never asked for one.
"""

from collections.abc import Iterator

from sweep.durable.failpoint import failpoint
from sweep.durable.files import sha256_of
from sweep.errors import TrackingError
from sweep.layout import RunsDir
from sweep.report.conclusion import Conclusion
from sweep.report.files import report_files
from sweep.report.text import champion_line, markdown_sections
from sweep.track.client import NOTE, follow_move, open_client, translate_errors
from sweep.track.describe import REPORT_FOLDER, experiment_text, study_text
from sweep.track.runs import artifact, has_artifact

MAX_NOTE = 8000  # characters that MLflow keeps of a tag


def announce(conclusion: Conclusion, runs: RunsDir) -> None:
    """Show in MLflow the report that was written to disk, in place of an older one; nothing where it is there already.

    Raises TrackingError, which costs the files on disk nothing.
    """
    try:
        if not is_announced(conclusion, runs):
            _announce(conclusion, runs)
    except TrackingError as error:
        raise TrackingError(
            f"the report is written to {runs.reports(conclusion.runs.study.name)}, and MLflow does not show it yet: {error}; "
            "`python -m sweep report` again, once that is put right"
        ) from error


def is_announced(conclusion: Conclusion, runs: RunsDir) -> bool:
    """Whether MLflow shows the report that lies on disk, to the byte."""
    study, parent = conclusion.runs.study.name, conclusion.runs.parent_run_id
    client = open_client(runs)
    with translate_errors(runs):
        run = client.get_run(parent)
        experiment = client.get_experiment(run.info.experiment_id)
    if run.data.tags.get(NOTE) != note(conclusion):
        return False
    if experiment.tags.get(NOTE) != _experiment_note(conclusion, experiment.experiment_id):
        return False
    copies = {file: f"{REPORT_FOLDER}/{file.name}" for file in report_files(runs, study)}
    return all(
        has_artifact(runs, study, parent, copy) and sha256_of(artifact(runs, study, parent, copy)) == sha256_of(file)
        for file, copy in copies.items()
    )


def note(conclusion: Conclusion) -> str:
    """What the parent run's description says: as much of the conclusion as a tag holds, its end left out first."""
    whole = f"The whole report is among the artifacts of this run, in `{REPORT_FOLDER}/`."
    kept = ""
    for part in _parts(conclusion):
        if len(kept) + len(part) + len(whole) + 4 > MAX_NOTE:
            break
        kept += f"{part}\n\n"
    return kept + whole


def _experiment_note(conclusion: Conclusion, experiment: str) -> str:
    found = conclusion.runs
    return experiment_text(found.study, found.facts, experiment, found.parent_run_id, champion_line(conclusion))


def _parts(conclusion: Conclusion) -> Iterator[str]:
    sections = markdown_sections(conclusion)
    yield f"**Champion.** {sections.pop('Champion')}"
    for title, text in sections.items():
        yield f"### {title}\n\n{text}"
    yield f"### The study\n\n{study_text(conclusion.runs.study, conclusion.runs.facts)}"


def _announce(conclusion: Conclusion, runs: RunsDir) -> None:
    if runs.mlflow_server is None:
        follow_move(runs)
    client, parent = open_client(runs), conclusion.runs.parent_run_id
    with translate_errors(runs):
        for file in report_files(runs, conclusion.runs.study.name):
            client.log_artifact(parent, str(file), REPORT_FOLDER)
            failpoint("announce.file")
        experiment = client.get_run(parent).info.experiment_id
        client.set_experiment_tag(experiment, NOTE, _experiment_note(conclusion, experiment))
        client.set_tag(parent, NOTE, note(conclusion))
        failpoint("announce.noted")
