"""Regression on the TensorFlow engine, against `model.fit` and against the model that it leaves."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from sweep.data.files import read
from sweep.data.prepared import Split, open_training_split, prepare
from sweep.data.scaling import Target
from sweep.record.predictions import unpack
from sweep.study.config import Config
from sweep.study.schema import Data
from sweep.study.training import EarlyStopping, Training
from sweep.train.graph.dropout import replace_dropout
from sweep.train.graph.fitter import Fitter
from sweep.train.graph.optimizers import FUSED
from sweep.train.graph.trainer import GraphTrainer, Rows
from sweep.train.model import build_net, load_model
from sweep.train.recipe import LOSSES, build_loss, build_optimizer, count_steps
from sweep.train.score import score_models
from sweep.trial import Phase, State, Trial
from tests.regressions import N_FEATURES, draw_values, write_values
from tests.studies import FACTS as CLASSES

FACTS = replace(CLASSES, n_features=N_FEATURES, classes=(), scaling="standard", target=Target(5000.0, 350.0))
CONFIG = Config(units=(24, 12), dropout=0.3, batch_size=48, learning_rate=0.01)
N, N_EPOCHS = 500, 3


@pytest.fixture(scope="module")
def rows():
    x, y = draw_values(N, 1)
    return Split(x.astype(np.float32), FACTS.target.apply(y))


def fit(rows, loss, seed):
    keras.utils.set_random_seed(seed)
    plain = build_net(CONFIG, FACTS)
    model = replace_dropout(plain)
    optimizer = build_optimizer(CONFIG, plain, count_steps(N, CONFIG.batch_size, N_EPOCHS), FUSED)
    model.compile(optimizer, build_loss(CONFIG, loss), metrics=["mae", "mse"])
    done = model.fit(
        batches(rows, seed),
        steps_per_epoch=count_steps(N, CONFIG.batch_size, 1),
        epochs=N_EPOCHS,
        shuffle=False,
        verbose=0,
        validation_data=(rows.x, rows.y[:, None]),
    )
    return plain, done.history


def batches(rows, seed):
    for epoch in range(1, N_EPOCHS + 1):
        order = tf.random.experimental.stateless_shuffle(tf.range(N), [seed, epoch]).numpy()
        for start in range(0, N, CONFIG.batch_size):
            batch = order[start : start + CONFIG.batch_size]
            yield rows.x[batch], rows.y[batch, None]


@pytest.mark.parametrize("loss", LOSSES)
def test_the_weights_are_those_of_fit_to_the_bit_and_the_metrics_its_in_the_unit_of_the_label(rows, loss):
    trainer = GraphTrainer(CONFIG, FACTS, Rows.of(rows), 11, N_EPOCHS, loss=loss)
    logs = [(trainer.train_epoch(), trainer.evaluate(Rows.of(rows))) for _ in range(N_EPOCHS)]
    reference, history = fit(rows, loss, 11)
    for ours, theirs in zip(trainer.net.get_weights(), reference.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for epoch, (on_train, evaluated) in enumerate(logs):
        for found, before in ((on_train, ""), (evaluated, "val_")):
            assert found["loss"] == pytest.approx(history[f"{before}loss"][epoch], rel=1e-5)
            assert found["rmse"] == pytest.approx(350 * history[f"{before}mse"][epoch] ** 0.5, rel=1e-5)
            assert found["mae"] == pytest.approx(350 * history[f"{before}mae"][epoch], rel=1e-5)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("values")
    spec = Data(source=write_values(folder).name, validation_rows=100, test_rows=120)
    return prepare(read(spec, folder), spec, 1, folder / "cache")


def test_a_trial_stops_early_by_its_error_and_leaves_a_model_that_answers_in_the_unit_of_the_label(data, tmp_path):
    stopping = EarlyStopping(monitor="val_rmse", patience=2)
    training = Training(max_epochs=30, loss="huber", early_stopping=stopping)
    one = Trial(number=0, phase=Phase.SEARCH, config=CONFIG, seed=3)
    result = Fitter(data, training, {}).fit(one, lambda report: True, tmp_path / "t")
    errors = [logs["val_rmse"] for logs in result.history]
    assert result.state == State.COMPLETE
    assert result.best_epoch == int(np.argmin(errors)) + 1
    assert result.metrics["val_rmse"] == min(errors)
    assert {"train_rmse", "train_mae", "train_r2", "train_loss", "val_r2", "settled_val_rmse"} <= result.metrics.keys()
    assert (tmp_path / "t" / "curves.png").stat().st_size > 1000
    metrics, packed = score_models({"t": tmp_path / "t" / "model.keras"}, data)["t"]
    values = unpack(packed)
    assert metrics["test_rmse"] == pytest.approx(np.sqrt(np.mean((values.predicted - values.labels) ** 2)))
    assert metrics["test_r2"] == pytest.approx(values.scores.mean())
    assert metrics["test_r2"] > 0.5
    assert values.predicted.mean() == pytest.approx(5000 - 160, abs=60)


def test_a_saved_model_gives_the_validation_error_on_rows_as_they_are_in_the_data(data, tmp_path):
    one = Trial(number=0, phase=Phase.SEARCH, config=CONFIG, seed=3)
    result = Fitter(data, Training(max_epochs=2, loss="mse"), {}).fit(one, lambda report: True, tmp_path / "t")
    model, validation = load_model(tmp_path / "t" / "model.keras"), open_training_split(data, "validation")
    assert model.outputs[0].dtype == "float64"
    source = np.load(data.folder.parents[1] / "values.npz")
    target = data.facts.target
    labels = validation.y * target.spread + target.center
    numbers = [int(np.abs(source["y_train"] - label).argmin()) for label in labels]
    said = np.asarray(model(source["x_train"][numbers]))[:, 0]
    assert np.sqrt(np.mean((said - labels) ** 2)) == pytest.approx(result.metrics["val_rmse"], rel=1e-5)
