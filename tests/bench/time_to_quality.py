"""`python -m tests.bench.time_to_quality`: seconds until a search holds a net as good as what a tuned loop has at its end.

The rival (`rival.py`: Optuna's TPE with its median pruner around a tuned `model.fit`) and `sweep run` search the space of one
study in turn, each from the start of its process. At every moment a search holds the config that it ranks first. What a
config is worth is its mean test accuracy over fresh seeds, which no search has seen: both sides' configs are trained again
afterwards, by the same engine. The target of a repeat is what the rival holds when its time is over.
"""

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from rich.console import Console
from rich.table import Table

from sweep.data.files import read
from sweep.data.prepared import PreparedData, open_test_split, open_training_split, prepare
from sweep.layout import RunsDir
from sweep.record import results
from sweep.record.trials import Record
from sweep.study.config import Config, derive_seed
from sweep.study.file import load_study
from sweep.study.toml_text import to_toml
from sweep.trial import Phase, State
from tests.bench.run import ENVIRONMENT, RESULTS

STUDY = Path(__file__).parents[2] / "studies" / "mnist.toml"
ONE_THREAD = dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Held:
    """A config that a search ranks first from `seconds` after its start on."""

    seconds: float
    config: Config


def main() -> None:
    given = _parse()
    os.environ |= ENVIRONMENT
    study = load_study(given.study)[0]
    data = prepare(read(study.data, given.study.parent), study.data, study.seed, RESULTS / "quality-data")
    searches: dict[str, list[list[Held]]] = {"rival": [], "ours": []}
    with tempfile.TemporaryDirectory() as folder:
        for repeat in range(1, given.repeats + 1):
            for name, search in (("rival", search_by_rival), ("ours", search_by_ours)):
                apart = Path(folder) / f"{name}-{repeat}"
                apart.mkdir()
                minutes = given.minutes if name == "rival" else given.our_minutes
                searches[name].append(list(search(given.study, data, apart, minutes * 60, repeat)))
                print(
                    f"{name} {repeat}: {[(round(h.seconds), h.config.label) for h in searches[name][-1]]}", flush=True
                )
    worth = measure_worth(given, {held.config for of_name in searches.values() for one in of_name for held in one})
    _keep(searches, worth)
    show(given, searches, worth)


def search_by_rival(study: Path, data: PreparedData, folder: Path, limit_s: float, repeat: int) -> Iterator[Held]:
    """Run the rival; yield what it held, by the best validation accuracy of its complete trials."""
    began = time.time()
    options = {"study": study, "data": data.folder, "folder": folder, "until": began + limit_s, "seed": repeat}
    _call("tests.bench.rival", *(f"--{name}={value}" for name, value in options.items()))
    found = optuna.load_study(storage=f"sqlite:///{folder}/optuna.db", study_name="rival")
    complete = [t for t in found.trials if t.state == optuna.trial.TrialState.COMPLETE]
    ended = [
        (t.datetime_complete.timestamp() - began, t.value, Config.from_dict(t.user_attrs["config"])) for t in complete
    ]
    yield from _list_held(ended)


def search_by_ours(study: Path, data: PreparedData, folder: Path, limit_s: float, repeat: int) -> Iterator[Held]:
    """Run the study's search alone, for so many seconds; yield what it held."""
    table = load_study(study)[1]
    in_time = {name: value for name, value in table["search"].items() if name != "epochs"} | {"minutes": limit_s / 60}
    table = {name: table[name] for name in ("data", "space", "training")}
    table |= {"name": "ours", "seed": repeat, "search": in_time}
    (folder / "study.toml").write_text(to_toml(table))
    began, runs = time.time(), RunsDir(folder / "mlruns")
    _call("sweep", "run", str(folder / "study.toml"), "--runs-dir", str(runs.root))
    record = Record.open(runs.optuna_db, load_study(folder / "study.toml")[0], Phase.SEARCH, data.facts)
    complete = {key: one for key, one in record.trials.items() if one.state == State.COMPLETE and one.value is not None}
    ended = {key: results.load(runs.results("ours") / key).ended_at - began for key in complete}
    yield from _list_held([(ended[key], one.value or 0.0, one.trial.config) for key, one in complete.items()])


