"""The report as files below the runs directory, from MLflow alone. The same runs give the same bytes."""

import json
from pathlib import Path

from sweep.durable.files import write_durably
from sweep.layout import RunsDir
from sweep.report.conclusion import Conclusion
from sweep.report.page import to_html
from sweep.report.text import to_csv, to_dict, to_markdown
from sweep.track.describe import REPORT_PAGE
from sweep.track.runs import history

NAMES = ("conclusion.md", "conclusion.csv", "conclusion.json", REPORT_PAGE)


def publish(conclusion: Conclusion, runs: RunsDir) -> list[Path]:
    """Write every file of the report; their paths."""
    folder = runs.reports(conclusion.runs.study.name)
    texts = report_texts(conclusion, runs)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        write_durably(folder / name, text.encode())
    return report_files(runs, conclusion.runs.study.name)


def report_files(runs: RunsDir, study: str) -> list[Path]:
    """Where the files of a study's report lie."""
    return [runs.reports(study) / name for name in NAMES]


def stale(conclusion: Conclusion, runs: RunsDir) -> list[Path]:
    """Files of the report that are missing, or not what the runs give."""
    texts = report_texts(conclusion, runs)
    files = report_files(runs, conclusion.runs.study.name)
    return [file for file in files if not file.exists() or file.read_bytes() != texts[file.name].encode()]


def report_texts(conclusion: Conclusion, runs: RunsDir) -> dict[str, str]:
    """The report's files by name."""
    study = conclusion.runs.study.name
    replicates = [run for column in conclusion.columns for run in column.replicate_runs]
    histories = {run: history(runs, study, run) for run in replicates}
    texts = (
        to_markdown(conclusion),
        to_csv(conclusion),
        json.dumps(to_dict(conclusion), indent=1) + "\n",
        to_html(conclusion, histories),
    )
    return dict(zip(NAMES, texts, strict=True))
