"""`python -m tests.bench.durability`: what it costs a trial that its record and result survive a power cut.

The write protocol of a trial with a model of common size, beside the same without a single sync: no fsync of files and
folders, SQLite's synchronous off. Alternating; MLflow is left out, it is written on another thread and can be rebuilt.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from unittest import mock

from rich.console import Console
from rich.table import Table
from sqlalchemy import event
from sqlalchemy.engine import Engine

from sweep.durable.files import make_folder
from sweep.record import results
from sweep.record.trials import Record
from sweep.study.config import Config
from sweep.study.file import load_study
from sweep.trial import TrialResult
from tests.bench.configs import STUDY
from tests.bench.summary import spread
from tests.studies import FACTS

# Bytes of each file, as net 400-100 of the default study leaves them.
SIZES = {results.MODEL: 4_400_000, results.HISTORY: 3_000, results.SUMMARY: 2_000, results.CURVES: 60_000}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.durability", description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--trials", type=int, default=40, help="of each repeat; their median counts")
    parser.add_argument("--folder", type=Path, default=Path("mlruns"), help="on the disk to be measured")
    given = parser.parse_args()
    took: dict[str, list[float]] = {"durable": [], "without a sync": []}
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        for repeat in range(given.repeats):
            took["durable"].append(_trial_ms(Path(folder) / f"durable-{repeat}", given.trials))
            with _unsynced():
                took["without a sync"].append(_trial_ms(Path(folder) / f"unsynced-{repeat}", given.trials))
    table = Table("", "ms a trial", title=f"{given.trials} trials, {given.repeats} repeats", title_justify="left")
    for name, values in took.items():
        table.add_row(name, spread(values).show(1))
    table.add_row("price", spread(a - b for a, b in zip(*took.values(), strict=True)).show(1))
    Console(width=100).print(table)


def _trial_ms(folder: Path, n_trials: int) -> float:
    """Median milliseconds of the write protocol of one trial: claimed, two rungs, result written, told."""
    study, _ = load_study(STUDY)
    content = {name: os.urandom(size) for name, size in SIZES.items()}
    record = Record.open(folder / "optuna.db", study, "search", FACTS)
    make_folder(folder / "results")
    took = []
    for number in range(n_trials):
        started_at = time.perf_counter()
        config = Config(units=(100 + number,), dropout=0.0, batch_size=128, learning_rate=0.001)
        trial = record.claim("search", config, seed=number)
        for rung in study.rungs():
            record.report(trial.key, rung, 0.9)
        result = TrialResult(
            key=trial.key, state="complete", metrics={study.objective: 0.9}, started_at=1.0, ended_at=2.0
        )
        record.tell(results.save(folder / "results" / trial.key, result, lambda draft: _write(draft, content)))
        took.append(time.perf_counter() - started_at)
    return 1000 * median(took)


def _write(draft: Path, content: dict[str, bytes]) -> None:
    for name, data in content.items():
        (draft / name).write_bytes(data)


@contextmanager
def _unsynced() -> Iterator[None]:
    def connected(connection: object, record: object) -> None:
        connection.execute("PRAGMA synchronous = OFF")  # type: ignore[attr-defined]

    event.listen(Engine, "connect", connected)
    try:
        with mock.patch("os.fsync"):
            yield
    finally:
        event.remove(Engine, "connect", connected)


if __name__ == "__main__":
    main()
