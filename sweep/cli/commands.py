"""The commands. Alone in printing results, setting up logging, hearing signals and exit codes.

What a command needs is imported inside it: `--help` loads no TensorFlow, MLflow or Optuna.
"""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep.cli.arguments import Command, parser
from sweep.errors import Interrupted, StorageError, SweepError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from sweep.cli.display import Display
    from sweep.coordinator import Job, Runtime
    from sweep.data.prepared import PreparedData
    from sweep.layout import RunsDir
    from sweep.report.conclusion import Conclusion
    from sweep.study.schema import Study

logger = logging.getLogger("sweep")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Exit codes: see the README, and the errors in `sweep/errors.py`."""
    arguments = parser(COMMANDS).parse_args(argv)
    try:
        arguments.command(arguments)
    except SweepError as error:
        print(f"{'' if isinstance(error, Interrupted) else 'error: '}{error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:  # a disk that is full, a folder that may not be written
        print(f"error: {error}; put it right, and the same command continues", file=sys.stderr)
        return StorageError.exit_code
    except KeyboardInterrupt as error:
        print(Interrupted(), file=sys.stderr)
        return 128 + next(iter(error.args), signal.SIGINT)
    return 0


def _run(arguments: argparse.Namespace) -> None:
    from sweep.study.file import check_is_installed, load_study

    study, table = _with_options(*load_study(arguments.study), arguments)
    check_is_installed(study, str(arguments.study))
    console = _set_up_logging()
    from sweep.cli.display import Display
    from sweep.coordinator import run_study

    runs = _runs_dir(arguments)
    display = Display(study, console)
    with _signals() as arrived, display.live():
        job = _job(study, table, arguments.study.parent, runs)
        try:
            run_study(job, _runtime(job, display, arrived), arguments.fork)
        except Interrupted as error:
            error.exit_code = 128 + arrived[0]
            raise
    conclusion = _conclusion(runs, study.name)
    _print_report(conclusion, runs)
    if conclusion.champion is not None:
        _hand_on(conclusion, runs, arguments.study)
    _announce(conclusion, runs)


def _report(arguments: argparse.Namespace) -> None:
    from sweep.study.file import load_study

    runs = _runs_dir(arguments)
    conclusion = _conclusion(runs, load_study(arguments.study)[0].name)
    if arguments.check:
        _check_report(conclusion, runs)
    else:
        _print_report(conclusion, runs)
        _announce(conclusion, runs)


def _check_report(conclusion: "Conclusion", runs: "RunsDir") -> None:
    from sweep.errors import UnsoundStudyError
    from sweep.report.files import stale

    name = conclusion.runs.study.name
    if wrong := stale(conclusion, runs):
        raise UnsoundStudyError(f"not what the runs of {name} give: {', '.join(map(str, wrong))}; `report` rebuilds it")
    print(f"The report of {name} is what its runs give: {runs.reports(name)}")


def _compare(arguments: argparse.Namespace) -> None:
    from rich.console import Console

    from sweep.report.conclusion import compare_champions
    from sweep.report.text import VERDICTS_NOTE, champions_table, verdict_line
    from sweep.study.file import load_study

    runs = _runs_dir(arguments)
    names = dict.fromkeys(load_study(path)[0].name for path in arguments.studies)
    conclusions = [_conclusion(runs, name) for name in names]
    console = Console() if sys.stdout.isatty() else Console(width=160)
    console.print(_rich_table("champions", champions_table(conclusions)))
    verdicts = compare_champions(conclusions)
    if len(verdicts) < len(conclusions) * (len(conclusions) - 1) // 2:
        console.print("Champions that were not scored on the same test rows are not compared.")
    for verdict in verdicts:
        console.print(f"- {verdict_line(verdict)}", highlight=False, soft_wrap=True)
    if verdicts:
        console.print(VERDICTS_NOTE, style="dim", soft_wrap=True)


def _replay(arguments: argparse.Namespace) -> None:
    from functools import partial

    from sweep.errors import UnsoundStudyError
    from sweep.execute.start import start_executor
    from sweep.replay import engine_of, replay
    from sweep.study.file import check_is_installed
    from sweep.track.runs import read_runs, study_of

    runs = _runs_dir(arguments)
    found = read_runs(runs, study_of(runs, arguments.run_id))
    search = found.study.search.model_copy(update={"workers": 1, "engine": engine_of(found, arguments.run_id)})
    study = found.study.model_copy(update={"search": search})
    check_is_installed(study, f"run {arguments.run_id}")
    _set_up_logging()
    data = _prepare(study, arguments.data_dir, runs)
    done = replay(found, arguments.run_id, runs, data.facts, partial(start_executor, study, data, runs))
    print(f"Run {arguments.run_id} is {done.lines[0]}", *done.lines[1:], sep="\n")
    if done.outcome == "different":
        raise UnsoundStudyError(f"run {arguments.run_id} is not what its record trains to, see above")


def _export(arguments: argparse.Namespace) -> None:
    from sweep.study.file import load_study

    runs = _runs_dir(arguments)
    _hand_on(_conclusion(runs, load_study(arguments.study)[0].name), runs, arguments.study)


def _predict(arguments: argparse.Namespace) -> None:
    from sweep.champion.predict import predict
    from sweep.durable.files import write_durably

    said = predict(arguments.bundle, arguments.images)
    if arguments.out is None:
        print(said, end="")
    else:
        write_durably(arguments.out, said.encode())


def _sync(arguments: argparse.Namespace) -> None:
    from sweep.coordinator import sync_study
    from sweep.report.files import publish

    job = _quiet_job(arguments)
    sync_study(job)
    if job.runs.reports(job.study.name).exists():  # of fewer runs, or never shown in MLflow
        conclusion = _conclusion(job.runs, job.study.name)
        publish(conclusion, job.runs)
        _announce(conclusion, job.runs)
    print(f"Every trial of {job.study.name} that has ended is tracked: {job.runs.mlflow_name}")


def _doctor(arguments: argparse.Namespace) -> None:
    from sweep.champion.release import hand_on
    from sweep.doctor import diagnose, mend
    from sweep.errors import UnsoundStudyError

    job = _quiet_job(arguments)
    diagnosis = diagnose(job)
    if arguments.fix and any(finding.remedy for finding in diagnosis.findings):
        mend(job, diagnosis.findings, lambda conclusion: list(hand_on(conclusion, job.runs, arguments.study)))
        diagnosis = diagnose(job)
    for finding in diagnosis.findings:
        print(f"- {finding.what}: {finding.way_out}")
    if diagnosis.findings:
        raise UnsoundStudyError(f"study {job.study.name}: {len(diagnosis.findings)} findings, listed above")
    print(
        f"Study {job.study.name}: {diagnosis.n_trials} trials and their {diagnosis.n_runs} runs agree in every point."
    )


def _quiet_job(arguments: argparse.Namespace) -> "Job":
    """A study that was run, as a job that shows no progress."""
    from sweep.coordinator import check_recorded
    from sweep.study.file import load_study

    study, table = load_study(arguments.study)
    runs = _runs_dir(arguments)
    check_recorded(runs, study.name)
    _set_up_logging()
    return _job(study, table, arguments.study.parent, runs)


def _ui(arguments: argparse.Namespace) -> None:
    from sweep.cli.ui import serve

    serve(_runs_dir(arguments), arguments.port)


def _dashboard(arguments: argparse.Namespace) -> None:
    from sweep.cli.dashboard import serve

    serve(_runs_dir(arguments).optuna_db, arguments.port)


def _runs_dir(arguments: argparse.Namespace) -> "RunsDir":
    from sweep.layout import RunsDir, tracking_server

    return RunsDir(arguments.runs_dir, tracking_server(os.environ.get("MLFLOW_TRACKING_URI")))


def _with_options(
    study: "Study", table: dict[str, Any], arguments: argparse.Namespace
) -> tuple["Study", dict[str, Any]]:
    """The study and its table with `--trials`, `--workers` and `--engine` in place of the file's."""
    from sweep.study.file import parse_study

    given = {name: value for name in ("trials", "workers", "engine") if (value := getattr(arguments, name)) is not None}
    if not given:
        return study, table
    changed = {**table, "search": {**table.get("search", {}), **given}}
    return parse_study(changed, str(arguments.study)), changed


