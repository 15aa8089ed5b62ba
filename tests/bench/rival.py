"""What `time_to_quality` compares with: Optuna's TPE and median pruner around a tuned `model.fit`, a process per core.

As in `tuned.py`, with the space of a study, its recipe included: Keras' own objects, which `train/recipe.py` makes.
"""

import argparse
import json
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import mlflow
import optuna

from sweep.data.facts import DataFacts
from sweep.data.prepared import PreparedData, open_training_split
from sweep.search.sampler import suggest_value
from sweep.study.file import load_study
from sweep.study.schema import Study
from tests.bench.contender import pruning
from tests.bench.tuned import STEPS_PER_EXECUTION, THREADS, log_epochs, log_model


def main() -> None:
    given = _parse()
    os.environ |= {"TF_NUM_INTRAOP_THREADS": THREADS, "TF_NUM_INTEROP_THREADS": THREADS, "OMP_NUM_THREADS": THREADS}
    mlflow.set_tracking_uri(f"sqlite:///{given.folder}/mlflow.db")
    mlflow.create_experiment("rival", artifact_location=str(given.folder / "artifacts"))
    optuna.create_study(storage=_storage(given.folder), study_name="rival", direction="maximize")
    workers = [
        multiprocessing.get_context("spawn").Process(target=work, args=(given, slot))
        for slot in range(len(os.sched_getaffinity(0)))
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        if worker.exitcode:
            raise SystemExit(f"a worker ended with exit code {worker.exitcode}")


def work(given: argparse.Namespace, slot: int) -> None:
    """Train trials until the time is over; the last one is let finish."""
    study, facts = load_study(given.study)[0], DataFacts.from_dict(json.loads((given.data / "facts.json").read_text()))
    rows = {part: open_training_split(PreparedData(given.data, facts), part) for part in ("train", "validation")}
    mlflow.set_tracking_uri(f"sqlite:///{given.folder}/mlflow.db")
    mlflow.set_experiment("rival")

    def objective(trial: optuna.Trial) -> float:
        config = study.space.config(lambda name, axis: suggest_value(trial, name, axis))
        trial.set_user_attr("config", config.to_dict())
        with mlflow.start_run(run_name=f"trial {trial.number}"):
            mlflow.log_params(config.params())
            return train(study, config, facts, rows, [pruning(trial), log_epochs()], seed=given.seed + trial.number)

    found = optuna.load_study(
        storage=_storage(given.folder),
        study_name="rival",
        sampler=optuna.samplers.TPESampler(seed=given.seed + 1000 * slot, multivariate=True, constant_liar=True),
        pruner=optuna.pruners.MedianPruner(),
    )
    found.optimize(objective, timeout=given.until - time.time())


def train(study: Study, config: Any, facts: DataFacts, rows: dict[str, Any], callbacks: list[Any], seed: int) -> float:
    """Train a config by `fit`; return its best validation accuracy, as a hand-written loop ranks by."""
    import keras
    import numpy as np

    from sweep.train.model import build_net
    from sweep.train.recipe import build_loss, build_optimizer, count_steps, limit_norms

    keras.utils.set_random_seed(seed)
    x = {part: split.x.astype(np.float32) for part, split in rows.items()}
    y = {part: keras.utils.to_categorical(split.y, facts.n_classes) for part, split in rows.items()}
    model, epochs = build_net(config, facts), study.training.max_epochs
    limit_norms(model, config)
    optimizer = build_optimizer(config, model, count_steps(len(x["train"]), config.batch_size, epochs))
    model.compile(optimizer, build_loss(config), metrics=["accuracy"], steps_per_execution=STEPS_PER_EXECUTION)
    history = model.fit(
        x["train"],
        y["train"],
        batch_size=config.batch_size,
        epochs=epochs,
        validation_data=(x["validation"], y["validation"]),
        verbose=0,
        callbacks=callbacks,
    )
    log_model(model)
    return float(max(history.history["val_accuracy"]))


def _storage(folder: Path) -> str:
    return f"sqlite:///{folder}/optuna.db"


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.rival", description=__doc__)
    parser.add_argument("--study", type=Path, required=True, help="whose space and epochs these are")
    parser.add_argument("--data", type=Path, required=True, help="folder of its prepared rows")
    parser.add_argument("--folder", type=Path, required=True, help="empty; databases and models go here")
    parser.add_argument(
        "--until", type=float, required=True, help="when to begin no more trials, UTC seconds since 1970"
    )
    parser.add_argument("--seed", type=int, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
