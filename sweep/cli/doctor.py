"""`doctor`: check that everything a study has left agrees, and repair it if asked to."""

import argparse

from sweep.champion.release import release
from sweep.cli.jobs import open_job
from sweep.cli.stdout import say
from sweep.conduct.log import set_up_logging
from sweep.doctor import diagnose, mend
from sweep.errors import UnsoundStudyError
from sweep.study.file import read_study_text


def run(arguments: argparse.Namespace) -> None:
    set_up_logging()
    job, typed = open_job(arguments), read_study_text(arguments.study)
    diagnosis = diagnose(job)
    if arguments.fix and any(finding.remedy for finding in diagnosis.findings):
        mend(job, diagnosis.findings, lambda conclusion: release(conclusion, typed, _ignore))
        diagnosis = diagnose(job)
    for finding in diagnosis.findings:
        say(f"- {finding.what}: {finding.way_out}")
    if diagnosis.findings:
        raise UnsoundStudyError(f"study {job.study.name}: {len(diagnosis.findings)} findings, listed above")
    say(f"Study {job.study.name}: {diagnosis.n_trials} trials and their {diagnosis.n_runs} runs agree in every point.")


def _ignore(line: str) -> None:
    """Print nothing: stdout holds the findings alone."""
