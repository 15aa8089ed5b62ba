"""Score finished models on the sealed test split. No other file opens that split."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from sweep.data.prepared import PreparedData, open_test_split
from sweep.record.predictions import Predictions
from sweep.train.graph.trainer import EVALUATION_BATCH
from sweep.train.model import load_model
from sweep.trial import Logs


def score_models(models: dict[str, Path], data: PreparedData) -> dict[str, tuple[Logs, bytes]]:
    """Return the test metrics of each saved model, and its packed predictions, by its key.

    The metrics are `test_loss`, the mean cross-entropy, and `test_accuracy`.
    """
    test = open_test_split(data)
    numbers = np.arange(len(test.y))
    scores = {}
    for key, path in models.items():
        log_probabilities = log_softmax(compute_logits(load_model(path), test.x), axis=1)
        predictions = Predictions.of(np.exp(log_probabilities), test.y, test.x)
        metrics = {
            "test_loss": float(-log_probabilities[numbers, test.y].mean()),
            "test_accuracy": float(predictions.correct.mean()),
        }
        scores[key] = metrics, predictions.pack()
        keras.utils.clear_session(free_memory=False)
    return scores


def compute_logits(model: keras.Model, rows: NDArray[Any]) -> NDArray[np.float64]:
    """Compute the logits of a loaded model, shape (n, n_classes). It answers in logits from then on.

    rows: as in the data, shape (n, n_features). The loss follows from logits, as it does in training: probabilities of
    float32 end at 1e-45.
    """
    model.layers[-1].activation = keras.activations.linear
    batches = np.split(rows, range(EVALUATION_BATCH, len(rows), EVALUATION_BATCH))
    return np.concatenate([np.asarray(model(batch.astype(model.inputs[0].dtype)), np.float64) for batch in batches])
