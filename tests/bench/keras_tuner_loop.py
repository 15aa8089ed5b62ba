"""Contender `keras-tuner`: KerasTuner with its own record of trials and no MLflow; a grid over given configs, or a search.

Its pruning is Hyperband, which sets the number of trials itself. Exit code 3: KerasTuner is not installed (see
requirements.lock).
"""

import json
import sys
from pathlib import Path
from typing import Any

from tests.bench.configs import ConfigTable
from tests.bench.contender import (
    Stamps,
    Task,
    TrialClock,
    build_model,
    early_stopping,
    float_rows,
    read_task,
    write_outcome,
)

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
    index_of: dict[str, int] = {}  # config as JSON -> its place among those that were tried

    def config_of(hp: Any) -> ConfigTable:
        return search_space(hp) if task.n_search else task.configs[hp.Choice("config", list(range(len(task.configs))))]

    class Net(keras_tuner.HyperModel):  # type: ignore[misc]
        def build(self, hp: Any) -> Any:
            return build_model(config_of(hp))

        def fit(self, hp: Any, model: Any, *args: Any, callbacks: list[Any], **kwargs: Any) -> Any:
            batch_size = config_of(hp)["batch_size"]
            return model.fit(*args, batch_size=batch_size, callbacks=[clock.callback(), *callbacks], **kwargs)

    class Stamped:
        """A tuner with stamps around each trial."""

        def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> Any:
            nonlocal clock
            clock = TrialClock()
            return super().run_trial(trial, *args, **kwargs)  # type: ignore[misc]

        def on_trial_end(self, trial: Any) -> None:
            super().on_trial_end(trial)  # type: ignore[misc]
            key = json.dumps(config_of(trial.hyperparameters.copy()))
            done.append(clock.stop(index_of.setdefault(key, len(index_of))))

        def _configure_tensorboard_dir(self, *args: Any) -> None:
            """Nothing: it imports TensorBoard, which TensorFlow 2.21 no longer brings, for a callback nobody gave."""

    tuner = _tuner(keras_tuner, Stamped, Net(), task)
    callbacks = [early_stopping()] if task.n_search else []
    tuner.search(*rows, epochs=task.epochs, validation_data=validation, verbose=0, callbacks=callbacks)
    write_outcome(task, done, n_workers=1)


def _tuner(keras_tuner: Any, stamped: type, net: Any, task: Task) -> Any:
    kwargs = {"objective": "val_accuracy", "directory": task.folder, "project_name": "tuner", "overwrite": True}
    if task.n_search:
        return type("Search", (stamped, keras_tuner.Hyperband), {})(net, max_epochs=task.epochs, factor=3, **kwargs)
    return type("Search", (stamped, keras_tuner.GridSearch), {})(net, max_trials=len(task.configs), **kwargs)


def search_space(hp: Any) -> ConfigTable:
    """The space of `study.toml`, in KerasTuner's terms."""
    hidden_layers = hp.Choice("hidden_layers", [2, 3, 5])
    return {
        "units": [hp.Int(f"units_{i}", 64, 512, sampling="log") for i in range(1, hidden_layers + 1)],
        "dropout": hp.Float("dropout", 0.1, 0.6),
        "batch_size": hp.Choice("batch_size", [64, 128, 256]),
        "learning_rate": hp.Float("learning_rate", 5e-4, 5e-3, sampling="log"),
        "batch_norm": True,
    }


if __name__ == "__main__":
    main()
