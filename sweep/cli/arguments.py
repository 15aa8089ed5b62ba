"""The command line: which commands there are, and what each may be given."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

Command = Callable[[argparse.Namespace], None]


def parser(commands: Mapping[str, Command]) -> argparse.ArgumentParser:
    """The command line; `commands` holds what each of its commands does, by name."""
    whole = argparse.ArgumentParser(
        prog="python -m sweep",
        description="Hyperparameter sweeps of Keras MLPs, tracked so that the result can be trusted.",
    )
    everywhere = argparse.ArgumentParser(add_help=False)
    everywhere.add_argument(
        "--runs-dir", type=Path, default=Path("mlruns"), metavar="DIR", help="where runs are kept (default: mlruns)"
    )
    of_study = argparse.ArgumentParser(add_help=False, parents=[everywhere])
    of_study.add_argument("study", type=Path, metavar="STUDY", help="a study file, such as studies/mnist.toml")
    verbs = whole.add_subparsers(required=True, metavar="COMMAND")

    run = verbs.add_parser("run", parents=[of_study], help="train what is missing of a study, then report and export")
    run.add_argument("--trials", type=int, metavar="N", help="total of searched trials, instead of the study file's")
    run.add_argument(
        "--workers", type=int, metavar="N", help="worker processes, instead of the study file's (default: one per core)"
    )
    run.add_argument(
        "--engine",
        choices=("auto", "graph", "cohort"),
        help="how trials train: graph, one after another on each core; cohort, many in one program; auto (default), cohort "
        "where JAX sees an accelerator",
    )
    run.add_argument(
        "--fork", metavar="NAME", help="take over what still holds of the stored study NAME, whose file was changed"
    )
    run.set_defaults(command=commands["run"])
    report = verbs.add_parser("report", parents=[of_study], help="rebuild the report from MLflow")
    report.add_argument(
        "--check", action="store_true", help="write nothing; fail if the files differ from what the runs give"
    )
    report.set_defaults(command=commands["report"])
    compare = verbs.add_parser("compare", parents=[everywhere], help="the champions of studies side by side")
    compare.add_argument("studies", type=Path, nargs="+", metavar="STUDY", help="study files, two or more")
    compare.set_defaults(command=commands["compare"])
    replay = verbs.add_parser("replay", parents=[everywhere], help="train a run again from its record, and compare")
    replay.add_argument("run_id", metavar="RUN_ID", help="an MLflow run of a trial or a replicate")
    replay.add_argument(
        "--data-dir", type=Path, default=Path(), metavar="DIR", help="where the study file lay, if its data is a path"
    )
    replay.set_defaults(command=commands["replay"])
    verbs.add_parser("export", parents=[of_study], help="write the champion to exports/ and register it").set_defaults(
        command=commands["export"]
    )
    predict = verbs.add_parser("predict", help="what an exported champion says of rows, as CSV")
    predict.add_argument("bundle", type=Path, metavar="BUNDLE", help="an exported folder, such as mlruns/exports/mnist")
    predict.add_argument(
        "images", type=Path, metavar="IMAGES.npz", help="rows as in the data, as array x, x_test, or the only one"
    )
    predict.add_argument("--out", type=Path, metavar="FILE", help="where the CSV goes (default: standard output)")
    predict.set_defaults(command=commands["predict"])
    verbs.add_parser(
        "sync", parents=[of_study], help="track in MLflow what was trained while it was away"
    ).set_defaults(command=commands["sync"])
    doctor = verbs.add_parser(
        "doctor", parents=[of_study], help="check that databases, files, runs and report of a study agree"
    )
    doctor.add_argument("--fix", action="store_true", help="mend what needs neither training nor a person")
    doctor.set_defaults(command=commands["doctor"])
    ui = verbs.add_parser("ui", parents=[everywhere], help="browse the runs in MLflow, on this machine only")
    ui.add_argument("--port", type=int, default=5000, metavar="N", help="port on 127.0.0.1 (default: 5000)")
    ui.set_defaults(command=commands["ui"])
    dashboard = verbs.add_parser(
        "dashboard", parents=[everywhere], help="look at the searches in optuna-dashboard, on this machine only"
    )
    dashboard.add_argument("--port", type=int, default=8080, metavar="N", help="port on 127.0.0.1 (default: 8080)")
    dashboard.set_defaults(command=commands["dashboard"])
    return whole
