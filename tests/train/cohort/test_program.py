"""The JAX engine, in a process whose Keras runs on JAX."""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from sweep.data.files import read
from sweep.data.prepared import Split, prepare
from sweep.study.config import Config
from sweep.study.schema import Data, EarlyStopping, Training
from sweep.trial import Trial
from tests.studies import FACTS, write_tiny_data

N_TRAIN, N_VALIDATION = 310, 120  # of batches of 32, nine are whole and one is not
# Standardized rows: of rows that are never negative, as pixels, many a unit is never below zero (see `assert_alike`).
FACTS = replace(FACTS, n_train=N_TRAIN, n_validation=N_VALIDATION, scaling="standardize")


def settle_in():
    os.environ["KERAS_BACKEND"] = "jax"
    os.environ["XLA_FLAGS"] = "--xla_backend_optimization_level=0"  # compiles in half the time


@pytest.fixture(scope="module")
def on_jax():
    """Calls a function of this module in that process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, settle_in) as process:
        yield lambda function, *arguments: process.submit(function, *arguments).result()


def split(n, seed):
    rng = np.random.default_rng(seed)
    prototypes = np.random.default_rng(0).normal(0, 1, (3, FACTS.n_features))
    y = rng.integers(0, 3, n).astype(np.int32)
    return Split((prototypes[y] + rng.normal(0, 2, (n, FACTS.n_features))).astype(np.float32), y)


TRAIN, VALIDATION = split(N_TRAIN, 1), split(N_VALIDATION, 2)


def trial(number=0, **changes):
    config = Config(**{"units": (24, 12), "dropout": 0.3, "batch_size": 32, "learning_rate": 0.003, **changes})
    return Trial(number=number, phase="search", config=config, seed=1000 + number)


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
    from sweep.train.model import build_model, compute_moments, get_weight_name, list_weight_shapes

    plain = build_model(one.config, FACTS, compute_moments(train.x, FACTS))
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


def assert_alike(weights, wanted, tolerance):
    """Equal weights, within `tolerance`.

    Where a unit is never below zero, batch norm takes its bias out again: the gradient is rounding alone, which Adam
    scales up to whole steps. So biases, and the means that follow them, may be further apart.
    """
    assert weights.keys() == wanted.keys()
    has_norm = "batch_norm_1/gamma" in wanted
    for name, value in wanted.items():
        idle = has_norm and name.endswith(("bias", "moving_mean"))
        np.testing.assert_allclose(weights[name], value, atol=20 * tolerance if idle else tolerance, err_msg=name)


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


DATA = Data(source="tiny.npz", validation_rows=100)


def fitter_on(folder, training, **options):
    from sweep.train.cohort.fitter import CohortFitter

    return CohortFitter(
        prepare(read(DATA, folder), DATA, 1, folder / "cache"), training, {"engine": "cohort"}, **options
    )


def fitted(folder, groups, training, pruned=()):
    """Result and weights of each trial by key, each of `groups` trained together; `pruned` are, at their rungs."""
    fitter, ended = fitter_on(folder, training), {}

    def end(trial, result, weights):
        assert trial.key not in ended
        ended[trial.key] = result, weights

    for group in groups:
        fitter.fit(group, lambda reports: {r.key: r.key not in pruned for r in reports if r.waits}, end)
    return ended, len(fitter._programs)


UNLIKE = [
    trial(
        number,
        units=(9 + 2 * (number % 4), 5 + number % 4),
        dropout=(1 + number % 5) / 10,
        learning_rate=0.003 * (1 + number % 3),
    )
    for number in range(16)
]
UNLIKE[3] = trial(3, units=(16, 8), dropout=0.0)
UNLIKE[5] = trial(5, units=(11, 6), learning_rate=1e30)  # diverges
UNLIKE[9] = trial(9, units=(15, 8), learning_rate=1e-9)  # never improves, and stops early
TRAINING = Training(max_epochs=6, early_stopping=EarlyStopping(monitor="val_loss", patience=2, min_delta=1e-4))


@pytest.fixture(scope="module")
def data_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohort")
    with np.load(write_tiny_data(folder)) as pixels:
        np.savez(
            folder / "tiny.npz", **{name: x.astype(np.float32) if "x" in name else x for name, x in pixels.items()}
        )
    return folder


@pytest.fixture(scope="module")
def together(on_jax, data_folder):
    return on_jax(fitted, data_folder, [UNLIKE], TRAINING)[0]


def test_each_of_sixteen_unlike_members_ends_as_it_does_alone(on_jax, data_folder, together):
    alone, n_programs = on_jax(fitted, data_folder, [[one] for one in UNLIKE], TRAINING)
    assert n_programs > 3  # at the trials' own widths, where the sixteen are padded to (16, 8)
    assert together["trial-00005"][0].reason.startswith("nan: loss is nan")
    assert together["trial-00009"][0].best_epoch < len(together["trial-00009"][0].history) < 6
    for key, (result, weights) in together.items():
        by_itself, wanted = alone[key]
        assert (result.state, result.best_epoch, len(result.history)) == (
            by_itself.state,
            by_itself.best_epoch,
            len(by_itself.history),
        )
        if result.state == "failed":
            continue
        assert result.metrics == pytest.approx(by_itself.metrics, abs=1e-5)
        assert_alike(weights, wanted, 1e-5)


def fitted_and_compacted(*arguments):
    """The same, where every cohort that can goes on in fewer places."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sweep.train.cohort.fitter.compaction_pays", lambda n_fewer, n_members, *_: n_fewer < n_members)
        return fitted(*arguments)


