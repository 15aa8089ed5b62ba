"""`python -m tests.faults.versus`: the same kills and lost servers, met by the textbook recipe and by ours; a table.

Both sides are killed whole (SIGKILL to the process group) at moments that chance picks, and then given the same command
again until it ends by itself. What is left is counted in their databases.
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
from sweep.mlflow_store import open_client
from tests import support
from tests.faults import recipe
from tests.faults.checker import N_TRIALS
from tests.faults.driver import TIMEOUT_S, Sweep
from tests.faults.engine import EPOCH_S

PACE = {EPOCH_S: "0.1"}
KILLS_A_SWEEP = 2
MAX_COMMANDS = 5  # the same command again, at most so often after the last kill


@dataclass(frozen=True)
class Left:
    """What a sweep has left in its databases."""

    trials: list[str]  # of the search, state of each
    runs: list[tuple[str, str]]  # of all its trials: what was trained, status
    acknowledged: set[str]  # what was trained, of what it said has ended

    def faults(self, budget: int) -> Counter[str]:
        ended = Counter(trained for trained, status in self.runs if status in ("FINISHED", "KILLED"))
        n_ended = sum(state in ("COMPLETE", "PRUNED") for state in self.trials)
        faults = Counter(
            {
                "lost": len(self.acknowledged - ended.keys()),
                "doubled": sum(n - 1 for n in ended.values()) + max(0, n_ended - budget),
                "left RUNNING": sum(status == "RUNNING" for _, status in self.runs) + self.trials.count("RUNNING"),
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
                cwd=support.ROOT,
                env={**os.environ, **PACE, **environment},
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        return self._process.pid

    def wait(self) -> int:
        return self._process.wait(TIMEOUT_S * 5)  # MLflow's client tries for minutes

    def left(self, server: RunsDir | None) -> Left:
        trials = dict(_rows(self._folder / "optuna.db", "SELECT number, state FROM trials"))
        params = dict(
            _rows(
                self._folder / "optuna.db", "SELECT number, param_value FROM trials JOIN trial_params USING (trial_id)"
            )
        )
        runs = _rows(
            server.mlflow_db if server else self._folder / "mlflow.db",
            "SELECT params.value, status FROM runs LEFT JOIN params USING (run_uuid)",
        )
        said = re.findall(r"Trial (\d+) finished with value", self._said.read_text())
        return Left(list(trials.values()), list(runs), {str(params[int(number)]) for number in said})


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
        studies = "SELECT state FROM trials JOIN studies USING (study_id) WHERE study_name = 'tiny'"
        trials = [state for (state,) in _rows(self._sweep.runs.optuna_db, studies)]
        db = server.mlflow_db if server else self._sweep.runs.mlflow_db
        runs = list(
            _rows(db, "SELECT value, status FROM runs JOIN tags USING (run_uuid) WHERE tags.key = 'mlflow.runName'")
        )
        return Left(trials, runs, {label for label, _ in self._sweep.acknowledged})


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
        with support.mlflow_server(server, port):
            if is_first:
                contender.start(**address)
            time.sleep(rng.uniform(0, whole_s))
        time.sleep(rng.uniform(0, 3))
    with support.mlflow_server(server, port):
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
