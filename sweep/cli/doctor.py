"""`doctor`: check that everything a study has left agrees, and repair it if asked to."""

import argparse

from sweep.champion.release import release
from sweep.cli.jobs import open_job
from sweep.cli.log import set_up_logging
from sweep.cli.stdout import say
from sweep.doctor import diagnose, mend
from sweep.errors import UnsoundStudyError


def run(arguments: argparse.Namespace) -> None:
    set_up_logging()
    job = open_job(arguments)
    diagnosis = diagnose(job)
    if arguments.fix and any(finding.remedy for finding in diagnosis.findings):
        mend(job, diagnosis.findings, lambda conclusion: release(conclusion, arguments.study, _ignore))
        diagnosis = diagnose(job)
    for finding in diagnosis.findings:
        say(f"- {finding.what}: {finding.way_out}")
    if diagnosis.findings:
        raise UnsoundStudyError(f"study {job.study.name}: {len(diagnosis.findings)} findings, listed above")
    say(f"Study {job.study.name}: {diagnosis.n_trials} trials and their {diagnosis.n_runs} runs agree in every point.")


def _ignore(line: str) -> None:
    """Print nothing: stdout holds the findings alone."""