def test_the_pruned_leave_at_their_rung_and_the_others_go_on_in_fewer_places_as_they_would_have(
    on_jax, data_folder, together
):
    waiting = [replace(one, rungs=(2,)) for one in UNLIKE]
    pruned = [one.key for one in UNLIKE if one.number not in (1, 5, 7)]
    ended, n_programs = on_jax(fitted_and_compacted, data_folder, [waiting], TRAINING, pruned)
    assert n_programs == 2
    for key, (result, _) in ended.items():
        if key in pruned:
            assert (result.state, len(result.history)) == ("pruned", 2)
            assert set(result.metrics) == {"val_loss", "val_accuracy"}
            assert result.history == together[key][0].history[:2]
        else:
            assert result.state == together[key][0].state
            assert result.metrics == pytest.approx(together[key][0].metrics, abs=1e-5)


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


def test_survivors_go_on_in_fewer_places_as_they_would_have(on_jax):
    logs, wanted, weights, kept = on_jax(in_fewer_places, UNLIKE[:8], [1, 4, 6])
    for ours, theirs in zip(logs, wanted, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)
    for ours, theirs in zip(weights, kept, strict=True):  # those of the first epoch
        assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)


def with_a_poisoned_member(folder, trials, key, what="RESOURCE_EXHAUSTED: out of memory"):
    """Results of `trials` by key, where any cohort that `key` is in breaks after its first epoch, as JAX says it does."""
    from jax.errors import JaxRuntimeError

    from sweep.train.cohort.program import Cohort

    class Poisoned(Cohort):
        def keep(self, is_kept):
            if key in [one.key for one in self.trials]:
                raise JaxRuntimeError(what)
            super().keep(is_kept)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sweep.train.cohort.fitter.Cohort", Poisoned)
        return fitted(folder, [trials], TRAINING)[0]


def test_a_member_that_breaks_its_cohort_fails_alone(on_jax, data_folder, together):
    four = [UNLIKE[i] for i in (0, 2, 8, 10)]
    ended = on_jax(with_a_poisoned_member, data_folder, four, "trial-00008")
    failed = ended.pop("trial-00008")[0]
    assert (failed.state, failed.reason) == ("failed", "JaxRuntimeError: RESOURCE_EXHAUSTED: out of memory")
    assert 0 < failed.started_at < failed.ended_at
    for key, (result, _) in ended.items():
        assert result.metrics == pytest.approx(together[key][0].metrics, abs=1e-5)


def test_a_device_that_breaks_fails_no_trial_but_its_process(on_jax, data_folder):
    with pytest.raises(RuntimeError, match="an illegal memory access"):
        on_jax(with_a_poisoned_member, data_folder, UNLIKE[:2], "trial-00000", "INTERNAL: an illegal memory access")


def cut_by_memory(folder, trials):
    """Sizes of the cohorts that `trials` train in, where memory is short by a third of what they take together."""
    from sweep.train.cohort.bucket import group_into_buckets
    from sweep.train.cohort.member import Blueprint
    from sweep.train.cohort.program import Program

    [bucket] = group_into_buckets(trials)
    fitter = fitter_on(folder, TRAINING)
    together = Program(Blueprint(bucket, fitter.rows, "float32"), len(trials))
    short = fitter_on(folder, TRAINING, max_bytes=together.n_bytes * 2 // 3)
    sizes = []
    short.fit(trials, lambda reports: sizes.append(len(reports)) or {}, lambda *result: None)
    return together.n_bytes, sizes


def test_a_cohort_is_cut_to_what_the_device_has_memory_for(on_jax, data_folder):
    n_bytes, sizes = on_jax(cut_by_memory, data_folder, UNLIKE[:4])
    n_weights = 64 * 16 + 16 * 8 + 8 * 3  # of kernels alone, at the padded widths
    assert n_bytes > 4 * 4 * 4 * n_weights  # four members: weights, Adam's two moments, the best weights
    assert set(sizes) == {2}


def losses(folder, trials):
    ended, _ = fitted(folder, [trials], Training(max_epochs=4))
    return [ended[one.key][0].metrics["val_loss"] for one in trials]


def test_both_engines_train_alike_over_seeds(on_jax, data_folder, tmp_path):
    from sweep.train.graph.fitter import Fitter  # here, for the other process imports this module and has no TensorFlow

    config = Config(units=(16, 8), dropout=0.3, batch_size=32, learning_rate=0.002)
    trials = [Trial(number=i, phase="search", config=config, seed=i) for i in range(16)]
    graph = Fitter(prepare(read(DATA, data_folder), DATA, 1, data_folder / "cache"), Training(max_epochs=4), {})
    others = [graph.fit(one, lambda report: True, tmp_path / one.key).metrics["val_loss"] for one in trials]
    assert stats.ttest_ind(on_jax(losses, data_folder, trials), others).pvalue > 0.01
