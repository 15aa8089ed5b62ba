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
from sweep.train.distortion import Strengths
from sweep.train.graph.augment import augment, derive_step_seed
from sweep.train.graph.dropout import HalfwordDropout, replace_dropout
from sweep.train.graph.optimizers import FUSED, FusedAdam
from sweep.train.graph.precision import compute_in_bfloat16, measure_speedup
from sweep.train.graph.trainer import GraphTrainer, Rows
from sweep.train.measures import prefix
from sweep.train.model import build_net, load_model
from sweep.train.recipe import OPTIMIZERS, build_loss, build_optimizer, count_steps, limit_norms
from tests.studies import FACTS as TINY_FACTS

FACTS = replace(TINY_FACTS, n_features=784, feature_shape=(28, 28), classes=tuple("0123456789"))
N = 500
BATCH = 48  # 500 rows: ten whole batches and one of 20


N_VALIDATION = 200

RECIPES = {
    "sgd": {"optimizer": "sgd", "learning_rate": 0.02},
    "rmsprop": {"optimizer": "rmsprop"},
    "a schedule": {"schedule": "cosine"},
    "weight decay": {"weight_decay": 0.5},
    "label smoothing": {"label_smoothing": 0.2},
    "input dropout": {"input_dropout": 0.2},
    "gelu": {"activation": "gelu"},
    "silu": {"activation": "silu"},
    "norms": {"max_norm": 0.9},
    "an average": {"ema": 0.9},
    "distorted images": {"augment_shift": 2.5, "augment_rotation": 15, "augment_scale": 0.1, "augment_elastic": 1.0},
}
EVERYTHING = {name: value for part in RECIPES.values() for name, value in part.items()}
RECIPES["everything"] = EVERYTHING | {"optimizer": "adam", "learning_rate": 0.003, "dropout": 0.3}
RECIPES["everything by sgd"] = EVERYTHING | {"optimizer": "sgd", "activation": "relu"}


def config(**changes):
    return Config(**{"units": (24, 12), "dropout": 0.0, "batch_size": BATCH, "learning_rate": 0.003, **changes})


@pytest.fixture(scope="module")
def rows():
    mnist = read(Data(validation_rows=0), Path())
    return Split(mnist.x_train[:N].reshape(N, -1), mnist.y_train[:N].astype(np.int32))


def fit(net, rows, seed, n_epochs, optimizers=OPTIMIZERS, max_epochs=5, prepare=lambda net: net):
    """`model.fit` on the batches and the dropout masks that the engine draws; the net as evaluated, and its history."""
    keras.utils.set_random_seed(seed)
    plain = prepare(build_net(net, FACTS))
    limit_norms(plain, net)
    model = replace_dropout(plain)
    optimizer = build_optimizer(net, plain, count_steps(N, net.batch_size, max_epochs), optimizers)
    model.compile(optimizer, build_loss(net), metrics=["accuracy", "categorical_crossentropy"])
    done = model.fit(
        batches(rows, net, seed, n_epochs),
        steps_per_epoch=count_steps(N, net.batch_size, 1),
        epochs=n_epochs,
        shuffle=False,
        verbose=0,
        validation_data=(rows.x[:N_VALIDATION].astype(np.float32), one_hot(rows.y[:N_VALIDATION])),
        callbacks=[keras.callbacks.SwapEMAWeights()] if net.ema else None,
    )
    names = {
        "loss": "loss",
        "accuracy": "accuracy",
        "val_loss": "val_categorical_crossentropy",
        "val_accuracy": "val_accuracy",
    }
    return plain, [{ours: done.history[theirs][epoch] for ours, theirs in names.items()} for epoch in range(n_epochs)]


