"""Programs of the JAX engine, in a process whose Keras runs on JAX."""

import numpy as np
import pytest

from sweep.data.prepared import Split
from tests.train.cohort.members import (
    DISTORTED,
    FACTS,
    IMAGES,
    RECIPES,
    TRAIN,
    UNLIKE,
    UNLIKE_RECIPES,
    VALIDATION,
    assert_alike,
    to_images,
    trial,
)

MAX_EPOCHS = 5
QUICK = {"everything"}  # the others have fewer parts, or another optimizer


def facts_of(train):
    return IMAGES if train.x.dtype == np.uint8 else FACTS


def cohort_of(trials, train=TRAIN, precision="float32"):
    from sweep.train.cohort.bucket import group_into_buckets, round_up
    from sweep.train.cohort.member import Blueprint, DeviceRows
    from sweep.train.cohort.program import Cohort, Program

    [bucket] = group_into_buckets(trials)
    facts = facts_of(train)
    validation = to_images(VALIDATION) if facts is IMAGES else VALIDATION
    blueprint = Blueprint(bucket, DeviceRows.of(facts, train, validation), precision, MAX_EPOCHS)
    return Cohort(Program(blueprint, round_up(len(trials))), trials)


def trained(trials, n_epochs, train=TRAIN):
    """Logs of each epoch, the weights after the last and their metrics on the training rows, by trial."""
    cohort = cohort_of(trials, train)
    history = [cohort.train_epoch() for _ in range(n_epochs)]
    cohort.keep([True] * len(trials))
    return [list(logs) for logs in zip(*history, strict=True)], cohort.fetch_kept_weights(), cohort.evaluate_kept()


def fit(one, n_epochs, train):
    """`model.fit` from the same weights, on the same batches and with the same masks."""
    import keras

    from sweep.train.model import build_net, get_weight_name
    from sweep.train.recipe import build_loss, build_optimizer, count_steps, limit_norms

    plain = build_net(one.config, facts_of(train))
    validation = to_images(VALIDATION) if facts_of(train) is IMAGES else VALIDATION
    model = with_member_dropout(plain, one)
    limit_norms(plain, one.config)
    optimizer = build_optimizer(one.config, plain, count_steps(len(train.y), one.config.batch_size, MAX_EPOCHS))
    model.compile(optimizer, build_loss(one.config), metrics=["accuracy", "categorical_crossentropy"])
    done = model.fit(
        batches(one, train, n_epochs),
        steps_per_epoch=count_steps(len(train.y), one.config.batch_size, 1),
        epochs=n_epochs,
        shuffle=False,
        verbose=0,
        validation_data=(validation.x.astype(np.float32), one_hot(validation.y)),
        callbacks=[keras.callbacks.SwapEMAWeights()] if one.config.ema else None,
    )
    names = {
        "loss": "loss",
        "accuracy": "accuracy",
        "val_loss": "val_categorical_crossentropy",
        "val_accuracy": "val_accuracy",
    }
    history = [{ours: done.history[theirs][epoch] for ours, theirs in names.items()} for epoch in range(n_epochs)]
    return history, {get_weight_name(v): np.asarray(v) for v in plain.weights}


def with_member_dropout(plain, one):
    """The model of `fit`: the layers of `plain` at a member's first weights, and its masks."""
    import keras

    from sweep.study.config import derive_seed
    from sweep.train.cohort.member import MemberDropout, draw_initial_weights
    from sweep.train.model import get_weight_name, list_weight_shapes

    layers = [MemberDropout(name=old.name) if isinstance(old, keras.layers.Dropout) else old for old in plain.layers]
    model = keras.Sequential([keras.Input((FACTS.n_features,)), *layers])
    start = draw_initial_weights(one, list_weight_shapes(one.config, FACTS))
    for variable in plain.weights:
        variable.assign(start[get_weight_name(variable)])
    for layer in filter(lambda new: isinstance(new, MemberDropout), layers):
        is_input = layer.name == "input_dropout"
        layer.rate.assign(one.config.input_dropout if is_input else one.config.dropout)
        layer.key.assign([derive_seed(one.seed, "dropout", 0 if is_input else int(layer.name[-1])), 0])
    return model


