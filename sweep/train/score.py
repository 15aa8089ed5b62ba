"""Score finished models on the sealed test split. No other file opens that split."""

from pathlib import Path

import keras
import numpy as np

from sweep.data.prepared import PreparedData, open_test_split
from sweep.record.predictions import Predictions
from sweep.train.graph.trainer import EVALUATION_BATCH
from sweep.train.model import load_model
from sweep.trial import Logs

EPSILON = 1e-7  # Keras clips probabilities at this before it takes the logarithm


def score_models(models: dict[str, Path], data: PreparedData) -> dict[str, tuple[Logs, bytes]]:
    """Return the test metrics of each saved model, and its packed predictions, by its key.

    The metrics are `test_loss`, the mean cross-entropy, and `test_accuracy`.
    """
    test = open_test_split(data)
    rows = np.asarray(test.x, np.float32)
    scores = {}
    for key, path in models.items():
        model = load_model(path)
        probabilities = np.asarray(model.predict(rows, batch_size=EVALUATION_BATCH, verbose=0), np.float64)
        of_truth = probabilities[np.arange(len(test.y)), test.y]
        predictions = Predictions.of(probabilities, test.y, test.x)
        metrics = {
            "test_loss": float(-np.log(np.clip(of_truth, EPSILON, 1.0)).mean()),
            "test_accuracy": float(predictions.correct.mean()),
        }
        scores[key] = metrics, predictions.pack()
        keras.utils.clear_session(free_memory=False)
    return scores
