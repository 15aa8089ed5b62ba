"""One trial on the real engine, in this process."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from sweep.data.files import read
from sweep.data.prepared import open_training_split, prepare
from sweep.errors import DamagedResultError
from sweep.record import results
from sweep.record.predictions import unpack
from sweep.study.config import Config, derive_training_seed
from sweep.study.schema import Data
from sweep.study.training import EarlyStopping, Training
from sweep.train.graph.fitter import Fitter
from sweep.train.model import load_model
from sweep.train.score import score_models
from sweep.train.weights import read_weights
from sweep.trial import Phase, State, Trial
from tests.studies import write_tiny_data

EVERYTHING = {
    "schedule": "cosine",
    "weight_decay": 0.05,
    "label_smoothing": 0.1,
    "input_dropout": 0.1,
    "activation": "silu",
    "max_norm": 2.0,
    "ema": 0.9,
}
STOPPING = EarlyStopping(monitor="val_accuracy", patience=2)
MADE_BY = {"git_commit": "none"}  # provenance


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    spec = Data(source=write_tiny_data(folder).name, validation_rows=100)
    return prepare(read(spec, folder), spec, 1, folder / "cache")


def trial(number=0, rungs=(), **changes):
    config = Config(**{"units": (16,), "dropout": 0.2, "batch_size": 32, "learning_rate": 0.01, **changes})
    return Trial(number=number, phase=Phase.SEARCH, config=config, seed=derive_training_seed(1, config, 0), rungs=rungs)


def always(report):
    return True


def test_a_complete_trial_has_the_weights_of_its_best_epoch(data, tmp_path):
    result = Fitter(data, Training(max_epochs=12, early_stopping=STOPPING), MADE_BY).fit(
        trial(), always, tmp_path / "t"
    )
    accuracies = [logs["val_accuracy"] for logs in result.history]
    assert result.state == State.COMPLETE
    assert result.best_epoch == int(np.argmax(accuracies)) + 1
    assert len(accuracies) == min(12, result.best_epoch + STOPPING.patience)
    assert result.metrics["val_accuracy"] == max(accuracies)


@pytest.mark.parametrize("recipe", [{}, EVERYTHING], ids=["no recipe", "everything"])
def test_the_saved_model_gives_the_recorded_metrics_from_raw_rows(data, tmp_path, recipe):
    one = trial(**recipe)
    result = Fitter(data, Training(max_epochs=6, early_stopping=STOPPING), MADE_BY).fit(one, always, tmp_path / "t")
    model = load_model(tmp_path / "t" / results.MODEL)
    for part, name in (("train", "train_accuracy"), ("validation", "val_accuracy")):
        split = open_training_split(data, part)
        guesses = model.predict(np.asarray(split.x), verbose=0).argmax(axis=1)
        assert (guesses == split.y).mean() == pytest.approx(result.metrics[name], abs=1e-6)


def test_without_early_stopping_the_last_epoch_is_kept(data, tmp_path):
    result = Fitter(data, Training(max_epochs=3), MADE_BY).fit(trial(), always, tmp_path / "t")
    assert (result.best_epoch, len(result.history)) == (3, 3)


def test_a_verdict_against_it_prunes_a_trial_at_its_rung(data, tmp_path):
    heard = []

    def not_after_two(report):
        heard.append((report.epoch, report.waits))
        return report.epoch < 2

    fitter = Fitter(data, Training(max_epochs=9), MADE_BY)
    result = fitter.fit(trial(rungs=(2,)), not_after_two, tmp_path / "t")
    assert heard == [(1, False), (2, True)]
    assert (result.state, result.reason) == (State.PRUNED, "pruned at the rung after epoch 2")
    assert "val_accuracy" in result.metrics
    assert "train_accuracy" not in result.metrics  # nobody asks for it, and it costs a pass over all rows


def test_a_trial_that_diverges_fails_with_its_reason_and_leaves_no_model(data, tmp_path):
    result = Fitter(data, Training(max_epochs=5), MADE_BY).fit(
        trial(learning_rate=1e30, batch_norm=False), always, tmp_path / "t"
    )
    assert result.state == State.FAILED
    assert result.reason.startswith("nan: loss is nan at epoch")
    assert results.MODEL not in result.files
    assert results.load(tmp_path / "t").reason == result.reason


def test_a_trial_that_keeps_no_model_leaves_all_else(data, tmp_path):
    fitter, kept = Fitter(data, Training(max_epochs=1), MADE_BY), trial()
    whole = fitter.fit(kept, always, tmp_path / "kept")
    lean = fitter.fit(replace(kept, keeps_model=False), always, tmp_path / "lean")
    assert whole.files.keys() - lean.files.keys() == {results.MODEL}
    assert (lean.metrics, lean.params_count) == (whole.metrics, whole.params_count)


@pytest.mark.parametrize("recipe", [{}, EVERYTHING], ids=["no recipe", "everything"])
def test_the_same_trial_gives_the_same_result_in_any_order(data, tmp_path, recipe):
    fitter = Fitter(data, Training(max_epochs=2), MADE_BY)
    first = fitter.fit(trial(**recipe), always, tmp_path / "a")
    fitter.fit(trial(units=(8, 8)), always, tmp_path / "b")
    again = fitter.fit(trial(number=5, **recipe), always, tmp_path / "c")
    assert (again.history, again.metrics) == (first.history, first.metrics)
    saved, other = (read_weights(tmp_path / folder / results.MODEL) for folder in "ac")
    assert all(np.array_equal(saved[name], other[name]) for name in saved | other)


def test_pruned_after_its_probe_a_trial_is_what_the_whole_one_was_then(data, tmp_path):
    fitter = Fitter(data, Training(max_epochs=6), MADE_BY)
    probe = fitter.fit(trial(rungs=(1,), **EVERYTHING), lambda report: False, tmp_path / "a")
    whole = fitter.fit(trial(rungs=(1,), **EVERYTHING), always, tmp_path / "b")
    assert (len(probe.history), len(whole.history)) == (1, 6)
    assert probe.history[0] == whole.history[0]


def test_warming_up_changes_no_result(data, tmp_path):
    cold = Fitter(data, Training(max_epochs=1), MADE_BY).fit(trial(), always, tmp_path / "a")
    fitter = Fitter(data, Training(max_epochs=1), MADE_BY)
    fitter.warm_up()
    assert fitter.fit(trial(), always, tmp_path / "b").history == cold.history


def test_a_result_is_read_back_as_it_was_and_its_damage_is_named(data, tmp_path):
    result = Fitter(data, Training(max_epochs=1), MADE_BY).fit(trial(), always, tmp_path / "t")
    assert results.load(tmp_path / "t") == result
    assert result.provenance == MADE_BY
    assert set(result.files) == {results.MODEL, results.HISTORY, results.SUMMARY, results.CURVES}
    assert list(tmp_path.iterdir()) == [tmp_path / "t"]
    model = tmp_path / "t" / results.MODEL
    model.write_bytes(model.read_bytes()[:-1])
    with pytest.raises(DamagedResultError, match=r"model\.keras: not what was written"):
        results.load(tmp_path / "t")


def test_scoring_gives_the_accuracy_and_cross_entropy_that_keras_evaluates(data, tmp_path):
    Fitter(data, Training(max_epochs=2), MADE_BY).fit(trial(), always, tmp_path / "t")
    score, packed = score_models({"t": tmp_path / "t" / results.MODEL}, data)["t"]
    model = keras.saving.load_model(tmp_path / "t" / results.MODEL, compile=False)
    model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    x, y = (np.load(data.folder / "test" / f"{name}.npy") for name in "xy")
    loss, accuracy = model.evaluate(x.astype(np.float32), y, verbose=0)
    assert score["test_loss"] == pytest.approx(loss, abs=1e-5)
    assert score["test_accuracy"] == pytest.approx(accuracy, abs=1e-7)
    predictions = unpack(packed)
    np.testing.assert_array_equal(predictions.labels, y)
    np.testing.assert_array_equal(predictions.predicted, model.predict(x.astype(np.float32), verbose=0).argmax(axis=1))
