"""Metrics against scikit-learn's."""

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error
from sklearn.utils.class_weight import compute_class_weight

from sweep.data.scaling import Target, fit_target
from sweep.train.measures import balance, measure_errors, to_metrics

RNG = np.random.default_rng(1)
LABELS = RNG.normal(50, 7, 200)
PREDICTED = LABELS + RNG.normal(1, 3, 200)


def test_errors_are_those_of_scikit_learn():
    errors = PREDICTED - LABELS
    found = measure_errors((errors**2).mean(), np.abs(errors).mean(), LABELS.var())
    assert found["rmse"] == pytest.approx(root_mean_squared_error(LABELS, PREDICTED), rel=1e-12)
    assert found["mae"] == pytest.approx(mean_absolute_error(LABELS, PREDICTED), rel=1e-12)
    assert found["r2"] == pytest.approx(r2_score(LABELS, PREDICTED), rel=1e-12)


@pytest.mark.parametrize("predicted", [[3.0, 3.0], [3.0, 4.0]])
def test_labels_that_are_all_equal_have_the_r2_of_scikit_learn(predicted):
    errors = np.array(predicted) - 3
    assert measure_errors((errors**2).mean(), np.abs(errors).mean(), 0.0)["r2"] == r2_score([3, 3], predicted)


def test_what_is_measured_of_standardized_labels_is_told_in_their_unit():
    target = fit_target(LABELS)
    scaled, errors = (LABELS - target.center) / target.spread, (PREDICTED - LABELS) / target.spread
    means = {"loss": 0.3, "square": (errors**2).mean(), "absolute": np.abs(errors).mean()}
    found = to_metrics(means, target, float(scaled.var()))
    assert found["loss"] == 0.3
    assert found["rmse"] == pytest.approx(root_mean_squared_error(LABELS, PREDICTED))
    assert found["r2"] == pytest.approx(r2_score(LABELS, PREDICTED))


def test_the_loss_of_classes_is_told_as_it_is():
    assert to_metrics({"loss": 0.3, "accuracy": 0.9}, None, 0.0) == {"loss": 0.3, "accuracy": 0.9}


def test_balanced_weights_are_those_of_scikit_learn():
    labels = np.repeat(np.arange(3), (50, 7, 3)).astype(np.int32)
    wanted = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert balance(labels, 3) == pytest.approx(wanted, rel=1e-6)
    assert np.isfinite(balance(labels, 4)).all(), "a class that no training row has"


def test_a_constant_label_has_a_spread_of_1():
    assert fit_target(np.full(5, 0.1)) == Target(0.1, 1.0)
