"""`delete`: remove a study from the record, from MLflow and from the disk."""

import argparse
import sys

from sweep.cli.arguments import locate_runs
from sweep.cli.named import read_study_name
from sweep.cli.stdout import say
from sweep.conduct.log import set_up_logging
from sweep.errors import InvalidSettingError
from sweep.layout import RunsDir
from sweep.removal import Belongings, delete_study, find_belongings


def run(arguments: argparse.Namespace) -> None:
    set_up_logging()
    runs, name = locate_runs(arguments), read_study_name(arguments)
    found = find_belongings(runs, name, arguments.exports)
    say(_describe(found, runs, name), _describe_rest(runs, name, arguments.exports))
    if arguments.yes or _is_wanted(name):
        delete_study(runs, name, arguments.exports, say)
    else:
        say("Nothing was deleted.")


def _describe(found: Belongings, runs: RunsDir, name: str) -> str:
    parts = [] if found.n_trials is None else [f"{found.n_trials} trials in {runs.record}"]
    if found.tracked is not None:
        until = "" if runs.mlflow_server is None else ", which keeps the runs out of sight until its `mlflow gc`"
        parts.append(
            f"{found.tracked.n_runs} runs and {found.tracked.n_versions} model versions in {runs.mlflow_name}{until}"
        )
    parts += [str(folder) for folder in found.folders]
    return f"Study {name}: {', '.join(parts)} ({found.n_bytes / 2**20:.1f} MB on the disk) will be deleted."


def _describe_rest(runs: RunsDir, name: str, with_exports: bool) -> str:
    kept = f"{runs.data_cache}, which other studies share"
    if runs.exports(name).exists() and not with_exports:
        kept = f"{runs.exports(name)} (--exports deletes it too) and {kept}"
    return f"What stays: {kept}."


def _is_wanted(name: str) -> bool:
    if not sys.stdin.isatty():
        raise InvalidSettingError("delete asks first, and there is no terminal to ask at; --yes deletes without asking")
    say(f"Delete {name}? [y/N] ", end="")
    return sys.stdin.readline().strip().lower() in ("y", "yes")
