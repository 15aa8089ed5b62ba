"""`python -m tests.bench.fit_reference`: the engine beside `model.fit` on a net of the notebook, over many seeds.

The notebook's protocol: 60,000 rows, 20 epochs, dropout on. Both arms start from the same weights for each seed and draw a
new order of rows for every epoch. Orders, and so results, are the arms' own: what is compared is the two distributions of
the last epoch's running means, and where the notebook's one run lies in them.
"""

import argparse
import json
import multiprocessing
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import stats

from tests.bench.run import ENVIRONMENT, RESULTS

STUDY = Path(__file__).parents[2] / "studies" / "notebook.toml"
ROWS = ("loss", "accuracy")

Finals = dict[str, list[float]]  # row -> its value by seed


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.fit_reference", description=__doc__)
    parser.add_argument(
        "--net", type=int, default=1, help="its place among the baselines of studies/notebook.toml, from 0"
    )
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=20)
    given = parser.parse_args()
    os.environ |= ENVIRONMENT | dict.fromkeys(
        ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), "1"
    )
    tasks = [(given.net, seed, given.epochs) for seed in range(given.seeds)]
    with multiprocessing.get_context("spawn").Pool(len(os.sched_getaffinity(0))) as pool:
        pairs = pool.starmap(train_both, tasks, chunksize=1)
    arms: dict[str, Finals] = {
        arm: {row: [pair[arm][row] for pair in pairs] for row in ROWS} for arm in ("engine", "fit")
    }
    path = RESULTS / f"fit-reference-{datetime.now(UTC):%Y%m%dT%H%M%S}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"net": given.net, "epochs": given.epochs, "arms": arms}))
    print_arms(given.net, given.epochs, arms)


def train_both(net: int, seed: int, epochs: int) -> dict[str, dict[str, float]]:
    """The last epoch's running means of one seed, by arm."""
    from sweep.data.prepared import open_training_split
    from sweep.study.file import load_study
    from sweep.train.graph.trainer import GraphTrainer, Rows

    study = load_study(STUDY)[0]
    config = study.baselines[net].config
    data = prepared(study)
    split = open_training_split(data, "train")
    trainer = GraphTrainer(config, data.facts, Rows.of(split), seed, epochs)
    logs = [trainer.train_epoch() for _ in range(epochs)]
    return {"engine": logs[-1], "fit": fit(config, data.facts, split, seed, epochs)}


def prepared(study: Any) -> Any:
    from sweep.data.files import read
    from sweep.data.prepared import prepare

    return prepare(read(study.data, STUDY.parent), study.data, study.seed, RESULTS / "notebook-data")


def fit(config: Any, facts: Any, split: Any, seed: int, epochs: int) -> dict[str, float]:
    """The same by `model.fit`.

    Not by its own shuffle: after `keras.utils.set_random_seed`, `fit` of Keras 3.15 on TensorFlow repeats one order in
    every epoch, which lowers the running loss (net 400-100 by a tenth).
    """
    import keras

    from sweep.train.model import build_net

    keras.utils.set_random_seed(seed)
    model = build_net(config, facts)
    model.compile(keras.optimizers.Adam(config.learning_rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        order = rng.permutation(len(split.y))
        x, y = split.x[order].astype(np.float32), split.y[order]
        done = model.fit(x, y, batch_size=config.batch_size, shuffle=False, verbose=0)
    return {row: done.history[row][0] for row in ROWS}


def print_arms(net: int, epochs: int, arms: dict[str, Finals]) -> None:
    """Mean ± standard deviation of each arm, the difference with its 95 % interval (Welch), and the notebook's figure."""
    from sweep.study.file import load_study

    baseline = load_study(STUDY)[0].baselines[net]
    n = len(arms["fit"]["loss"])
    title = f"{baseline.name}: running means of epoch {epochs}, {n} seeds"
    headings = ("row", "engine", "fit", "engine - fit, 95 % interval", "notebook, one run", "95 % of one run of fit")
    table = Table(*headings, title=title, title_justify="left")
    for row in ROWS:
        ours, theirs = np.array(arms["engine"][row]), np.array(arms["fit"][row])
        between = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval()
        reach = stats.t.ppf(0.975, n - 1) * theirs.std(ddof=1) * np.sqrt(1 + 1 / n)
        table.add_row(
            row,
            f"{ours.mean():.4f} ± {ours.std(ddof=1):.4f}",
            f"{theirs.mean():.4f} ± {theirs.std(ddof=1):.4f}",
            f"{ours.mean() - theirs.mean():+.4f} ({between.low:+.4f}..{between.high:+.4f})",
            f"{baseline.reference.get(f'train_{row}', float('nan')):.4f}",
            f"{theirs.mean() - reach:.4f}..{theirs.mean() + reach:.4f}",
        )
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