def _job(study: "Study", table: dict[str, Any], base: Path, runs: "RunsDir") -> "Job":
    from sweep.coordinator import Job

    return Job(study=study, table=table, data=_prepare(study, base, runs), runs=runs)


def _prepare(study: "Study", base: Path, runs: "RunsDir") -> "PreparedData":
    from sweep.data.files import check_rows, read
    from sweep.data.prepared import prepare

    data = read(study.data, base)
    check_rows(data, study.data)
    return prepare(data, study.data, study.seed, runs.data_cache)


def _runtime(job: "Job", display: "Display", arrived: list[int]) -> "Runtime":
    from functools import partial

    from sweep.coordinator import Runtime
    from sweep.execute.scoring import score_in_processes
    from sweep.execute.start import start_executor

    def is_interrupted() -> bool:
        return bool(arrived)

    log = job.runs.logs(job.study.name) / "scoring.log"
    return Runtime(
        start_executor=partial(start_executor, job.study, job.data, job.runs),
        score=partial(score_in_processes, data=job.data, log=log, is_interrupted=is_interrupted),
        watch=display.watch,
        remember=display.remember,
        is_interrupted=is_interrupted,
    )


def _conclusion(runs: "RunsDir", name: str) -> "Conclusion":
    from sweep.report.conclusion import conclude
    from sweep.track.runs import read_runs

    return conclude(read_runs(runs, name))


