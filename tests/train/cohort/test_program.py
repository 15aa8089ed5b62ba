"""Programs of the JAX engine, in a process whose Keras runs on JAX."""

import numpy as np
import pytest

from sweep.data.prepared import Split
from tests.train.cohort.members import FACTS, TRAIN, UNLIKE, VALIDATION, assert_alike, trial


def cohort_of(trials, train=TRAIN, precision="float32"):
    from sweep.train.cohort.bucket import group_into_buckets, round_up
    from sweep.train.cohort.member import Blueprint, DeviceRows
    from sweep.train.cohort.program import Cohort, Program

    [bucket] = group_into_buckets(trials)
    blueprint = Blueprint(bucket, DeviceRows.of(FACTS, train, VALIDATION), precision)
    return Cohort(Program(blueprint, round_up(len(trials))), trials)


def trained(trials, n_epochs, train=TRAIN):
    """Logs of each epoch, the weights after the last and their metrics on the training rows, by trial."""
    cohort = cohort_of(trials, train)
    history = [cohort.train_epoch() for _ in range(n_epochs)]
    cohort.keep([True] * len(trials))
    return [list(logs) for logs in zip(*history, strict=True)], cohort.fetch_kept_weights(), cohort.evaluate_kept()


def fit(one, n_epochs, train):
    """`model.fit` from the same weights, on the same batches and with the same masks."""
    import jax
    import keras

    from sweep.study.config import derive_seed
    from sweep.train.cohort.member import MemberDropout, draw_initial_weights
    from sweep.train.model import build_net, get_weight_name, list_weight_shapes

    plain = build_net(one.config, FACTS)
    layers = [MemberDropout(name=old.name) if isinstance(old, keras.layers.Dropout) else old for old in plain.layers]
    model = keras.Sequential([keras.Input((FACTS.n_features,)), *layers])
    start = draw_initial_weights(one, list_weight_shapes(one.config, FACTS))
    for variable in plain.weights:
        variable.assign(start[get_weight_name(variable)])
    for i, layer in enumerate(filter(lambda new: isinstance(new, MemberDropout), layers), start=1):
        layer.rate.assign(one.config.dropout)
        layer.key.assign([derive_seed(one.seed, "dropout", i), 0])
    model.compile(
        keras.optimizers.Adam(one.config.learning_rate), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    history = []
    for epoch in range(1, n_epochs + 1):
        key = jax.random.wrap_key_data(np.array([derive_seed(one.seed, "order"), epoch], np.uint32))
        order = np.asarray(jax.random.permutation(key, len(train.y)))
        done = model.fit(
            train.x[order].astype(np.float32),
            train.y[order],
            batch_size=one.config.batch_size,
            shuffle=False,
            verbose=0,
            validation_data=(VALIDATION.x.astype(np.float32), VALIDATION.y),
            validation_batch_size=1000,
        )
        history.append({name: values[0] for name, values in done.history.items()})
    return history, {get_weight_name(v): np.asarray(v) for v in plain.weights}


@pytest.mark.parametrize(
    ("n_rows", "changes"),
    [(288, {}), (310, {"dropout": 0.0}), (310, {"dropout": 0.0, "batch_norm": False})],
    ids=["whole batches", "a short batch", "a short batch without batch norm"],
)
def test_a_member_is_what_fit_trains(on_jax, n_rows, changes):
    rows = Split(TRAIN.x[:n_rows], TRAIN.y[:n_rows])
    one = trial(**changes)
    [history], [weights], _ = on_jax(trained, [one], 3, rows)
    reference, wanted = on_jax(fit, one, 3, rows)
    assert_alike(weights, wanted, 2e-5)
    for ours, theirs in zip(history, reference, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)


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
