"""Class weights and metrics of predictions on the TensorFlow engine."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from sweep.data.files import read
from sweep.data.prepared import Split, open_training_split, prepare
from sweep.study.config import Config
from sweep.study.schema import Data
from sweep.study.training import EarlyStopping, Training
from sweep.train.graph.fitter import Fitter
from sweep.train.graph.optimizers import FUSED
from sweep.train.graph.trainer import GraphTrainer, Rows
from sweep.train.measures import balance
from sweep.train.model import build_net, load_model
from sweep.train.recipe import build_loss, build_optimizer, count_steps
from sweep.train.score import score_models
from sweep.trial import Phase, Trial
from tests.studies import FACTS, write_tiny_data

N, N_EPOCHS = 300, 2
ROWS = Split(
    np.random.default_rng(0).integers(0, 256, (N, 64)).astype(np.uint8), np.repeat([0, 1, 2], (240, 50, 10)).astype(np.int32)
)  # fmt: skip


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_balanced_classes_train_as_with_the_class_weight_of_fit(smoothing):
    config = Config(units=(12,), dropout=0.0, batch_size=48, learning_rate=0.01, label_smoothing=smoothing)
    trainer = GraphTrainer(config, FACTS, Rows.of(ROWS), 5, N_EPOCHS, is_balanced=True)
    logs = [trainer.train_epoch() for _ in range(N_EPOCHS)]
    keras.utils.set_random_seed(5)
    model = build_net(config, FACTS)
    optimizer = build_optimizer(config, model, count_steps(N, 48, N_EPOCHS), FUSED)
    model.compile(optimizer, build_loss(config), metrics=["accuracy"])
    weights = balance(ROWS.y, 3)

    def batches():
        for epoch in range(1, N_EPOCHS + 1):
            order = tf.random.experimental.stateless_shuffle(tf.range(N), [5, epoch]).numpy()
            for start in range(0, N, 48):
                batch = order[start : start + 48]
                yield ROWS.x[batch].astype(np.float32), np.eye(3)[ROWS.y[batch]], weights[ROWS.y[batch]]

    done = model.fit(batches(), steps_per_epoch=count_steps(N, 48, 1), epochs=N_EPOCHS, shuffle=False, verbose=0)
    for ours, theirs in zip(trainer.net.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert [one["loss"] for one in logs] == pytest.approx(done.history["loss"], rel=1e-5)
    assert weights @ np.bincount(ROWS.y) == pytest.approx(N)


def test_a_metric_of_predictions_is_measured_after_every_epoch_and_all_of_them_on_test(tmp_path):
    spec = Data(source=write_tiny_data(tmp_path).name, validation_rows=100)
    data = prepare(read(spec, tmp_path), spec, 1, tmp_path / "cache")
    stopping = EarlyStopping(monitor="val_roc_auc", patience=2)
    training = Training(max_epochs=4, class_weight="balanced", early_stopping=stopping)
    config = Config(units=(8,), dropout=0.2, batch_size=32, learning_rate=0.003, activation="silu")
    fitter = Fitter(data, training, {}, ranked=("roc_auc", "balanced_accuracy"))
    one = Trial(number=0, phase=Phase.SEARCH, config=config, seed=1)
    result = fitter.fit(one, lambda report: True, tmp_path / "t")
    rows = open_training_split(data, "validation")
    said = np.asarray(load_model(tmp_path / "t" / "model.keras")(rows.x.astype(np.float32)))
    assert result.metrics["val_roc_auc"] == pytest.approx(roc_auc_score(rows.y, said, multi_class="ovr"), abs=1e-6)
    assert result.metrics["val_balanced_accuracy"] == pytest.approx(
        balanced_accuracy_score(rows.y, said.argmax(axis=1))
    )
    assert result.metrics["val_roc_auc"] == max(logs["val_roc_auc"] for logs in result.history)
    assert "settled_val_roc_auc" in result.metrics
    [(metrics, _)] = score_models({"t": tmp_path / "t" / "model.keras"}, data).values()
    assert {"test_balanced_accuracy", "test_macro_f1", "test_roc_auc", "test_average_precision"} <= metrics.keys()


def test_nothing_is_measured_that_is_not_asked_for(tmp_path):
    spec = Data(source=write_tiny_data(tmp_path).name, validation_rows=100)
    data = prepare(read(spec, tmp_path), spec, 1, tmp_path / "cache")
    config = Config(units=(8,), dropout=0.0, batch_size=64, learning_rate=0.003)
    one = Trial(number=0, phase=Phase.SEARCH, config=config, seed=1)
    result = Fitter(data, Training(max_epochs=1), {}).fit(one, lambda report: True, tmp_path / "t")
    assert result.history[0].keys() == {"loss", "accuracy", "val_loss", "val_accuracy"}