def _print_report(conclusion: "Conclusion", runs: "RunsDir") -> None:
    from rich.console import Console

    from sweep.report.files import publish
    from sweep.report.text import champion_line, tables, verdict_lines

    console = Console() if sys.stdout.isatty() else Console(width=120)
    for title, rows in tables(conclusion):
        console.print(_rich_table(f"{conclusion.runs.study.name}: {title.lower()}", rows))
    for line in verdict_lines(conclusion):
        console.print(f"- {line}", highlight=False, soft_wrap=True)
    console.print(f"Champion: {champion_line(conclusion)}", highlight=False, soft_wrap=True)
    console.print(f"Report: {', '.join(map(str, publish(conclusion, runs)))}", highlight=False, soft_wrap=True)


def _announce(conclusion: "Conclusion", runs: "RunsDir") -> None:
    from sweep.report.upload import announce

    announce(conclusion, runs)


def _rich_table(title: str, rows: list[list[str]]) -> "Table":
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for heading in rows[0]:
        table.add_column(heading)
    for row in rows[1:]:
        table.add_row(*row)
    return table


def _hand_on(conclusion: "Conclusion", runs: "RunsDir", study_file: Path) -> None:
    from sweep.champion.release import hand_on

    for line in hand_on(conclusion, runs, study_file):
        print(line)


def _set_up_logging() -> "Console":
    """Log lines to stderr: through the live display on a terminal, plain elsewhere."""
    from rich.console import Console
    from rich.logging import RichHandler

    console = Console(stderr=True)
    handler: logging.Handler
    if console.is_terminal:
        handler = RichHandler(console=console, show_level=False, show_path=False, log_time_format="%H:%M:%S")
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    return console


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect Ctrl-C and SIGTERM instead of dying of them; a second one ends the program at once."""
    arrived: list[int] = []

    def hear(number: int, frame: object) -> None:
        if arrived:
            raise KeyboardInterrupt(number)
        arrived.append(number)
        logger.warning("stopping: running trials will be trained again; once more to stop at once")

    before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield arrived
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


COMMANDS: dict[str, Command] = {
    "run": _run,
    "report": _report,
    "compare": _compare,
    "replay": _replay,
    "export": _export,
    "predict": _predict,
    "sync": _sync,
    "doctor": _doctor,
    "ui": _ui,
    "dashboard": _dashboard,
}