def batches(rows, net, seed, n_epochs):
    for epoch in range(1, n_epochs + 1):
        order = tf.random.experimental.stateless_shuffle(tf.range(N), [seed, epoch]).numpy()
        for start in range(0, N, net.batch_size):
            batch = order[start : start + net.batch_size]
            x = rows.x[batch].astype(np.float32)
            if net.augments:
                x = augment(rows.x[batch], derive_step_seed(seed, epoch, start), Strengths.of(net), (28, 28, 1)).numpy()
            yield x, one_hot(rows.y[batch])


@pytest.fixture(scope="module")
def plain(rows):
    """The weights of a net that trains by no recipe."""
    return train(config(), rows, seed=11, n_epochs=2)[0].get_weights()


def one_hot(labels):
    return keras.utils.to_categorical(labels, 10)


def train(net, rows, seed, n_epochs, max_epochs=5):
    """The engine's net as evaluated, and its history."""
    trainer = GraphTrainer(net, FACTS, Rows.of(rows), seed, max_epochs)
    history = []
    for _ in range(n_epochs):
        logs = trainer.train_epoch()
        logs |= prefix(trainer.evaluate(Rows.of(rows).head(N_VALIDATION)), "val_")
        history.append(logs)
    return trainer.net, history


def assert_alike(ours, theirs):
    """Nets and histories that differ by rounding alone.

    Where a pixel is almost always black, gradients are next to nothing, and Adam scales their rounding up: a weight in a
    thousand may be further off.
    """
    for one, other in zip(ours[0].get_weights(), theirs[0].get_weights(), strict=True):
        assert np.quantile(np.abs(one - other), 0.999) < 1e-5
        np.testing.assert_allclose(one, other, atol=2e-4)
    for one, other in zip(ours[1], theirs[1], strict=True):
        assert one == pytest.approx(other, abs=1e-5)


