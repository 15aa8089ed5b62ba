"""Contender `textbook`: Optuna, `model.fit` and MLflow's autolog, as a competent user writes it."""

from typing import Any

import mlflow
import optuna

from tests.bench.contender import (
    Stamps,
    TrialClock,
    build_model,
    early_stopping,
    enqueued,
    float_rows,
    pruner,
    pruning,
    read_task,
    search_space,
    suggest,
    write_outcome,
)


def main() -> None:
    task = read_task()
    (x, y), validation = float_rows()
    mlflow.set_tracking_uri(f"sqlite:///{task.folder}/mlflow.db")
    mlflow.create_experiment("textbook", artifact_location=str(task.folder / "artifacts"))
    mlflow.set_experiment("textbook")
    mlflow.keras.autolog()
    done: list[Stamps] = []

    def objective(trial: optuna.Trial) -> float:
        clock = TrialClock()
        callbacks: list[Any] = [clock.callback()]  # a fresh list each time: autolog appends to it
        if task.n_search:
            config = search_space(trial)
            callbacks += [early_stopping(), pruning(trial)]
        else:
            config = suggest(trial)
        try:
            with mlflow.start_run(run_name=f"trial {trial.number}"):
                mlflow.log_params(trial.params)
                model = build_model(config)
                history = model.fit(
                    x,
                    y,
                    batch_size=config["batch_size"],
                    epochs=task.epochs,
                    validation_data=validation,
                    verbose=0,
                    callbacks=callbacks,
                )
        finally:
            done.append(clock.stop(trial.number))
        return float(max(history.history["val_accuracy"]))

    study = optuna.create_study(
        storage=f"sqlite:///{task.folder}/optuna.db", study_name="textbook", direction="maximize", pruner=pruner()
    )
    for config in task.configs:
        study.enqueue_trial(enqueued(config))
    study.optimize(objective, n_trials=task.n_search or len(task.configs))
    write_outcome(task, done, n_workers=1)


if __name__ == "__main__":
    main()
