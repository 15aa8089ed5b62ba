"""Metrics of classification that take a prediction of every row, by scikit-learn. Pure: numbers in, numbers out."""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, f1_score, recall_score, roc_auc_score

from sweep.trial import Logs

Labels = NDArray[np.int32]
Probabilities = NDArray[np.floating]
CHANCE = 0.5  # of an area where there is nothing to tell apart


def measure_ranked(names: Iterable[str], probabilities: Probabilities, labels: Labels) -> Logs:
    """Return the metrics called `names`, of those in `study.objective.RANKED`.

    probabilities: shape (n, n_classes), finite; labels: class numbers, shape (n,). Each is a mean over the classes that have
    rows here, all of the same weight. Balanced accuracy is the mean recall (Brodersen et al. 2010, ICPR, p. 3121). Areas
    are those of each class against the rest (Provost and Domingos 2003, Machine Learning 52:199, section 3.4); with two
    classes, of the second alone.
    """
    return {name: _MEASURES[name](probabilities, labels) for name in names}


def _measure_balanced_accuracy(probabilities: Probabilities, labels: Labels) -> float:
    return float(recall_score(labels, probabilities.argmax(axis=1), labels=np.unique(labels), average="macro"))


def _measure_macro_f1(probabilities: Probabilities, labels: Labels) -> float:
    present = np.unique(labels)
    return float(f1_score(labels, probabilities.argmax(axis=1), labels=present, average="macro", zero_division=0))


def _average_over_classes(
    measure: Callable[[NDArray[np.bool_], Probabilities], float], probabilities: Probabilities, labels: Labels
) -> float:
    """Return the mean of `measure` over the classes that have rows, and that other rows are not of."""
    classes = [1] if probabilities.shape[1] == 2 else range(probabilities.shape[1])
    areas = [
        measure(is_of, probabilities[:, number])
        for number in classes
        if (is_of := labels == number).any() and not is_of.all()
    ]
    return float(np.mean(areas)) if areas else CHANCE


def _measure_roc_auc(probabilities: Probabilities, labels: Labels) -> float:
    return _average_over_classes(roc_auc_score, probabilities, labels)


def _measure_average_precision(probabilities: Probabilities, labels: Labels) -> float:
    return _average_over_classes(average_precision_score, probabilities, labels)


_MEASURES: dict[str, Callable[[Probabilities, Labels], float]] = {
    "balanced_accuracy": _measure_balanced_accuracy,
    "macro_f1": _measure_macro_f1,
    "roc_auc": _measure_roc_auc,
    "average_precision": _measure_average_precision,
}
