"""`python -m tests.faults.versus`: the same kills and lost servers, met by the textbook recipe and by ours; a table.

Both sides are killed whole (SIGKILL to the process group) at moments that chance picks, and then given the same command
again until it ends by itself. What is left is counted in their databases, the same way for both: *lost* is a trial that was
said to have ended and has no ended run, *doubled* a config that has two of them or a trial beyond the budget, *left RUNNING*
a trial or a run of either database.
"""

import argparse
import os
import random
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.table import Table

from sweep.layout import RunsDir
from sweep.track.client import open_client
from tests import studies
from tests.faults import recipe
from tests.faults.checker import N_TRIALS
from tests.faults.driver import Sweep
from tests.faults.engine import EPOCH_S
from tests.servers import mlflow_server

PACE = {EPOCH_S: "0.1"}
KILLS_A_SWEEP = 2
PATIENCE_S = 600  # with one command of the recipe: MLflow's client tries for minutes
MAX_COMMANDS = 5  # the same command again, at most so often after the last kill


@dataclass(frozen=True)
class Left:
    """What a sweep has left in its databases."""

    searched: list[str]  # state of each trial of the search
    others: list[str]  # and of each trial of a confirmation
    runs: list[tuple[str, str, str]]  # of MLflow: its trial's name, what was trained, status
    acknowledged: set[str]  # names of trials that it said have ended

    def faults(self, budget: int) -> Counter[str]:
        ended = [(name, trained) for name, trained, status in self.runs if status in ("FINISHED", "KILLED")]
        times = Counter(trained for _, trained in ended)
        n_ended = sum(state in ("COMPLETE", "PRUNED") for state in self.searched)
        states = [*self.searched, *self.others, *(status for _, _, status in self.runs)]
        faults = Counter(
            {
                "lost": len(self.acknowledged - {name for name, _ in ended}),
                "doubled": sum(n - 1 for n in times.values()) + max(0, n_ended - budget),
                "left RUNNING": states.count("RUNNING"),
            }
        )
        faults["finished without help"] = int(n_ended == budget and not +faults)
        return faults


class Contender(Protocol):
    """One sweep in one folder."""

    budget: int

    def start(self, **environment: str) -> int:
        """Start the command; the leader of its group."""

    def wait(self) -> int:
        """Wait for its end; its exit code."""

    def left(self, server: RunsDir | None) -> Left:
        """What it has left; in the databases of the tracking server, if it had one."""


class Recipe:
    """See `Contender`."""

    budget = recipe.N_TRIALS

    def __init__(self, folder: Path, migrated: RunsDir) -> None:
        folder.mkdir()
        for db in (migrated.optuna_db, migrated.mlflow_db):
            shutil.copy(db, folder)
        self._folder = folder
        self._said = folder / "said"

    def start(self, **environment: str) -> int:
        with self._said.open("a") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.recipe", str(self._folder)],
                cwd=studies.ROOT,
                env={**_without_our_settings(), **PACE, **environment},
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        return self._process.pid

    def wait(self) -> int:
        try:
            return self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            return self._process.wait()

    def left(self, server: RunsDir | None) -> Left:
        trials = dict(_rows(self._folder / "optuna.db", "SELECT number, state FROM trials"))
        params = dict(
            _rows(
                self._folder / "optuna.db", "SELECT number, param_value FROM trials JOIN trial_params USING (trial_id)"
            )
        )
        runs = _rows(
            server.mlflow_db if server else self._folder / "mlflow.db",
            "SELECT params.value, params.value, status FROM runs LEFT JOIN params USING (run_uuid)",
        )
        said = re.findall(r"Trial (\d+) finished with value", self._said.read_text())
        return Left(list(trials.values()), [], list(runs), {str(params[int(number)]) for number in said})


class Ours:
    """See `Contender`."""

    budget = N_TRIALS

    def __init__(self, folder: Path, migrated: RunsDir) -> None:
        self._sweep = Sweep.new(folder, migrated)

    def start(self, **environment: str) -> int:
        self._process = self._sweep.start(**PACE, **environment)
        return self._process.pid or 0

    def wait(self) -> int:
        return self._sweep.finish(self._process)

    def left(self, server: RunsDir | None) -> Left:
        states: dict[str, list[str]] = {"tiny": [], "tiny/confirm": []}
        of_studies = "SELECT study_name, state FROM trials JOIN studies USING (study_id)"
        for study, state in _rows(self._sweep.runs.optuna_db, of_studies):
            states[study].append(state)
        # A config is trained once in the search, and once as each replicate; the parent run has none.
        runs = _rows(
            server.mlflow_db if server else self._sweep.runs.mlflow_db,
            """SELECT runs.name, coalesce(config.value, '') || coalesce(replicate.value, ''), status FROM runs
            LEFT JOIN tags AS config ON config.run_uuid = runs.run_uuid AND config.key = 'config'
            LEFT JOIN tags AS replicate ON replicate.run_uuid = runs.run_uuid AND replicate.key = 'replicate'""",
        )
        acknowledged = {label for label, _ in self._sweep.acknowledged}
        return Left(states["tiny"], states["tiny/confirm"], list(runs), acknowledged)


