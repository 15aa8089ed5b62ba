"""A tiny study, its data, and a whole sweep of it on the fake executor."""

import shutil
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sweep.coordinator import Job, Runtime, run_study
from sweep.data.facts import DataFacts
from sweep.data.prepared import PreparedData
from sweep.execute.fake import Curve, FakeExecutor, plausible_logs
from sweep.layout import RunsDir
from sweep.record import results
from sweep.record.predictions import Predictions
from sweep.study.config import derive_seed
from sweep.study.file import parse_study
from sweep.study.schema import Study
from sweep.track.runs import TrackedStudy
from sweep.trial import Logs, Trial, TrialEvent
from tests.faults.engine import FILES as FILES

ROOT = Path(__file__).parents[1]
PRUNER = 'pruner = {kind = "halving", rungs = [1, 2], reduction_factor = 3}\n'
STUDY = """
name = "tiny"
seed = 7

[data]
source = "tiny.npz"
validation_rows = 100

[space]
hidden_layers = {choice = [1, 2]}
units = {int = [4, 32]}
dropout = {float = [0.0, 0.5]}
batch_size = {choice = [32, 64]}

[training]
max_epochs = 5
early_stopping = {monitor = "val_accuracy", patience = 2}

[search]
trials = 4
workers = 2
pruner = {kind = "halving", rungs = [1, 2], reduction_factor = 3}

[confirmation]
replicates = 2

[[baselines]]
name = "by hand"
units = [16, 8]
dropout = 0.5
batch_size = 64
reference = {train_accuracy = 0.5, test_accuracy = 0.5}
"""

FACTS = DataFacts(
    name="tiny.npz",
    sha256="0" * 64,
    n_train=500,
    n_validation=100,
    n_test=100,
    n_features=64,
    classes=("0", "1", "2"),
    scaling="pixels",
    feature_shape=(8, 8),
)


def write_tiny_data(folder: Path) -> Path:
    """Write `tiny.npz`: 600 training and 100 test images of 8 x 8, in three classes that overlap a little. Return its path."""
    rng = np.random.default_rng(0)
    prototypes = rng.integers(60, 190, (3, 8, 8))

    def draw(n: int) -> tuple[Any, Any]:
        y = rng.integers(0, 3, n)
        x = np.clip(prototypes[y] + rng.normal(0, 60, (n, 8, 8)), 0, 255).astype(np.uint8)
        return x, y

    (x_train, y_train), (x_test, y_test) = draw(600), draw(100)
    path = folder / "tiny.npz"
    np.savez(path, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    return path


def tiny_table(**changes: Any) -> dict[str, Any]:
    """Return the tiny study as a table, with whole sections replaced by `changes`; None removes one."""
    table = {**tomllib.loads(STUDY), **changes}
    return {name: value for name, value in table.items() if value is not None}


def job(runs: RunsDir, table: dict[str, Any] | None = None, facts: DataFacts = FACTS) -> Job:
    """Return the study of `table`, the tiny one by default, to be kept in `runs`. Its data has facts and no rows."""
    table = table or tiny_table()
    data = PreparedData(runs.data_cache / "none", facts)
    return Job(study=parse_study(table, "tiny.toml"), table=table, data=data, runs=runs)


def fake_runtime(
    study: Study,
    *,
    curve: Curve = plausible_logs,
    files: Mapping[str, bytes] | None = None,
    n_slots: int = 2,
    watch: Callable[[Trial, TrialEvent | None], None] = lambda trial, event: None,
    is_interrupted: Callable[[], bool] = lambda: False,
) -> Runtime:
    """Return a runtime that trains on the fake executor and scores with `fake_score`."""
    return Runtime(
        start_executor=lambda folder: FakeExecutor(folder, study.training.max_epochs, n_slots, curve, files),
        score=fake_score,
        watch=watch,
        remember=lambda recorded: None,
        is_interrupted=is_interrupted,
    )


def fake_score(models: dict[str, Path]) -> dict[str, tuple[Logs, bytes]]:
    """Score models by their validation accuracy: about that share of the test rows is right, drawn by the key."""
    return {key: _fake_score(path.parent, key) for key, path in models.items()}


def _fake_score(folder: Path, key: str) -> tuple[Logs, bytes]:
    metrics = results.load(folder).metrics
    rng = np.random.default_rng(derive_seed(key))
    labels = np.arange(FACTS.n_test, dtype=np.int32) % FACTS.n_classes
    is_right = rng.random(FACTS.n_test) < metrics.get("val_accuracy", metrics["train_accuracy"])
    said = np.where(is_right, labels, (labels + 1) % FACTS.n_classes)
    rows = np.zeros((FACTS.n_test, FACTS.n_features), np.uint8)
    predictions = Predictions.of(np.eye(FACTS.n_classes)[said] * 0.8 + 0.1, labels, rows)
    accuracy = float(predictions.correct.mean())
    return {"test_accuracy": accuracy, "test_loss": 1.05 - accuracy}, predictions.pack()


def fake_sweep(
    runs: RunsDir,
    table: dict[str, Any] | None = None,
    *,
    facts: DataFacts = FACTS,
    fork: str | None = None,
    **options: Any,
) -> Job:
    """Run a whole study on the fake executor; return what was run. options: see `fake_runtime`."""
    done = job(runs, table, facts)
    run_study(done, fake_runtime(done.study, **options), fork)
    return done


def has_each_key_once(tracked: TrackedStudy) -> bool:
    """Return whether every trial and replicate has one run."""
    keys = [one.trial.key for one in tracked.trials]
    return len(set(keys)) == len(keys)


def copied(runs: RunsDir, folder: Path) -> RunsDir:
    """Copy a runs directory to `folder`, for a test to damage. MLflow logs to the copy from now on."""
    from mlflow.tracking._tracking_service.utils import _artifact_repos_cache

    shutil.copytree(runs.root, folder / runs.root.name)
    _artifact_repos_cache.clear()  # MLflow caches where a run's artifacts lie, by run id, as long as the process lives
    return RunsDir(folder / runs.root.name)
