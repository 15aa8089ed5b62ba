"""A model's predicted class for every test row: enough to compare models row by row without the models."""

import io
import zipfile
import zlib
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

MAX_MISTAKES = 64  # mistakes whose rows are kept


@dataclass(frozen=True)
class Predictions:
    """The true and the predicted class of n test rows, and the k most confident mistakes, the most confident first."""

    labels: NDArray[np.uint16]  # (n,)
    predicted: NDArray[np.uint16]  # (n,)
    mistakes: NDArray[np.int32]  # (k,), row numbers
    certainty: NDArray[np.float32]  # (k,), probability of the predicted class
    rows: NDArray[np.uint8 | np.float32]  # (k, n_features), as in the data

    @classmethod
    def of(
        cls, probabilities: NDArray[np.float64], labels: NDArray[np.int32], rows: NDArray[np.generic]
    ) -> "Predictions":
        """Summarize a model's output.

        probabilities: shape (n, n_classes); labels: true classes, shape (n,); rows: features, shape (n, n_features).
        """
        predicted = probabilities.argmax(axis=1)
        certainty = probabilities[np.arange(len(labels)), predicted]
        wrong = np.flatnonzero(predicted != labels)
        mistakes = wrong[np.argsort(-certainty[wrong], kind="stable")][:MAX_MISTAKES]
        return cls(
            labels.astype(np.uint16),
            predicted.astype(np.uint16),
            mistakes.astype(np.int32),
            certainty[mistakes].astype(np.float32),
            np.asarray(rows[mistakes]),
        )

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Return whether each row is predicted correctly, shape (n,)."""
        return np.equal(self.labels, self.predicted)

    def confusion(self, n_classes: int) -> NDArray[np.int64]:
        """Count the rows of each true class (first axis) by predicted class (second axis)."""
        counts = np.zeros((n_classes, n_classes), np.int64)
        np.add.at(counts, (self.labels, self.predicted), 1)
        return counts

    def pack(self) -> bytes:
        """Return the predictions as an .npz file. Equal predictions give equal bytes."""
        file = io.BytesIO()
        np.savez_compressed(file, **asdict(self))
        return file.getvalue()

    @classmethod
    def unpack(cls, content: bytes) -> "Predictions":
        """Read predictions from the bytes that `pack` returned. Raises ValueError if they are damaged."""
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                return cls(**{name: arrays[name] for name in arrays.files})
        # RuntimeError: zipfile found an encrypted member, or an unknown compression
        except (OSError, EOFError, TypeError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(str(error) or type(error).__name__) from error