CONTENDERS: dict[str, type[Recipe] | type[Ours]] = {"textbook recipe": Recipe, "sweep": Ours}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.versus", description=__doc__)
    parser.add_argument("--sweeps", type=int, default=20, help="of each, killed twice")
    parser.add_argument("--server-sweeps", type=int, default=5, help="of each, whose server is killed twice")
    given = parser.parse_args()
    console = Console(width=120)
    table = Table("", "sweeps", *("lost", "doubled", "left RUNNING", "finished without help"))
    with tempfile.TemporaryDirectory() as folder:
        migrated = _migrated(Path(folder) / "migrated")
        for title, meet, n_sweeps in (
            ("killed", meet_kills, given.sweeps),
            ("server killed", meet_lost_servers, given.server_sweeps),
        ):
            for name, contender in CONTENDERS.items():
                faults: Counter[str] = Counter()
                whole_s = _whole_s(contender, Path(folder) / f"{title} {name}", migrated)
                for number in range(n_sweeps):
                    here = Path(folder) / f"{title} {name} {number}"
                    here.mkdir()
                    faults += meet(contender, here, migrated, random.Random(number), whole_s)
                    console.print(f"{title}: {name} {number + 1} of {n_sweeps}: {dict(faults)}", style="dim")
                n_kills = KILLS_A_SWEEP * n_sweeps
                counts = [str(faults[heading]) for heading in ("lost", "doubled", "left RUNNING")]
                unaided = f"{faults['finished without help']} of {n_sweeps}"
                table.add_row(f"{name}, {title} {n_kills} times", str(n_sweeps), *counts, unaided)
    console.print(table)


def meet_kills(
    kind: type[Recipe] | type[Ours], folder: Path, migrated: RunsDir, rng: random.Random, whole_s: float
) -> Counter[str]:
    """What is left after kills at moments of a sweep that takes `whole_s` undisturbed, and the command again."""
    contender: Contender = kind(folder / "sweep", migrated)
    for _ in range(KILLS_A_SWEEP):
        leader = contender.start()
        time.sleep(rng.uniform(0, whole_s))
        with suppress(ProcessLookupError):
            os.killpg(leader, signal.SIGKILL)
        contender.wait()
    _run_to_the_end(contender)
    return contender.left(None).faults(contender.budget)


def meet_lost_servers(
    kind: type[Recipe] | type[Ours], folder: Path, migrated: RunsDir, rng: random.Random, whole_s: float
) -> Counter[str]:
    """The same after kills of its tracking server, which is started again each time."""
    contender: Contender = kind(folder / "sweep", migrated)
    shutil.copytree(migrated.root, folder / "server")
    server, port = RunsDir(folder / "server"), _unused_port()
    address = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"}
    for is_first in [True] + [False] * (KILLS_A_SWEEP - 1):
        with mlflow_server(server, port):
            if is_first:
                contender.start(**address)
            time.sleep(rng.uniform(0, whole_s))
        time.sleep(rng.uniform(0, 3))
    with mlflow_server(server, port):
        contender.wait()
        _run_to_the_end(contender, **address)
    return contender.left(server).faults(contender.budget)


def _whole_s(kind: type[Recipe] | type[Ours], folder: Path, migrated: RunsDir) -> float:
    contender: Contender = kind(folder, migrated)
    started_at = time.monotonic()
    contender.start()
    assert contender.wait() == 0
    return time.monotonic() - started_at


def _run_to_the_end(contender: Contender, **environment: str) -> None:
    for _ in range(MAX_COMMANDS):
        contender.start(**environment)
        if contender.wait() == 0:
            return


def _without_our_settings() -> dict[str, str]:
    """The environment, less what importing `sweep` has set for MLflow."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}


def _rows(db: Path, query: str) -> Iterator[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{db}?mode=ro", uri=True)) as connection:
        yield from connection.execute(query)


def _migrated(folder: Path) -> RunsDir:
    import optuna

    folder.mkdir()
    runs = RunsDir(folder)
    open_client(runs).search_experiments()
    optuna.storages.RDBStorage(f"sqlite:///{runs.optuna_db}").remove_session()
    return runs


def _unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
