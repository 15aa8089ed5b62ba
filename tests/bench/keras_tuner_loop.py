"""Contender `keras-tuner`: KerasTuner over the same configs, with its own record of trials and no MLflow.

Exit code 3: KerasTuner is not installed (see requirements.lock).
"""

import sys
from pathlib import Path
from typing import Any

from tests.bench.contender import Stamps, TrialClock, build_model, float_rows, read_task, write_outcome

NOT_INSTALLED = 3
SITE = Path(__file__).parent / ".site"


def main() -> None:
    sys.path.append(str(SITE))
    try:
        import keras_tuner
    except ModuleNotFoundError as error:
        print(f"{error}; see tests/bench/README.md", file=sys.stderr)
        sys.exit(NOT_INSTALLED)
    task = read_task()
    rows, validation = float_rows()
    done: list[Stamps] = []
    clock = TrialClock()

    class Net(keras_tuner.HyperModel):  # type: ignore[misc]
        def build(self, hp: Any) -> Any:
            return build_model(task.configs[hp.Choice("config", list(range(len(task.configs))))])

        def fit(self, hp: Any, model: Any, *args: Any, callbacks: list[Any], **kwargs: Any) -> Any:
            batch_size = task.configs[hp.get("config")]["batch_size"]
            return model.fit(*args, batch_size=batch_size, callbacks=[clock.callback(), *callbacks], **kwargs)

    class Search(keras_tuner.GridSearch):  # type: ignore[misc]
        """Grid search, with stamps around each trial."""

        def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> Any:
            nonlocal clock
            clock = TrialClock()
            return super().run_trial(trial, *args, **kwargs)

        def on_trial_end(self, trial: Any) -> None:
            super().on_trial_end(trial)
            done.append(clock.stop(trial.hyperparameters.get("config")))

        def _configure_tensorboard_dir(self, *args: Any) -> None:
            """Nothing: it imports TensorBoard, which TensorFlow 2.21 no longer brings, for a callback nobody gave."""

    tuner = Search(
        Net(),
        objective="val_accuracy",
        max_trials=len(task.configs),
        directory=task.folder,
        project_name="tuner",
        overwrite=True,
    )
    tuner.search(*rows, epochs=task.epochs, validation_data=validation, verbose=0)
    write_outcome(task, done, n_workers=1)


if __name__ == "__main__":
    main()
