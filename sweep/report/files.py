"""The report as files below the runs directory, from MLflow alone. The same runs give the same bytes."""

import json
from pathlib import Path

from sweep.durable.failpoint import failpoint
from sweep.durable.files import write_durably
from sweep.report.conclusion import Conclusion
from sweep.report.page import to_html
from sweep.report.search_figures import choose_curves
from sweep.report.text import to_csv, to_dict, to_markdown
from sweep.track.names import REPORT_PAGE

NAMES = ("conclusion.md", "conclusion.csv", "conclusion.json", REPORT_PAGE)


def publish(conclusion: Conclusion) -> list[Path]:
    """Write every file of the report; return their paths."""
    files = report_files(conclusion)
    texts = report_texts(conclusion)
    files[0].parent.mkdir(parents=True, exist_ok=True)
    for file in files:
        write_durably(file, texts[file.name].encode())
    failpoint("report.published")
    return files


def report_files(conclusion: Conclusion) -> list[Path]:
    """List the paths of the report's files, whether they are there or not."""
    tracked = conclusion.tracked
    return [tracked.runs.reports(tracked.study.name) / name for name in NAMES]


def find_stale(conclusion: Conclusion) -> list[Path]:
    """Find the files of the report that are missing, or are not what the runs give."""
    texts = report_texts(conclusion)
    files = report_files(conclusion)
    return [file for file in files if not file.is_file() or file.read_bytes() != texts[file.name].encode()]


def report_texts(conclusion: Conclusion) -> dict[str, str]:
    """Write the text of each file of the report, by name."""
    replicates = [run for column in conclusion.columns for run in column.replicate_runs]
    searched = [one.tracked.run_id for one in choose_curves(conclusion.tracked)]
    histories = {run: conclusion.tracked.files.history(run) for run in (*replicates, *searched)}
    texts = (
        to_markdown(conclusion),
        to_csv(conclusion),
        json.dumps(to_dict(conclusion), indent=1) + "\n",
        to_html(conclusion, histories),
    )
    return dict(zip(NAMES, texts, strict=True))