@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_with_the_same_optimizer_the_weights_are_those_of_fit_to_the_bit(rows, batch_norm, dropout):
    net = config(batch_norm=batch_norm, dropout=dropout)
    trained, _ = train(net, rows, seed=11, n_epochs=5)
    reference, _ = fit(net, rows, seed=11, n_epochs=5, optimizers=FUSED)
    for ours, theirs in zip(trained.get_weights(), reference.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
@pytest.mark.parametrize("batch_norm", [True, False])
def test_after_55_steps_the_weights_are_those_of_fit_with_keras_adam(rows, batch_norm):
    net = config(batch_norm=batch_norm)
    assert_alike(train(net, rows, seed=11, n_epochs=5), fit(net, rows, seed=11, n_epochs=5))


@pytest.mark.parametrize(
    "recipe",
    [name if name.startswith("everything") else pytest.param(name, marks=pytest.mark.slow) for name in RECIPES],
)
def test_every_part_of_a_recipe_trains_as_in_fit_with_what_keras_has_for_it(rows, plain, recipe):
    net = config(**RECIPES[recipe])
    ours = train(net, rows, seed=11, n_epochs=2)
    assert_alike(ours, fit(net, rows, seed=11, n_epochs=2))
    assert any(np.abs(a - b).max() > 1e-3 for a, b in zip(ours[0].get_weights(), plain, strict=True)), "it is in use"


@pytest.mark.slow
def test_a_whole_training_by_a_recipe_of_everything_ends_as_in_fit(rows):
    net = config(**RECIPES["everything"])
    assert_alike(train(net, rows, seed=11, n_epochs=5), fit(net, rows, seed=11, n_epochs=5))


def test_the_first_epoch_of_a_training_that_is_stopped_is_that_of_a_whole_one(rows):
    net = config(schedule="cosine", ema=0.9)
    _, [first] = train(net, rows, seed=3, n_epochs=1)
    _, whole = train(net, rows, seed=3, n_epochs=5)
    assert first == whole[0]
    assert first != train(net, rows, seed=3, n_epochs=1, max_epochs=1)[1][0]


@pytest.mark.slow
def test_in_bfloat16_the_weights_are_those_of_fit_with_its_mixed_policy_to_the_bit_and_float32_afterwards(
    rows, tmp_path
):
    net = config(
        dropout=0.3, **EVERYTHING | {"optimizer": "adam", "learning_rate": 0.003, "ema": 0.0, "activation": "relu"}
    )
    trainer = GraphTrainer(net, FACTS, Rows.of(rows), seed=11, max_epochs=5, precision="bfloat16")
    logs = [trainer.train_epoch() for _ in range(2)]
    reference, history = fit(net, rows, seed=11, n_epochs=2, optimizers=FUSED, prepare=compute_in_bfloat16)
    assert reference.layers[2].compute_dtype == "bfloat16"
    for ours, theirs in zip(trainer.net.get_weights(), reference.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert [one["loss"] for one in logs] == pytest.approx([one["loss"] for one in history], abs=1e-4)
    trainer.net.save(tmp_path / "model.keras")
    assert {layer.compute_dtype for layer in load_model(tmp_path / "model.keras").layers} == {"float32"}
    in_float32, _ = train(net, rows, seed=11, n_epochs=2)
    assert any((a != b).any() for a, b in zip(trainer.net.get_weights(), in_float32.get_weights(), strict=True))


def test_an_average_is_taken_in_bfloat16_too(rows):
    trainer = GraphTrainer(config(ema=0.9), FACTS, Rows.of(rows), seed=11, max_epochs=5, precision="bfloat16")
    trainer.train_epoch()
    for kernel, average in zip(
        trainer.net.trainable_variables, trainer.optimizer._model_variables_moving_average, strict=True
    ):
        np.testing.assert_array_equal(kernel, average)


def test_how_fast_bfloat16_is_is_measured_here():
    assert 0.01 < measure_speedup() < 100


def test_dropout_draws_anew_at_every_step(rows):
    trainer = GraphTrainer(
        config(dropout=0.4, learning_rate=1e-8, batch_norm=False), FACTS, Rows.of(rows), seed=1, max_epochs=5
    )
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
    trainer = GraphTrainer(config(dropout=0.4), FACTS, Rows.of(rows), seed=5, max_epochs=5)
    before = trainer.net.get_weights()
    trainer.train_epoch()
    trainer.net.save(tmp_path / "model.keras")
    again = load_model(tmp_path / "model.keras")
    assert not any(isinstance(layer, HalfwordDropout) for layer in again.layers)
    for trained, saved, old in zip(trainer.net.get_weights(), again.get_weights(), before, strict=True):
        np.testing.assert_array_equal(trained, saved)
        assert (trained != old).any()


def test_evaluation_is_that_of_keras(rows):
    trainer = GraphTrainer(config(dropout=0.4), FACTS, Rows.of(rows), seed=5, max_epochs=5)
    trainer.train_epoch()
    trainer.net.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    loss, accuracy = trainer.net.evaluate(rows.x.astype(np.float32), rows.y, verbose=0)
    assert trainer.evaluate(Rows.of(rows)) == {
        "loss": pytest.approx(loss, abs=1e-6),
        "accuracy": pytest.approx(accuracy, abs=1e-7),
    }


def test_the_same_seed_gives_the_same_bits_after_other_models_were_trained(rows):
    data = Rows.of(rows)

    def weights(seed):
        trainer = GraphTrainer(config(dropout=0.3), FACTS, data, seed, max_epochs=5)
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
@pytest.mark.parametrize("recipe", [{}, RECIPES["everything"], RECIPES["everything by sgd"], RECIPES["rmsprop"]])
def test_a_trainer_that_is_let_go_leaves_no_graph_behind(rows, recipe):
    def n_graphs():
        trainer = GraphTrainer(config(**recipe), FACTS, Rows.of(rows), seed=1, max_epochs=5)
        trainer.train_epoch()
        del trainer
        gc.collect()
        return sum(isinstance(thing, FuncGraph) for thing in gc.get_objects())

    assert n_graphs() == n_graphs()
