"""The engine against its reference, `model.fit`."""

import gc
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework.func_graph import FuncGraph

from sweep.data.files import read
from sweep.data.prepared import Split
from sweep.study.config import Config
from sweep.study.schema import Data
from sweep.train.graph.adam import FusedAdam
from sweep.train.graph.dropout import HalfwordDropout, replace_dropout
from sweep.train.graph.trainer import GraphTrainer, Rows
from sweep.train.model import build_net, load_model
from tests.studies import FACTS as TINY_FACTS

FACTS = replace(TINY_FACTS, n_features=784, classes=tuple("0123456789"))
N = 500
BATCH = 48  # 500 rows: ten whole batches and one of 20


def config(**changes):
    return Config(**{"units": (24, 12), "dropout": 0.0, "batch_size": BATCH, "learning_rate": 0.003, **changes})


@pytest.fixture(scope="module")
def rows():
    mnist = read(Data(validation_rows=0), Path())
    return Split(mnist.x_train[:N].reshape(N, -1), mnist.y_train[:N].astype(np.int32))


def fit(net, rows, seed, n_epochs, optimizer=keras.optimizers.Adam):
    """`model.fit` on the batches and the dropout masks that the engine draws; the model and its history."""
    keras.utils.set_random_seed(seed)
    model = replace_dropout(build_net(net, FACTS))
    model.compile(optimizer(net.learning_rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = []
    for epoch in range(1, n_epochs + 1):
        order = tf.random.experimental.stateless_shuffle(tf.range(N), [seed, epoch]).numpy()
        x, y = rows.x[order].astype(np.float32), rows.y[order]
        done = model.fit(x, y, batch_size=net.batch_size, shuffle=False, verbose=0)
        history.append({name: values[0] for name, values in done.history.items()})
    return model, history


@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_with_the_same_optimizer_the_weights_are_those_of_fit_to_the_bit(rows, batch_norm, dropout):
    net = config(batch_norm=batch_norm, dropout=dropout)
    trainer = GraphTrainer(net, FACTS, Rows.of(rows), seed=11)
    for _ in range(5):
        trainer.train_epoch()
    reference, _ = fit(net, rows, seed=11, n_epochs=5, optimizer=FusedAdam)
    for ours, theirs in zip(trainer.net.get_weights(), reference.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
@pytest.mark.parametrize("batch_norm", [True, False])
def test_after_55_steps_the_weights_are_those_of_fit_with_keras_adam(rows, batch_norm):
    net = config(batch_norm=batch_norm)
    trainer = GraphTrainer(net, FACTS, Rows.of(rows), seed=11)
    logs = [trainer.train_epoch() for _ in range(5)]
    reference, history = fit(net, rows, seed=11, n_epochs=5)
    for ours, theirs in zip(trainer.net.get_weights(), reference.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    for ours, theirs in zip(logs, history, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], abs=1e-5)
        assert ours["accuracy"] == pytest.approx(theirs["accuracy"], abs=1e-6)


def test_dropout_draws_anew_at_every_step(rows):
    trainer = GraphTrainer(config(dropout=0.4, learning_rate=1e-8, batch_norm=False), FACTS, Rows.of(rows), seed=1)
    first, second = trainer.train_epoch(), trainer.train_epoch()
    assert first["loss"] != pytest.approx(second["loss"], abs=1e-5)  # the weights stand still, the masks do not


@pytest.mark.parametrize("rate", [0.1, 0.393, 0.6])
def test_dropout_keeps_its_share_everywhere_and_scales_it_to_the_same_mean(rate):
    layer = HalfwordDropout(rate)
    draws = np.stack([layer(tf.ones((40, 25)), training=True).numpy() for _ in range(400)])  # 400,000 elements
    kept = draws > 0
    np.testing.assert_allclose(draws[kept], 1 / (1 - rate), rtol=1e-4)
    assert abs(kept.mean() - (1 - rate)) < 4 * np.sqrt(rate * (1 - rate) / kept.size)
    by_place = kept.mean(axis=0)
    assert np.abs(by_place - (1 - rate)).max() < 5 * np.sqrt(rate * (1 - rate) / len(draws))
    for other in (
        np.roll(kept, 1, axis=0),
        np.roll(kept, 1, axis=1),
        np.roll(kept, 1, axis=2),
        np.roll(kept, 4, axis=2),
    ):
        assert abs(np.corrcoef(kept.ravel(), other.ravel())[0, 1]) < 4 / np.sqrt(kept.size)


def test_dropout_passes_gradients_where_it_passes_values_and_does_nothing_outside_training():
    layer, rows = HalfwordDropout(0.5), tf.Variable(tf.ones((6, 7)))
    with tf.GradientTape() as tape:
        dropped = layer(rows, training=True)
    np.testing.assert_array_equal(tape.gradient(dropped, rows), dropped)
    np.testing.assert_array_equal(layer(rows), rows)
    np.testing.assert_array_equal(HalfwordDropout(0.0)(rows, training=True), rows)


def test_the_model_that_is_trained_is_saved_with_the_layers_of_keras_alone(rows, tmp_path):
    trainer = GraphTrainer(config(dropout=0.4), FACTS, Rows.of(rows), seed=5)
    before = trainer.net.get_weights()
    trainer.train_epoch()
    trainer.net.save(tmp_path / "model.keras")
    again = load_model(tmp_path / "model.keras")
    assert not any(isinstance(layer, HalfwordDropout) for layer in again.layers)
    for trained, saved, old in zip(trainer.net.get_weights(), again.get_weights(), before, strict=True):
        np.testing.assert_array_equal(trained, saved)
        assert (trained != old).any()


def test_evaluation_is_that_of_keras(rows):
    trainer = GraphTrainer(config(dropout=0.4), FACTS, Rows.of(rows), seed=5)
    trainer.train_epoch()
    trainer.net.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    loss, accuracy = trainer.net.evaluate(rows.x.astype(np.float32), rows.y, verbose=0)
    assert trainer.evaluate(Rows.of(rows)) == (pytest.approx(loss, abs=1e-6), pytest.approx(accuracy, abs=1e-7))


def test_the_same_seed_gives_the_same_bits_after_other_models_were_trained(rows):
    data = Rows.of(rows)

    def weights(seed):
        trainer = GraphTrainer(config(dropout=0.3), FACTS, data, seed)
        trainer.train_epoch()
        return np.concatenate([w.ravel() for w in trainer.net.get_weights()])

    first = weights(21)
    assert (weights(22) != first).any()
    assert (weights(21) == first).all()


def test_fused_adam_is_a_keras_optimizer_that_fit_takes_and_that_saves(rows, tmp_path):
    model = build_net(config(), FACTS)
    model.compile(
        FusedAdam(keras.optimizers.schedules.ExponentialDecay(0.01, 10, 0.5)), "sparse_categorical_crossentropy"
    )
    model.fit(rows.x.astype(np.float32), rows.y, epochs=1, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", custom_objects={"FusedAdam": FusedAdam})
    assert again.optimizer.get_config() == model.optimizer.get_config()
    np.testing.assert_array_equal(again.optimizer.iterations, model.optimizer.iterations)


def test_a_tensor_over_a_mapped_file_shares_its_memory(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((100, 4), np.uint8))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="c")
    rows = Rows.of(Split(mapped, np.zeros(100, np.int32)))
    mapped[7, 2] = 9  # written to this process's own pages, under the tensor
    assert int(tf.reduce_sum(tf.cast(rows.x, tf.int32))) == 9
    assert np.load(tmp_path / "x.npy").sum() == 0


def test_rows_that_lie_anywhere_in_memory_are_taken():
    block = np.arange(4000, dtype=np.uint8)
    for offset in range(1, 70, 3):  # TensorFlow aborts on a borrowed tensor that is not aligned
        x = block[offset : offset + 3000].reshape(1000, 3)
        rows = Rows.of(Split(x, np.zeros(1000, np.int32)))
        assert int(tf.reduce_sum(tf.cast(rows.x, tf.int32))) == int(x.sum())


@pytest.mark.slow
def test_a_trainer_that_is_let_go_leaves_no_graph_behind(rows):
    def n_graphs():
        trainer = GraphTrainer(config(), FACTS, Rows.of(rows), seed=1)
        trainer.train_epoch()
        del trainer
        gc.collect()
        return sum(isinstance(thing, FuncGraph) for thing in gc.get_objects())

    assert n_graphs() == n_graphs()
