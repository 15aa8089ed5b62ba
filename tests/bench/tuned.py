"""Contender `tuned`: the best that a user reaches without an engine. A process per core on one Optuna study, an epoch's
metrics in one call, the model logged with pinned requirements and a signature."""

import json
import multiprocessing
import os
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import mlflow
import numpy as np
import optuna

from tests.bench.contender import (
    N_CLASSES,
    N_FEATURES,
    Stamps,
    Task,
    TrialClock,
    build_model,
    early_stopping,
    float_rows,
    pruner,
    pruning,
    read_task,
    search_space,
    write_outcome,
)

# The fastest of {1, default} threads and {1, 50} steps: on net 400-100 with two workers, seconds per epoch over workers
# were 1.93 (1 thread, 1 step), 1.23 (1, 50), 3.23 (default, 1), 1.87 (default, 50); busy two-core machine, November 2026.
THREADS = "1"  # of TensorFlow, in each worker
STEPS_PER_EXECUTION = 50


def main() -> None:
    task = read_task()
    # Created once before workers start: side by side creations of a database collide.
    mlflow.set_tracking_uri(_mlflow_uri(task))
    mlflow.create_experiment("tuned", artifact_location=str(task.folder / "artifacts"))
    optuna.create_study(storage=_optuna_url(task), study_name="tuned", direction="maximize")
    os.environ |= {"TF_NUM_INTRAOP_THREADS": THREADS, "TF_NUM_INTEROP_THREADS": THREADS, "OMP_NUM_THREADS": THREADS}
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=work, args=(task, slot)) for slot in range(task.n_workers)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        if worker.exitcode:
            raise SystemExit(f"a worker ended with exit code {worker.exitcode}")
    done = [Stamps(**row) for path in sorted(task.folder.glob("worker-*.json")) for row in json.loads(path.read_text())]
    write_outcome(task, done, n_workers=task.n_workers)


def work(task: Task, slot: int) -> None:
    """Train trials until the study has as many as are wanted."""
    (x, y), validation = float_rows()
    mlflow.set_tracking_uri(_mlflow_uri(task))
    mlflow.set_experiment("tuned")
    done: list[Stamps] = []

    def objective(trial: optuna.Trial) -> float:
        if trial.number >= (task.n_search or len(task.configs)):
            trial.study.stop()
            raise optuna.TrialPruned
        clock = TrialClock()
        callbacks = [clock.callback(), log_epochs()]
        if task.n_search:
            config = search_space(trial)
            callbacks += [early_stopping(), pruning(trial)]
        else:
            # Not enqueued: on SQLite two processes can take the same enqueued trial, and the second one's tell then ends it.
            config = task.configs[trial.number]
        try:
            with mlflow.start_run(run_name=f"trial {trial.number}"):
                mlflow.log_params(config)
                model = build_model(config, STEPS_PER_EXECUTION)
                history = model.fit(
                    x,
                    y,
                    batch_size=config["batch_size"],
                    epochs=task.epochs,
                    validation_data=validation,
                    verbose=0,
                    callbacks=callbacks,
                )
                log_model(model)
        finally:
            done.append(clock.stop(trial.number))
        return float(max(history.history["val_accuracy"]))

    optuna.load_study(storage=_optuna_url(task), study_name="tuned", pruner=pruner()).optimize(objective)
    (task.folder / f"worker-{slot}.json").write_text(json.dumps([asdict(stamps) for stamps in done]))


def log_epochs() -> Any:
    import keras

    return keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: mlflow.log_metrics({k: float(v) for k, v in logs.items()}, step=epoch + 1)
    )


def log_model(model: Any) -> None:
    rows = mlflow.types.TensorSpec(np.dtype("float32"), (-1, N_FEATURES))
    probabilities = mlflow.types.TensorSpec(np.dtype("float32"), (-1, N_CLASSES))
    mlflow.keras.log_model(
        model,
        name="model",
        signature=mlflow.models.ModelSignature(
            inputs=mlflow.types.Schema([rows]), outputs=mlflow.types.Schema([probabilities])
        ),
        pip_requirements=[f"{library}=={version(library)}" for library in ("keras", "tensorflow", "numpy")],
    )


def _mlflow_uri(task: Task) -> str:
    return f"sqlite:///{task.folder}/mlflow.db"


def _optuna_url(task: Task) -> str:
    return f"sqlite:///{task.folder}/optuna.db"


if __name__ == "__main__":
    main()
