"""Regression on the JAX engine, in a process whose Keras runs on JAX, against `model.fit`."""

from dataclasses import replace

import numpy as np
import pytest

from sweep.data.prepared import Split
from sweep.data.scaling import Target
from tests.train.cohort.members import FACTS as CLASSES
from tests.train.cohort.members import TRAIN, VALIDATION, assert_alike, trial

FACTS = replace(CLASSES, classes=(), target=Target(70.0, 4.0))
LABELS = np.random.default_rng(5).normal(0, 0.1, FACTS.n_features)
N_EPOCHS = 3


def with_values(rows):
    rng = np.random.default_rng(len(rows.x))
    return Split(rows.x, (rows.x @ LABELS + rng.normal(0, 0.2, len(rows.x))).astype(np.float32))


def trained(trials, loss):
    """Logs of each epoch, the weights after the last and their metrics on the training rows, by trial."""
    from sweep.train.cohort.bucket import group_into_buckets, round_up
    from sweep.train.cohort.member import Blueprint, DeviceRows
    from sweep.train.cohort.program import Cohort, Program

    [bucket] = group_into_buckets(trials)
    rows = DeviceRows.of(FACTS, with_values(TRAIN), with_values(VALIDATION))
    cohort = Cohort(Program(Blueprint(bucket, rows, "float32", N_EPOCHS, loss=loss), round_up(len(trials))), trials)
    history = [cohort.train_epoch() for _ in range(N_EPOCHS)]
    cohort.keep([True] * len(trials))
    return [list(logs) for logs in zip(*history, strict=True)], cohort.fetch_kept_weights(), cohort.evaluate_kept()


def fit(one, loss):
    """`model.fit` from the same weights, on the same batches; a net without dropout."""
    import jax

    from sweep.study.config import derive_seed
    from sweep.train.cohort.member import draw_initial_weights
    from sweep.train.model import build_net, get_weight_name, list_weight_shapes
    from sweep.train.recipe import build_loss, build_optimizer, count_steps

    train, validation = with_values(TRAIN), with_values(VALIDATION)
    model = build_net(one.config, FACTS)
    start = draw_initial_weights(one, list_weight_shapes(one.config, FACTS))
    for variable in model.weights:
        variable.assign(start[get_weight_name(variable)])
    n_steps = count_steps(len(train.y), one.config.batch_size, 1)
    model.compile(
        build_optimizer(one.config, model, n_steps * N_EPOCHS), build_loss(one.config, loss), metrics=["mse", "mae"]
    )

    def batches():
        for epoch in range(1, N_EPOCHS + 1):
            key = jax.random.wrap_key_data(np.array([derive_seed(one.seed, "order"), epoch], np.uint32))
            order = np.asarray(jax.random.permutation(key, len(train.y)))
            for at in range(0, len(order), one.config.batch_size):
                batch = order[at : at + one.config.batch_size]
                yield train.x[batch], train.y[batch, None]

    done = model.fit(
        batches(),
        steps_per_epoch=n_steps,
        epochs=N_EPOCHS,
        shuffle=False,
        verbose=0,
        validation_data=(validation.x, validation.y[:, None]),
    )
    return done.history, {get_weight_name(v): np.asarray(v) for v in model.weights}


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
def test_a_member_of_a_regression_is_what_fit_trains(on_jax, loss):
    one = trial(dropout=0.0, units=(13, 7))
    histories, weights, on_train = on_jax(trained, [one, trial(1, dropout=0.0, units=(16, 8))], loss)
    reference, wanted = on_jax(fit, one, loss)
    assert_alike(weights[0], wanted, 2e-5)
    for epoch, logs in enumerate(histories[0]):
        for before in ("", "val_"):
            assert logs[f"{before}loss"] == pytest.approx(reference[f"{before}loss"][epoch], abs=2e-5)
            assert logs[f"{before}rmse"] == pytest.approx(4 * reference[f"{before}mse"][epoch] ** 0.5, rel=1e-4)
            assert logs[f"{before}mae"] == pytest.approx(4 * reference[f"{before}mae"][epoch], rel=1e-4)
    assert on_train[0].keys() == {"train_loss", "train_rmse", "train_mae", "train_r2"}


def test_the_net_of_a_regression_ends_in_one_unit(on_jax):
    _, [weights], _ = on_jax(trained, [trial(dropout=0.2)], "mse")
    assert weights["value/kernel"].shape == (trial().config.units[-1], 1)
