"""Class weights and metrics of predictions on the JAX engine, in a process whose Keras runs on JAX."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from sweep.data.prepared import Split
from tests.train.cohort.members import FACTS, TRAIN, VALIDATION, trial

KEPT = np.flatnonzero((TRAIN.y == 0) | (np.arange(len(TRAIN.y)) % 5 == 0))
UNEVEN = Split(TRAIN.x[KEPT], TRAIN.y[KEPT])


def trained(trials, is_balanced, ranked):
    """Logs of one epoch by member, what members say of the validation rows, and their weights."""
    from sweep.train.cohort.bucket import group_into_buckets, round_up
    from sweep.train.cohort.member import Blueprint, DeviceRows
    from sweep.train.cohort.program import Cohort, Program

    [bucket] = group_into_buckets(trials)
    rows = DeviceRows.of(FACTS, UNEVEN, VALIDATION)
    blueprint = Blueprint(bucket, rows, "float32", 2, is_balanced=is_balanced, ranked=ranked)
    cohort = Cohort(Program(blueprint, round_up(len(trials))), trials)
    logs = cohort.train_epoch()
    cohort.keep([True] * len(trials))
    return logs, cohort.fetch_kept_weights()


def answer(one, weights, rows):
    """What a net of these weights says of rows."""
    from sweep.train.model import build_net, get_weight_name

    net = build_net(one.config, FACTS)
    for variable in net.weights:
        variable.assign(weights[get_weight_name(variable)])
    return np.asarray(net(rows))


@pytest.mark.slow
def test_metrics_of_predictions_are_those_of_each_member_and_of_one_that_diverges_none(on_jax):
    trials = [trial(0, units=(9, 5)), trial(1, units=(16, 8)), trial(2, units=(16, 8), learning_rate=1e30)]
    logs, weights = on_jax(trained, trials, False, ("roc_auc", "average_precision"))
    for one, its, saved in zip(trials[:2], logs, weights, strict=False):
        said = on_jax(answer, one, saved, VALIDATION.x)
        assert its["val_roc_auc"] == pytest.approx(roc_auc_score(VALIDATION.y, said, multi_class="ovr"), abs=1e-5)
        wanted = average_precision_score(np.eye(3)[VALIDATION.y], said)
        assert its["val_average_precision"] == pytest.approx(wanted, abs=1e-5)
    assert "val_roc_auc" not in logs[2] or not np.isfinite(logs[2]["val_loss"])


@pytest.mark.slow
def test_balanced_classes_weigh_alike_in_the_loss_of_every_member(on_jax):
    # Of the rows, six in ten are of class 0; a net that learns next to nothing has the loss of its first weights.
    one = trial(0, learning_rate=1e-8, dropout=0.0, batch_norm=False)
    [plain], [weights] = on_jax(trained, [one], False, ())
    [balanced], _ = on_jax(trained, [one], True, ())
    losses = -np.log(on_jax(answer, one, weights, UNEVEN.x)[np.arange(len(KEPT)), UNEVEN.y])
    counts = np.bincount(UNEVEN.y)
    assert plain["loss"] == pytest.approx(losses.mean(), abs=1e-4)
    wanted = np.mean([losses[UNEVEN.y == k].mean() for k in range(3)])
    assert balanced["loss"] == pytest.approx(wanted, abs=1e-4)
    assert counts[0] > 1.5 * counts[1]
