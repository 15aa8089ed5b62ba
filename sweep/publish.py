"""The report as files below the runs directory, from MLflow alone. The same runs give the same bytes."""

import json
from pathlib import Path

from sweep.conclusion import Conclusion
from sweep.layout import RunsDir
from sweep.page import to_html
from sweep.report import to_csv, to_dict, to_markdown
from sweep.results import write_durably
from sweep.runs import history


def publish(conclusion: Conclusion, runs: RunsDir) -> list[Path]:
    """Write every file of the report; their paths."""
    folder = runs.reports(conclusion.runs.study.name)
    texts = report_texts(conclusion, runs)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in texts.items():
        write_durably(folder / name, text.encode())
        written.append(folder / name)
    return written


def stale(conclusion: Conclusion, runs: RunsDir) -> list[Path]:
    """Files of the report that are missing, or not what the runs give."""
    folder = runs.reports(conclusion.runs.study.name)
    texts = report_texts(conclusion, runs)
    return [
        folder / name
        for name, text in texts.items()
        if not (folder / name).exists() or (folder / name).read_bytes() != text.encode()
    ]


def report_texts(conclusion: Conclusion, runs: RunsDir) -> dict[str, str]:
    """The report's files by name."""
    study = conclusion.runs.study.name
    replicates = [run for column in conclusion.columns for run in column.replicate_runs]
    histories = {run: history(runs, study, run) for run in replicates}
    return {
        "conclusion.md": to_markdown(conclusion),
        "conclusion.csv": to_csv(conclusion),
        "conclusion.json": json.dumps(to_dict(conclusion), indent=1) + "\n",
        "report.html": to_html(conclusion, histories),
    }
