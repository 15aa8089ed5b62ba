"""`python -m tests.bench.early_stopping`: what early stopping costs in test accuracy, and the epochs that it saves.

Trains two of the notebook's nets as they are, and a wide one by what the study's search starts from, to the end over many
seeds, and scores validation and test rows after each epoch. What a rule of early stopping
would have kept of the same training, and when it would have ended, follows from these curves. Test accuracy chooses
nothing here.
"""

import argparse
import json
import multiprocessing
import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from sweep.search.defaults import default_config
from sweep.study.config import Config
from sweep.study.file import load_study
from sweep.study.schema import Study
from sweep.study.training import EarlyStopping
from sweep.train.stopping import Patience
from sweep.trial import Logs
from tests.bench.run import ENVIRONMENT, RESULTS

STUDIES = Path(__file__).parents[2] / "studies"
NOTEBOOK = ("two hidden layers", "three hidden layers")  # baselines
WIDE = (1024, 1024)
TEST = "test_accuracy"  # beside the metrics of an epoch

Curve = list[Logs]  # after each epoch


@dataclass(frozen=True)
class Kept:
    """What a rule keeps of one training, against all of it."""

    cost: float  # test accuracy of the last epoch's weights less that of those kept
    n_epochs: int


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.early_stopping", description=__doc__)
    parser.add_argument(
        "--study", type=Path, default=STUDIES / "mnist.toml", help="whose recipe, rows and rule these are"
    )
    parser.add_argument("--seeds", type=int, default=16)
    given = parser.parse_args()
    os.environ |= ENVIRONMENT | dict.fromkeys(
        ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), "1"
    )
    nets = list_nets(load_study(given.study)[0])
    tasks = [(given.study, net, seed) for net in reversed(range(len(nets))) for seed in range(given.seeds)]
    with multiprocessing.get_context("spawn").Pool(len(os.sched_getaffinity(0))) as pool:
        curves = pool.starmap(train, tasks, chunksize=1)
    by_net: dict[int, list[Curve]] = {}
    for (_, net, _), curve in zip(tasks, curves, strict=True):
        by_net.setdefault(net, []).append(curve)
    path = RESULTS / f"early-stopping-{datetime.now(UTC):%Y%m%dT%H%M%S}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(by_net), encoding="utf-8")
    print_rules(load_study(given.study)[0].training.early_stopping, nets, dict(sorted(by_net.items())))


def list_nets(study: Study) -> list[Config]:
    """List the configs that are trained."""
    assert study.space is not None
    notebook = {baseline.name: baseline.config for baseline in study.baselines}
    return [*(notebook[name] for name in NOTEBOOK), replace(default_config(study.space), units=WIDE)]


def train(study_file: Path, net: int, seed: int) -> Curve:
    """Train one net for `max_epochs`; return its metrics after each epoch, those of the test rows among them."""
    from sweep.data.files import read
    from sweep.data.prepared import open_test_split, open_training_split, prepare
    from sweep.train.graph.trainer import GraphTrainer, Rows

    study = load_study(study_file)[0]
    data = prepare(read(study.data, study_file.parent), study.data, study.seed, RESULTS / "early-stopping-data")
    parts = {name: Rows.of(open_training_split(data, name)) for name in ("train", "validation")}
    test = Rows.of(open_test_split(data))
    trainer = GraphTrainer(list_nets(study)[net], data.facts, parts["train"], seed, study.training.max_epochs)
    curve = []
    for _ in range(study.training.max_epochs):
        logs = trainer.train_epoch()
        logs |= {f"val_{name}": value for name, value in trainer.evaluate(parts["validation"]).items()}
        curve.append(logs | {TEST: trainer.evaluate(test)["accuracy"]})
    return curve


def keep(curve: Curve, rule: EarlyStopping) -> Kept:
    """Find what `rule` would have kept of a training."""
    patience = Patience()
    for epoch, logs in enumerate(curve, start=1):
        patience = patience.update(epoch, logs[rule.monitor], rule)
        if patience.is_over(rule):
            break
    return Kept(curve[-1][TEST] - curve[patience.best_epoch - 1][TEST], patience.last_epoch)


def print_rules(own: EarlyStopping | None, configs: list[Config], by_net: dict[int, list[Curve]]) -> None:
    """Print the cost and the epochs of the study's own rule and of others, over all nets."""
    rules = [
        EarlyStopping(monitor=monitor, patience=n) for monitor in ("val_accuracy", "val_loss") for n in (3, 4, 6, 8, 10)
    ]
    n_epochs = len(next(iter(by_net.values()))[0])
    title = f"cost in test accuracy against all {n_epochs} epochs, mean ± standard error over {len(by_net[0])} seeds"
    names = [configs[net].units_label for net in by_net]
    table = Table("rule", *names, "epochs", "saved", title=title, title_justify="left")
    for rule in ([own] if own is not None else []) + rules:
        kept = {net: [keep(curve, rule) for curve in curves] for net, curves in by_net.items()}
        n = np.mean([one.n_epochs for of_net in kept.values() for one in of_net])
        costs = [_mean_and_error([one.cost for one in of_net]) for of_net in kept.values()]
        name = f"{rule.monitor}, patience {rule.patience}" + (" (the study's)" if rule is own else "")
        table.add_row(name, *costs, f"{n:.1f}", f"{1 - n / n_epochs:.0%}")
    accuracies: dict[str, Any] = {
        name: np.mean([curve[-1][TEST] for curve in curves])
        for name, curves in zip(names, by_net.values(), strict=True)
    }
    Console(width=150).print(table, "test accuracy after all epochs:", accuracies)


def _mean_and_error(values: list[float]) -> str:
    return f"{np.mean(values):+.5f} ± {np.std(values, ddof=1) / np.sqrt(len(values)):.5f}"


if __name__ == "__main__":
    main()
