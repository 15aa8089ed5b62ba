"""Trials in cohorts from start to result, in a process whose Keras runs on JAX."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from scipy.special import log_softmax

from sweep.data.files import read
from sweep.data.prepared import open_scaling, open_training_split, prepare
from sweep.record.results import MODEL
from sweep.study.config import Config
from sweep.study.schema import Data
from sweep.study.training import EarlyStopping, Training
from sweep.trial import Phase, State, Trial
from tests.studies import write_tiny_data
from tests.train.cohort.members import RECIPES, UNLIKE, assert_alike, trial

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


@pytest.mark.slow
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
        if result.state == State.FAILED:
            continue
        assert result.metrics == pytest.approx(by_itself.metrics, abs=1e-5)
        assert_alike(weights, wanted, 1e-5)


def fitted_and_compacted(*arguments):
    """The same, where every cohort that can goes on in fewer places."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sweep.train.cohort.fitter.compaction_pays", lambda n_fewer, n_members, *_: n_fewer < n_members)
        return fitted(*arguments)


@pytest.mark.slow
def test_the_pruned_leave_at_their_rung_and_the_others_go_on_in_fewer_places_as_they_would_have(
    on_jax, data_folder, together
):
    waiting = [replace(one, rungs=(2,)) for one in UNLIKE]
    pruned = [one.key for one in UNLIKE if one.number not in (1, 5, 7)]
    ended, n_programs = on_jax(fitted_and_compacted, data_folder, [waiting], TRAINING, pruned)
    assert n_programs == 2
    for key, (result, _) in ended.items():
        if key in pruned:
            assert (result.state, len(result.history)) == (State.PRUNED, 2)
            assert set(result.metrics) == {"val_loss", "val_accuracy", "settled_val_loss", "settled_val_accuracy"}
            assert result.history == together[key][0].history[:2]
        else:
            assert result.state == together[key][0].state
            assert result.metrics == pytest.approx(together[key][0].metrics, abs=1e-5)


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


@pytest.mark.slow
def test_a_member_that_breaks_its_cohort_fails_alone(on_jax, data_folder, together):
    four = [UNLIKE[i] for i in (0, 2, 8, 10)]
    ended = on_jax(with_a_poisoned_member, data_folder, four, "trial-00008")
    failed = ended.pop("trial-00008")[0]
    assert (failed.state, failed.reason) == (State.FAILED, "JaxRuntimeError: RESOURCE_EXHAUSTED: out of memory")
    assert 0 < failed.started_at < failed.ended_at
    for key, (result, _) in ended.items():
        assert result.metrics == pytest.approx(together[key][0].metrics, abs=1e-5)


@pytest.mark.slow
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
    together = Program(Blueprint(bucket, fitter.rows, "float32", TRAINING.max_epochs), len(trials))
    short = fitter_on(folder, TRAINING, max_bytes=together.n_bytes * 2 // 3)
    sizes = []
    short.fit(trials, lambda reports: sizes.append(len(reports)) or {}, lambda *result: None)
    return together.n_bytes, sizes


@pytest.mark.slow
def test_a_cohort_is_cut_to_what_the_device_has_memory_for(on_jax, data_folder):
    n_bytes, sizes = on_jax(cut_by_memory, data_folder, UNLIKE[:4])
    n_weights = 64 * 16 + 16 * 8 + 8 * 3  # of kernels alone, at the padded widths
    assert n_bytes > 4 * 4 * 4 * n_weights  # four members: weights, Adam's two moments, the best weights
    assert set(sizes) == {2}


def losses(folder, trials):
    ended, _ = fitted(folder, [trials], Training(max_epochs=4))
    return [ended[one.key][0].metrics["val_loss"] for one in trials]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [{}, RECIPES["everything"]], ids=["no recipe", "everything"])
def test_both_engines_train_alike_over_seeds(on_jax, data_folder, tmp_path, recipe):
    from sweep.train.graph.fitter import Fitter  # here, for the other process imports this module and has no TensorFlow

    config = Config(**{"units": (16, 8), "dropout": 0.3, "batch_size": 32, "learning_rate": 0.002, **recipe})
    trials = [Trial(number=i, phase=Phase.SEARCH, config=config, seed=i) for i in range(16)]
    graph = Fitter(prepare(read(DATA, data_folder), DATA, 1, data_folder / "cache"), Training(max_epochs=4), {})
    others = [graph.fit(one, lambda report: True, tmp_path / one.key).metrics["val_loss"] for one in trials]
    assert stats.ttest_ind(on_jax(losses, data_folder, trials), others).pvalue > 0.01


@pytest.mark.slow
def test_a_member_s_model_gives_the_metrics_that_its_average_had(on_jax, data_folder):
    import keras

    from sweep.train.model import build_net, get_weight_name

    one = trial(**RECIPES["everything"] | {"batch_size": 32})
    result, weights = on_jax(fitted, data_folder, [[one]], TRAINING)[0][one.key]
    data = prepare(read(DATA, data_folder), DATA, 1, data_folder / "cache")
    net = build_net(one.config, data.facts)
    for variable in net.weights:
        variable.assign(weights[get_weight_name(variable)])
    for part, prefix in (("train", "train"), ("validation", "val")):
        rows = open_training_split(data, part)
        probabilities = np.asarray(net(np.asarray(rows.x)))
        loss = keras.losses.sparse_categorical_crossentropy(rows.y, probabilities).numpy().mean()
        assert result.metrics[f"{prefix}_loss"] == pytest.approx(loss, abs=1e-5)
        accuracy = (probabilities.argmax(axis=1) == rows.y).mean()
        assert result.metrics[f"{prefix}_accuracy"] == pytest.approx(accuracy, abs=1e-6)


@pytest.mark.slow
def test_a_wrong_and_certain_net_has_the_loss_of_its_logits_in_both_engines_and_in_the_score(
    on_jax, data_folder, tmp_path
):
    from sweep.train.artifacts import save_weights
    from sweep.train.graph.fitter import Fitter
    from sweep.train.model import load_model
    from sweep.train.score import compute_logits

    config = Config(units=(8,), dropout=0.0, batch_size=32, learning_rate=9.0)
    one = Trial(number=0, phase=Phase.SEARCH, config=config, seed=1)
    training = Training(max_epochs=2)
    data = prepare(read(DATA, data_folder), DATA, 1, data_folder / "cache")
    result, weights = on_jax(fitted, data_folder, [[one]], training)[0][one.key]
    save_weights(tmp_path / "cohort", one, result, weights, data.facts, open_scaling(data))
    by_engine = {
        "cohort": result,
        "graph": Fitter(data, training, {}).fit(one, lambda report: True, tmp_path / "graph"),
    }
    rows = open_training_split(data, "validation")
    unscaled = read(DATA, data_folder).x_train.reshape(-1, 64)
    order = {tuple(scaled): raw for scaled, raw in zip(open_scaling(data).apply(unscaled), unscaled, strict=True)}
    raw = np.array([order[tuple(row)] for row in rows.x])
    for engine, its in by_engine.items():
        logits = compute_logits(load_model(tmp_path / engine / MODEL), raw)
        loss = -log_softmax(logits, axis=1)[np.arange(len(raw)), rows.y].mean()
        assert loss > 20, engine  # more than any mean of losses clipped at 1e-7
        np.testing.assert_allclose(its.history[-1]["val_loss"], loss, rtol=1e-4, err_msg=engine)
