"""Define the commands and their arguments, and read the ones that several commands share."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from sweep.conduct.place import open_runs
from sweep.layout import RunsDir
from sweep.version import VERSION

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse a command line; `command` holds the name of the command. A wrong one ends the program with exit code 2."""
    parser = argparse.ArgumentParser(
        prog="sweep" if Path(sys.argv[0]).name == "sweep" else "python -m sweep",
        description="Hyperparameter sweeps of Keras MLPs, tracked so that the result can be trusted.",
    )
    parser.add_argument("--version", action="version", version=f"sweep {VERSION}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_init(commands)
    _add_run(commands)
    _add_report(commands)
    _add_compare(commands)
    _add_replay(commands)
    _add_study_command(commands, "export", "export the champion to exports/ and register it in MLflow")
    _add_predict(commands)
    _add_study_command(commands, "sync", "track the ended trials that MLflow lacks")
    _add_doctor(commands)
    _add_command(commands, "list", "list the studies of a runs directory")
    _add_status(commands)
    _add_trials(commands)
    _add_delete(commands)
    _add_ui(commands)
    _add_dashboard(commands)
    return parser.parse_args(argv)


def locate_runs(arguments: argparse.Namespace) -> RunsDir:
    """Return the runs directory and the servers that the user chose. Raises InvalidSettingError, StorageError."""
    return open_runs(arguments.runs_dir, arguments.record)


def list_study_files(arguments: argparse.Namespace) -> list[Path]:
    """Return the study files that the command was given: none, one or several."""
    given = vars(arguments)
    return [given["study"]] if "study" in given else given.get("studies", [])


def _add_run(commands: Commands) -> None:
    run = _add_study_command(
        commands, "run", "train the trials that a study lacks, then report it and export its champion"
    )
    run.add_argument("--trials", type=int, metavar="N", help="searched trials in total; overrides the study file")
    run.add_argument(
        "--minutes",
        type=float,
        metavar="N",
        help="minutes of training to search with, in total; trials that run when they are over are let finish; overrides the "
        "study file",
    )
    run.add_argument(
        "--workers", type=int, metavar="N", help="worker processes; overrides the study file (default: one per core)"
    )
    run.add_argument(
        "--engine",
        choices=("auto", "graph", "cohort"),
        help="graph trains one trial at a time on each core; cohort trains many in one program; auto (default) takes "
        "cohort if JAX sees an accelerator; overrides the study file",
    )
    run.add_argument(
        "--executor",
        choices=("auto", "local", "ray"),
        help="local trains on this machine, ray on the machines of the Ray cluster at RAY_ADDRESS; auto (default) takes ray if "
        "that is set; overrides the study file",
    )
    run.add_argument(
        "--fork", metavar="NAME", help="take over the trials of stored study NAME that this study would train alike"
    )


def _add_report(commands: Commands) -> None:
    report = _add_study_command(commands, "report", "rebuild the report from MLflow")
    report.add_argument(
        "--check", action="store_true", help="write nothing; fail if the report's files differ from the runs"
    )


def _add_compare(commands: Commands) -> None:
    compare = _add_command(commands, "compare", "compare the champions of several studies")
    compare.add_argument("studies", type=Path, nargs="+", metavar="STUDY", help="study files, two or more")


def _add_replay(commands: Commands) -> None:
    replay = _add_command(commands, "replay", "train a run again from its record, and compare the two")
    replay.add_argument("run_id", metavar="RUN_ID", help="MLflow run of a trial or a replicate")
    replay.add_argument(
        "--data-dir",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="folder of the study file, if that names its data by a path (default: the current folder)",
    )


def _add_init(commands: Commands) -> None:
    init = commands.add_parser("init", help="write a first study of a table, by what its columns look like")
    init.add_argument(
        "table", type=Path, metavar="TABLE", help="a .csv, .tsv or .parquet file with a line of column names"
    )
    init.add_argument("--label", required=True, metavar="COLUMN", help="column to predict: classes, or numbers")
    init.add_argument(
        "--out", type=Path, metavar="FILE", help="study file to write (default: beside the table, named after it)"
    )


def _add_predict(commands: Commands) -> None:
    predict = commands.add_parser("predict", help="predict rows with an exported champion; the result is CSV")
    predict.add_argument("bundle", type=Path, metavar="BUNDLE", help="exported folder, such as mlruns/exports/mnist")
    predict.add_argument(
        "rows",
        type=Path,
        metavar="ROWS",
        help="rows as in the study's data: a table (.csv, .tsv, .parquet), whose columns are found by name, or an .npz with an "
        "array x, x_test, or the only one",
    )
    predict.add_argument("--id", metavar="COLUMN", help="column of a table that names the rows in the result")
    predict.add_argument(
        "--out", type=Path, default=Path("-"), metavar="FILE", help="file for the CSV (default: -, standard output)"
    )


def _add_doctor(commands: Commands) -> None:
    doctor = _add_study_command(commands, "doctor", "check that databases, files, runs and report of a study agree")
    doctor.add_argument("--fix", action="store_true", help="repair what needs neither training nor a person")


def _add_status(commands: Commands) -> None:
    status = _add_named_command(commands, "status", "show how far a study is and what it trains now")
    status.add_argument(
        "--watch", action="store_true", help="show it anew every two seconds while a command is at work"
    )


def _add_trials(commands: Commands) -> None:
    trials = _add_named_command(commands, "trials", "list the trials of a study, the best first")
    trials.add_argument("--csv", action="store_true", help="print CSV, with a column for each value of a config")


def _add_delete(commands: Commands) -> None:
    delete = _add_named_command(commands, "delete", "remove a study: its record, runs, models and files")
    delete.add_argument("--exports", action="store_true", help="delete its exported champion too")
    delete.add_argument("--yes", action="store_true", help="delete without asking")


def _add_ui(commands: Commands) -> None:
    ui = _add_command(commands, "ui", "browse the runs in MLflow, on this machine only")
    ui.add_argument("--port", type=int, default=5000, metavar="N", help="port on 127.0.0.1 (default: 5000)")


def _add_dashboard(commands: Commands) -> None:
    dashboard = _add_command(commands, "dashboard", "view the searches in optuna-dashboard, on this machine only")
    dashboard.add_argument("--port", type=int, default=8080, metavar="N", help="port on 127.0.0.1 (default: 8080)")


def _add_study_command(commands: Commands, name: str, help: str) -> argparse.ArgumentParser:
    """Add a command that works on one study."""
    parser = _add_command(commands, name, help)
    parser.add_argument("study", type=Path, metavar="STUDY", help="study file, such as studies/mnist.toml")
    return parser


def _add_named_command(commands: Commands, name: str, help: str) -> argparse.ArgumentParser:
    """Add a command that works on what a study has left, whether or not its file is still there."""
    parser = _add_command(commands, name, help)
    # Not `study`: that is read as a file before a command begins.
    parser.add_argument("name", metavar="STUDY", help="name of the study, or its file")
    return parser


def _add_command(commands: Commands, name: str, help: str) -> argparse.ArgumentParser:
    """Add a command that works on a runs directory."""
    parser = commands.add_parser(name, help=help)
    parser.add_argument(
        "--runs-dir",
        type=Path,
        default=Path("mlruns"),
        metavar="DIR",
        help="where runs are kept (default: mlruns, in the current folder)",
    )
    parser.add_argument(
        "--record",
        metavar="URL",
        help="keep the record of trials in PostgreSQL: postgresql://USER@HOST:PORT/DATABASE (default: SWEEP_RECORD, or "
        "optuna.db in the runs directory)",
    )
    return parser