def _list_held(ended: list[tuple[float, float, Config]]) -> Iterator[Held]:
    best = -np.inf
    for seconds, value, config in sorted(ended, key=lambda one: one[0]):
        if value > best:
            best = value
            yield Held(seconds, config)


def _call(module: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", module, *arguments], check=True, stdout=subprocess.DEVNULL)


def measure_worth(given: argparse.Namespace, configs: set[Config]) -> dict[Config, float]:
    """Return the mean test accuracy of each config over fresh seeds, after all epochs."""
    os.environ |= ONE_THREAD
    ordered = sorted(configs, key=lambda config: config.key)
    tasks = [(given.study, config, seed) for config in ordered for seed in range(given.seeds)]
    with multiprocessing.get_context("spawn").Pool(len(os.sched_getaffinity(0))) as pool:
        reached = np.reshape(pool.starmap(train, tasks, chunksize=1), (len(ordered), given.seeds))
    return dict(zip(ordered, reached.mean(axis=1).tolist(), strict=True))


def train(study_file: Path, config: Config, seed: int) -> float:
    """Train a config to the end; return its test accuracy."""
    from sweep.train.graph.trainer import GraphTrainer, Rows

    study = load_study(study_file)[0]
    data = prepare(read(study.data, study_file.parent), study.data, study.seed, RESULTS / "quality-data")
    rows, n_epochs = Rows.of(open_training_split(data, "train")), study.training.max_epochs
    trainer = GraphTrainer(config, data.facts, rows, derive_seed("worth", config.key, seed), n_epochs)
    for _ in range(n_epochs):
        trainer.train_epoch()
    return trainer.evaluate(Rows.of(open_test_split(data)))["accuracy"]


def show(given: argparse.Namespace, searches: dict[str, list[list[Held]]], worth: dict[Config, float]) -> None:
    """Print what each repeat reached, and when ours held what the rival had at its end."""
    table = Table("repeat", "rival at its end", "ours at its end", "ours as good after", "share of the rival's time")
    shares = []
    for repeat, (rival, ours) in enumerate(zip(searches["rival"], searches["ours"], strict=True), start=1):
        target = worth[rival[-1].config]
        after = next((held.seconds for held in ours if worth[held.config] >= target), float("inf"))
        shares.append(after / (given.minutes * 60))
        reached = f"{after:.0f} s" if np.isfinite(after) else "not"
        table.add_row(str(repeat), f"{target:.5f}", f"{worth[ours[-1].config]:.5f}", reached, f"{shares[-1]:.2f}")
    Console(width=120).print(
        table, f"share of the rival's time: median {np.median(shares):.2f}, {min(shares):.2f} to {max(shares):.2f}"
    )


def _keep(searches: dict[str, list[list[Held]]], worth: dict[Config, float]) -> None:
    path = RESULTS / f"time-to-quality-{datetime.now(UTC):%Y%m%dT%H%M%S}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows: dict[str, Any] = {
        name: [[(held.seconds, held.config.to_dict(), worth[held.config]) for held in one] for one in of_name]
        for name, of_name in searches.items()
    }
    path.write_text(json.dumps(rows), encoding="utf-8")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.time_to_quality", description=__doc__)
    parser.add_argument("--study", type=Path, default=STUDY, help="whose space and epochs these are")
    parser.add_argument("--minutes", type=float, default=30, help="of the rival's search")
    parser.add_argument("--our-minutes", type=float, default=10, help="of ours")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=5, help="trainings by which a config's worth is known")
    return parser.parse_args()


if __name__ == "__main__":
    main()
