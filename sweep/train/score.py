"""Score finished models on the sealed test split. No other file opens that split."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from sweep.data.prepared import PreparedData, Split, open_test_split
from sweep.record.predictions import AnyPredictions, Predictions, Values
from sweep.study.objective import RANKED
from sweep.train.graph.trainer import EVALUATION_BATCH
from sweep.train.measures import measure_errors, prefix
from sweep.train.model import load_model
from sweep.train.ranked import measure_ranked
from sweep.trial import Logs


def score_models(models: dict[str, Path], data: PreparedData) -> dict[str, tuple[Logs, bytes]]:
    """Return the test metrics of each saved model, and its packed predictions, by its key.

    The metrics are `test_loss`, the mean cross-entropy, `test_accuracy`, and those that rank; of regression, the test errors in the unit of the
    label.
    """
    test = open_test_split(data)
    score = _score_classes if data.facts.task == "classification" else _score_values
    scores = {}
    for key, path in models.items():
        metrics, predictions = score(load_model(path), test)
        scores[key] = prefix(metrics, "test_"), predictions.pack()
        keras.utils.clear_session(free_memory=False)
    return scores


def _score_classes(model: keras.Model, test: Split) -> tuple[Logs, AnyPredictions]:
    log_probabilities = log_softmax(compute_logits(model, test.x), axis=1)
    predictions = Predictions.of(np.exp(log_probabilities), test.y, test.x)
    losses = -log_probabilities[np.arange(len(test.y)), test.y]
    metrics = {"loss": float(losses.mean()), "accuracy": float(predictions.correct.mean())}
    return metrics | measure_ranked(RANKED, np.exp(log_probabilities), test.y), predictions


def _score_values(model: keras.Model, test: Split) -> tuple[Logs, AnyPredictions]:
    values = Values.of(_compute(model, test.x)[:, 0], test.y, test.x)
    errors = values.errors
    return measure_errors(float((errors**2).mean()), float(np.abs(errors).mean()), float(test.y.var())), values


def compute_logits(model: keras.Model, rows: NDArray[Any]) -> NDArray[np.float64]:
    """Compute the logits of a loaded model, shape (n, n_classes). It answers in logits from then on.

    rows: as in the data, shape (n, n_features). The loss follows from logits, as it does in training: probabilities of
    float32 end at 1e-45.
    """
    model.layers[-1].activation = keras.activations.linear
    return _compute(model, rows)


def _compute(model: keras.Model, rows: NDArray[Any]) -> NDArray[np.float64]:
    """Compute the outputs of a loaded model, shape (n, n_outputs), for rows as in the data."""
    batches = np.split(rows, range(EVALUATION_BATCH, len(rows), EVALUATION_BATCH))
    return np.concatenate([np.asarray(model(batch.astype(model.inputs[0].dtype)), np.float64) for batch in batches])
