"""Metrics of predictions against scikit-learn's own for whole problems, and at their edges."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, balanced_accuracy_score, f1_score, roc_auc_score

from sweep.study.objective import RANKED
from sweep.train.ranked import measure_ranked

RNG = np.random.default_rng(2)


def draw(n, n_classes):
    labels = RNG.integers(0, n_classes, n).astype(np.int32)
    logits = RNG.normal(0, 1, (n, n_classes)) + 1.5 * np.eye(n_classes)[labels]
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), labels


def test_of_several_classes_they_are_macro_averages_one_against_the_rest():
    probabilities, labels = draw(300, 4)
    found = measure_ranked(RANKED, probabilities, labels)
    said = probabilities.argmax(axis=1)
    assert found == {
        "balanced_accuracy": pytest.approx(balanced_accuracy_score(labels, said)),
        "macro_f1": pytest.approx(f1_score(labels, said, average="macro")),
        "roc_auc": pytest.approx(roc_auc_score(labels, probabilities, multi_class="ovr")),
        "average_precision": pytest.approx(average_precision_score(np.eye(4)[labels], probabilities)),
    }


def test_of_two_classes_the_areas_are_those_of_the_second():
    probabilities, labels = draw(300, 2)
    found = measure_ranked(RANKED, probabilities, labels)
    assert found["roc_auc"] == pytest.approx(roc_auc_score(labels, probabilities[:, 1]))
    assert found["average_precision"] == pytest.approx(average_precision_score(labels, probabilities[:, 1]))


def test_classes_without_rows_do_not_count():
    probabilities, labels = draw(300, 4)
    few = labels > 1
    found = measure_ranked(RANKED, probabilities[few], labels[few])
    recalls = [(probabilities[labels == k].argmax(axis=1) == k).mean() for k in (2, 3)]
    assert found["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    assert all(0 < value <= 1 for value in found.values())
    one = measure_ranked(RANKED, probabilities[labels == 2], labels[labels == 2])
    assert (one["roc_auc"], one["average_precision"]) == (0.5, 0.5)


def test_only_what_is_asked_for_is_measured():
    assert measure_ranked(["macro_f1"], *draw(30, 3)).keys() == {"macro_f1"}
