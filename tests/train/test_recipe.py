"""What trains a config, as Keras' own objects say it."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from sweep.study.config import Config
from sweep.train.model import build_net
from sweep.train.recipe import build_learning_rate, build_loss, build_optimizer, count_steps, limit_norms
from tests.studies import FACTS

CONFIG = Config(units=(6, 4), dropout=0.2, batch_size=32, learning_rate=0.01)


def optimizer_of(**changes):
    config = replace(CONFIG, **changes)
    return build_optimizer(config, build_net(config, FACTS), n_steps=40)


@pytest.mark.parametrize(
    ("name", "kind", "settings"),
    [
        ("adam", keras.optimizers.Adam, {"beta_1": 0.9, "beta_2": 0.999, "amsgrad": False}),
        ("sgd", keras.optimizers.SGD, {"momentum": 0.9, "nesterov": True}),
        ("rmsprop", keras.optimizers.RMSprop, {"rho": 0.9, "momentum": 0.0, "centered": False}),
    ],
)
def test_an_optimizer_is_keras_own_and_neither_decays_nor_averages_unless_asked(name, kind, settings):
    optimizer = optimizer_of(optimizer=name)
    assert type(optimizer) is kind
    wanted = settings | {"weight_decay": None, "use_ema": False, "clipnorm": None}
    said = optimizer.get_config()
    assert {key: said[key] for key in wanted} == wanted
    assert said["learning_rate"] == pytest.approx(0.01)


def test_only_kernels_decay():
    optimizer = optimizer_of(weight_decay=0.1, batch_norm=True)
    assert optimizer.weight_decay == 0.1
    decaying = [v.path for v in optimizer._trainable_variables if optimizer._use_weight_decay(v)]
    assert decaying == ["mlp/dense_1/kernel", "mlp/dense_2/kernel", "mlp/classes/kernel"]


def test_an_average_has_the_momentum_of_the_config():
    optimizer = optimizer_of(ema=0.97)
    assert (optimizer.use_ema, optimizer.ema_momentum, optimizer.ema_overwrite_frequency) == (True, 0.97, None)


def test_a_cosine_rises_over_a_tenth_of_the_steps_and_is_at_its_end_after_the_last():
    rate = build_learning_rate(replace(CONFIG, schedule="cosine"), n_steps=200)
    rates = np.array([float(rate(step)) for step in range(201)])
    np.testing.assert_allclose(rates[:21], 0.01 * np.arange(21) / 20, atol=1e-8)
    np.testing.assert_allclose(rates[20:], 0.005 * (1 + np.cos(np.pi * np.arange(181) / 180)), atol=1e-8)


@pytest.mark.parametrize("n_steps", [1, 5, 10, 19])
def test_a_cosine_of_few_steps_is_a_number_at_each(n_steps):
    rate = build_learning_rate(replace(CONFIG, schedule="cosine"), n_steps)
    assert all(0 <= float(rate(step)) <= 0.01 + 1e-8 for step in range(n_steps))
    assert any(float(rate(step)) > 0 for step in range(n_steps))


def test_a_constant_rate_is_a_number():
    assert build_learning_rate(CONFIG, n_steps=40) == 0.01


def test_a_short_last_batch_is_a_step():
    assert [count_steps(n, 32, 5) for n in (1, 32, 33, 64)] == [5, 5, 10, 10]


def test_a_smoothed_loss_spreads_its_share_over_all_classes():
    probabilities = np.array([[0.7, 0.2, 0.1]], np.float32)
    loss = build_loss(replace(CONFIG, label_smoothing=0.3))(np.array([[1.0, 0, 0]]), probabilities)
    assert float(loss) == pytest.approx(-np.dot([0.8, 0.1, 0.1], np.log(probabilities[0])), rel=1e-6)


def test_norms_are_limited_of_hidden_kernels_and_no_trace_of_it_is_in_the_model():
    net = build_net(CONFIG, FACTS)
    limit_norms(net, replace(CONFIG, max_norm=0.5))
    limited = {v.path for v in net.weights if getattr(v, "constraint", None) is not None}
    assert limited == {"mlp/dense_1/kernel", "mlp/dense_2/kernel"}
    shrunk = np.linalg.norm(net.layers[1].kernel.constraint(np.eye(6, dtype=np.float32) * 3), axis=0)
    np.testing.assert_allclose(shrunk, 0.5, rtol=1e-5)
    assert "MaxNorm" not in net.to_json()
