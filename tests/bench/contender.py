"""What every contender is given, what it hands back, and the Keras net of those that call `model.fit`.

Keras is imported inside functions: a worker sets its thread counts first.
"""

import argparse
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sweep.data.files import read
from sweep.data.prepared import prepare
from sweep.study.schema import Data
from tests.bench.configs import ConfigTable

DATA = Data(validation_rows=6000)
SPLIT_SEED = 2019  # that of `study.toml`: 54,000 rows to train on, 6,000 to validate by
DATA_CACHE = Path(__file__).parent / "results" / "data"
N_FEATURES, N_CLASSES = 784, 10


@dataclass(frozen=True)
class Task:
    """What one contender is to do, and leave an outcome of in `out`: train each config for exactly `epochs`.

    Or, where `n_search` is not 0, search the space of `study.toml` by itself, with early stopping and what it has of
    pruning: that many trials of `epochs` at most, and no configs are given.
    """

    configs: list[ConfigTable]
    epochs: int
    n_search: int
    n_workers: int
    folder: Path  # empty; its databases and files go here
    out: Path


@dataclass(frozen=True)
class Stamps:
    """One trial. Times are UTC seconds since 1970; training is what lies inside `fit`, without logging the model."""

    config: int  # its index in Task.configs
    worker: int  # process id: trials of one worker follow each other
    began_at: float
    train_began_at: float
    epoch_ended_at: list[float]
    train_ended_at: float
    ended_at: float  # all of this trial's own tracking done, where that is done in line
    val_accuracy: list[float]  # after each epoch


def read_task() -> Task:
    """The task of this process, from its command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--configs", type=Path, required=True)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--search", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    configs = json.loads(given.configs.read_text())
    return Task(configs, given.epochs, given.search, given.workers, given.folder.absolute(), given.out)


def write_outcome(task: Task, trials: list[Stamps], n_workers: int) -> None:
    """The outcome of a task: its trials, and how many trained side by side."""
    task.out.write_text(json.dumps({"n_workers": n_workers, "trials": [asdict(stamps) for stamps in trials]}))


def prepare_rows() -> Path:
    """The folder of .npy files that contenders read, written if it is not there. Ours prepares its own, the same rows."""
    return prepare(read(DATA, Path()), DATA, SPLIT_SEED, DATA_CACHE).folder


def float_rows() -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """(x, y) to train on and (x, y) to validate by; x float32 of 0 to 1, shape (n, 784), as a notebook has them."""
    (folder,) = DATA_CACHE.iterdir()

    def part(name: str) -> tuple[Any, Any]:
        x = np.load(folder / name / "x.npy").astype(np.float32) / 255
        return x, np.load(folder / name / "y.npy")

    return part("train"), part("validation")


def build_model(config: ConfigTable, steps_per_execution: int = 1) -> Any:
    """The compiled net of a config: the one that `sweep.train.model` builds, on rows that are scaled already."""
    import keras

    layers = [keras.Input((N_FEATURES,))]
    for units in config["units"]:
        layers.append(keras.layers.Dense(units, activation="relu"))
        if config["batch_norm"]:
            layers.append(keras.layers.BatchNormalization())
        if config["dropout"]:
            layers.append(keras.layers.Dropout(config["dropout"]))
    model = keras.Sequential([*layers, keras.layers.Dense(N_CLASSES, activation="softmax")])
    model.compile(
        optimizer=keras.optimizers.Adam(config["learning_rate"]),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        steps_per_execution=steps_per_execution,
    )
    return model


def suggest(trial: Any) -> ConfigTable:
    """A config from an Optuna trial that was enqueued, so that its values are given."""
    hidden_layers = trial.suggest_int("hidden_layers", 1, 5)
    return {
        "units": [trial.suggest_int(f"units_{i}", 8, 512) for i in range(1, hidden_layers + 1)],
        "dropout": trial.suggest_float("dropout", 0.0, 0.9),
        "batch_size": trial.suggest_int("batch_size", 16, 512),
        "learning_rate": trial.suggest_float("learning_rate", 1e-5, 1e-1, log=True),
        "batch_norm": trial.suggest_categorical("batch_norm", [True, False]),
    }


def search_space(trial: Any) -> ConfigTable:
    """A config of the space of `study.toml` from an Optuna trial, as a user writes it."""
    hidden_layers = trial.suggest_categorical("hidden_layers", [2, 3, 5])
    return {
        "units": [trial.suggest_int(f"units_{i}", 64, 512, log=True) for i in range(1, hidden_layers + 1)],
        "dropout": trial.suggest_float("dropout", 0.1, 0.6),
        "batch_size": trial.suggest_categorical("batch_size", [64, 128, 256]),
        "learning_rate": trial.suggest_float("learning_rate", 5e-4, 5e-3, log=True),
        "batch_norm": True,
    }


def pruner() -> Any:
    """Optuna's own nearest to that of `study.toml`: rungs after epochs 2, 6 and 18, a third goes on."""
    import optuna

    return optuna.pruners.SuccessiveHalvingPruner(min_resource=2, reduction_factor=3)


def early_stopping() -> Any:
    """That of `study.toml`."""
    import keras

    return keras.callbacks.EarlyStopping(monitor="val_accuracy", mode="max", patience=4, restore_best_weights=True)


def pruning(trial: Any) -> Any:
    """What Optuna's integration package does for Keras: report each epoch, stop where the pruner says so."""
    import keras
    import optuna

    def epoch_ended(epoch: int, logs: dict[str, float]) -> None:
        trial.report(float(logs["val_accuracy"]), epoch + 1)
        if trial.should_prune():
            raise optuna.TrialPruned

    return keras.callbacks.LambdaCallback(on_epoch_end=epoch_ended)


def enqueued(config: ConfigTable) -> dict[str, Any]:
    """The params under which `suggest` gives `config`."""
    units = config["units"]
    params = {name: config[name] for name in ("dropout", "batch_size", "learning_rate", "batch_norm")}
    return {"hidden_layers": len(units), **{f"units_{i}": n for i, n in enumerate(units, start=1)}, **params}


class TrialClock:
    """Stamps one trial that calls `fit`: made when it begins, given as a callback, read when it has ended."""

    def __init__(self) -> None:
        self._began_at = time.time()
        self._train: list[float] = []
        self._epochs: list[float] = []
        self._val_accuracy: list[float] = []

    def callback(self) -> Any:
        import keras

        def epoch_ended(epoch: int, logs: dict[str, float]) -> None:
            self._epochs.append(time.time())
            self._val_accuracy.append(float(logs["val_accuracy"]))

        def stamp(logs: object) -> None:
            self._train.append(time.time())

        return keras.callbacks.LambdaCallback(on_train_begin=stamp, on_epoch_end=epoch_ended, on_train_end=stamp)

    def stop(self, config: int) -> Stamps:
        train_began_at, *ended = self._train
        return Stamps(
            config=config,
            worker=os.getpid(),
            began_at=self._began_at,
            train_began_at=train_began_at,
            epoch_ended_at=self._epochs,
            train_ended_at=ended[0] if ended else self._epochs[-1],  # a pruned fit never says that it ended
            ended_at=time.time(),
            val_accuracy=self._val_accuracy,
        )