def batches(one, train, n_epochs):
    """The batches of a member, epoch by epoch."""
    import jax

    from sweep.study.config import derive_seed

    for epoch in range(1, n_epochs + 1):
        key = jax.random.wrap_key_data(np.array([derive_seed(one.seed, "order"), epoch], np.uint32))
        order = np.asarray(jax.random.permutation(key, len(train.y)))
        for start in range(0, len(order), one.config.batch_size):
            batch = order[start : start + one.config.batch_size]
            yield read_rows(one, train.x[batch], epoch, start // one.config.batch_size), one_hot(train.y[batch])


def read_rows(one, rows, epoch, step):
    """The rows of one batch as they are trained on."""
    from sweep.study.config import derive_seed
    from sweep.train.cohort.augment import augment, derive_step_key
    from sweep.train.distortion import Strengths

    if not one.config.augments:
        return rows.astype(np.float32)
    key = derive_step_key(np.array([derive_seed(one.seed, "augment"), epoch], np.uint32), step)
    return np.asarray(augment(rows, key, Strengths.of(one.config), IMAGES.image_shape))


def one_hot(labels):
    return np.eye(3, dtype=np.float32)[labels]


@pytest.mark.parametrize(
    ("n_rows", "changes"),
    [
        pytest.param(288, {}, id="whole batches", marks=pytest.mark.slow),
        pytest.param(310, {"dropout": 0.0}, id="a short batch"),
        pytest.param(310, {"dropout": 0.0, "batch_norm": False}, id="a short batch without batch norm", marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_a_member_is_what_fit_trains(on_jax, n_rows, changes):
    rows = Split(TRAIN.x[:n_rows], TRAIN.y[:n_rows])
    one = trial(**changes)
    [history], [weights], _ = on_jax(trained, [one], 3, rows)
    reference, wanted = on_jax(fit, one, 3, rows)
    assert_alike(weights, wanted, 2e-5)
    for ours, theirs in zip(history, reference, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)


@pytest.mark.parametrize(
    "recipe", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in RECIPES]
)
def test_a_member_is_what_fit_trains_with_what_keras_has_for_its_recipe(on_jax, recipe):
    one, whole_batches = trial(**RECIPES[recipe]), Split(TRAIN.x[:288], TRAIN.y[:288])
    [history], [weights], _ = on_jax(trained, [one], 2, whole_batches)
    reference, wanted = on_jax(fit, one, 2, whole_batches)
    assert_alike(weights, wanted, 2e-5)
    for ours, theirs in zip(history, reference, strict=True):
        assert ours == pytest.approx(theirs, abs=2e-5)


@pytest.mark.slow
def test_a_member_is_what_fit_trains_on_images_that_are_distorted_alike(on_jax):
    one, images = trial(**DISTORTED), to_images(Split(TRAIN.x[:288], TRAIN.y[:288]))
    [history], [weights], _ = on_jax(trained, [one], 2, images)
    reference, wanted = on_jax(fit, one, 2, images)
    assert_alike(weights, wanted, 2e-5)
    for ours, theirs in zip(history, reference, strict=True):
        assert ours == pytest.approx(theirs, abs=2e-5)
    [undistorted], _, _ = on_jax(trained, [trial()], 2, images)
    assert undistorted[0]["loss"] != pytest.approx(history[0]["loss"], abs=1e-3), "it is in use"


@pytest.mark.slow
def test_members_that_distort_images_and_one_that_does_not_train_in_one_program_as_each_does_alone(on_jax):
    # Without batch norm: on pixels, which are never negative, it leaves idle biases (see `assert_alike`).
    changes = ({}, {"augment_shift": 2.0}, DISTORTED)
    unlike = [trial(i, batch_norm=False, **change) for i, change in enumerate(changes)]
    images = to_images(TRAIN)
    together, weights, on_train = on_jax(trained, unlike, 2, images)
    for i, one in enumerate(unlike):
        [alone], [wanted], [metrics] = on_jax(trained, [one], 2, images)
        assert_alike(weights[i], wanted, 2e-5)
        assert together[i] == [pytest.approx(logs, abs=2e-5) for logs in alone]
        assert on_train[i] == pytest.approx(metrics, abs=2e-5)


def padding_of(trials, n_epochs):
    """The largest weight, of those that are trained, beyond a member's own widths."""
    cohort = cohort_of(trials)
    for _ in range(n_epochs):
        cohort.train_epoch()
    cohort.keep([True] * len(trials))
    blueprint, largest = cohort.program.blueprint, 0.0
    for member, one in enumerate(trials):
        own = blueprint.extract_weights(cohort._best, member, one.config)
        for variable, stack in zip(blueprint.model.trainable_variables, cohort._best[0], strict=True):
            padded = np.array(stack[member])
            padded[tuple(map(slice, own["/".join(variable.path.split("/")[-2:])].shape))] = 0
            largest = max(largest, np.abs(padded).max())
    return largest


@pytest.mark.slow
def test_padding_stays_zero_whatever_the_recipe(on_jax):
    assert on_jax(padding_of, UNLIKE_RECIPES, 2) == 0


@pytest.mark.slow
def test_members_of_unlike_recipes_train_in_one_program_as_each_does_alone(on_jax):
    together, weights, on_train = on_jax(trained, UNLIKE_RECIPES, 2)
    for i, one in enumerate(UNLIKE_RECIPES):
        [alone], [wanted], [metrics] = on_jax(trained, [one], 2)
        assert_alike(weights[i], wanted, 2e-5)
        assert together[i] == [pytest.approx(logs, abs=2e-5) for logs in alone]
        assert on_train[i] == pytest.approx(metrics, abs=2e-5)


def in_fewer_places(trials, members):
    """Logs of two epochs of all, then of two of `members` alone; and those of `members` when all go on."""
    from sweep.train.cohort.bucket import round_up
    from sweep.train.cohort.program import Program

    apart, whole = cohort_of(trials), cohort_of(trials)
    for cohort in (apart, whole):
        cohort.train_epoch()
        cohort.keep([True] * len(trials))
    fewer = apart.compact(members, Program(apart.program.blueprint, round_up(len(members))))
    logs, wanted = fewer.train_epoch(), whole.train_epoch()
    fewer.keep([False] * len(members))
    return (
        logs,
        [wanted[i] for i in members],
        fewer.fetch_kept_weights(),
        [whole.fetch_kept_weights()[i] for i in members],
    )


@pytest.mark.slow
def test_survivors_go_on_in_fewer_places_as_they_would_have(on_jax):
    logs, wanted, weights, kept = on_jax(in_fewer_places, UNLIKE[:8], [1, 4, 6])
    for ours, theirs in zip(logs, wanted, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)
    for ours, theirs in zip(weights, kept, strict=True):  # those of the first epoch
        assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
