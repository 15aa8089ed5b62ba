"""`list`: show the studies of a runs directory."""

import argparse

from sweep.cli.arguments import locate_runs
from sweep.cli.named import describe_seconds, describe_value
from sweep.cli.stdout import say
from sweep.cli.tables import make_table, open_console
from sweep.layout import RunsDir
from sweep.overview import Overview, list_studies, measure_size, read_overview
from sweep.trial import State

_HEADINGS = ["study", "state", "trials", "replicates", "best", "epochs", "trained", "MB"]


def run(arguments: argparse.Namespace) -> None:
    runs = locate_runs(arguments)
    names = list_studies(runs)
    if not names:
        say(f"{runs.root} holds no study yet; run one, such as: python -m sweep run studies/quick.toml")
        return
    rows = [_describe(runs, read_overview(runs, name)) for name in names]
    open_console(width=160).print(make_table(f"studies in {runs.root}", [_HEADINGS, *rows]))


def _describe(runs: RunsDir, study: Overview) -> list[str]:
    n_ended = sum(study.count(state) for state in State)
    n_replicates = study.count(State.COMPLETE, replicates=True)
    size = f"{measure_size(runs, study.name) / 2**20:.1f}"
    described = [study.name, study.state, str(n_ended), str(n_replicates), describe_value(study, study.best)]
    return [*described, str(study.n_epochs), describe_seconds(study.trained_s), size]
