"""`python -m tests.faults.recipe FOLDER`: the recipe that people write, with the remedies for crashes that its parts offer.

Optuna on SQLite with heartbeats, stale trials failed at the start and retried, a budget of complete trials; an MLflow run
for each trial, and a tracker that fails costs its trial alone. MLflow's client has its own defaults: it repeats a call for
four minutes. It trains nothing: an epoch is a pause, as in `engine.py`.
"""

import os
import sys
import time
from pathlib import Path

import mlflow
import optuna
from mlflow.exceptions import MlflowException
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback

from tests.faults.engine import EPOCH_S

N_TRIALS, N_EPOCHS = 12, 5


def main(folder: Path) -> None:
    epoch_s = float(os.environ[EPOCH_S])
    mlflow.set_tracking_uri(os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db"))
    mlflow.set_experiment("recipe")

    def objective(trial: optuna.Trial) -> float:
        dropout = trial.suggest_float("dropout", 0.0, 0.5)
        with mlflow.start_run(run_name=f"trial {trial.number}"):
            mlflow.log_params(trial.params)
            for epoch in range(N_EPOCHS):
                time.sleep(epoch_s)
                mlflow.log_metric("val_accuracy", 1 - dropout / (epoch + 1), step=epoch)
        return 1 - dropout / N_EPOCHS

    storage = RDBStorage(
        f"sqlite:///{folder}/optuna.db",
        heartbeat_interval=1,
        grace_period=3,
        heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=3),
    )
    study = optuna.create_study(storage=storage, study_name="recipe", direction="maximize", load_if_exists=True)
    optuna.storages.fail_stale_trials(study)
    is_complete = (optuna.trial.TrialState.COMPLETE,)
    if len(study.get_trials(states=is_complete)) < N_TRIALS:
        budget = optuna.study.MaxTrialsCallback(N_TRIALS, states=is_complete)
        study.optimize(objective, callbacks=[budget], catch=(MlflowException,))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
