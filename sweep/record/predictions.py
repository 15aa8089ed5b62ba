"""What a finished model said of each test row: enough to compare models image by image, without the model."""

import io
import zipfile
import zlib
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

MAX_MISTAKES = 64  # whose rows are kept


@dataclass(frozen=True)
class Predictions:
    """Of n test rows, as class numbers; and the k mistakes that the model was surest of, the surest first."""

    labels: NDArray[np.uint16]  # (n,)
    predicted: NDArray[np.uint16]  # (n,)
    mistakes: NDArray[np.int32]  # (k,), numbers of rows
    certainty: NDArray[np.float32]  # (k,), the probability that the model gave to what it predicted
    rows: NDArray[np.uint8 | np.float32]  # (k, n_features), as they are in the data

    @classmethod
    def of(
        cls, probabilities: NDArray[np.float64], labels: NDArray[np.int32], rows: NDArray[np.generic]
    ) -> "Predictions":
        """From a model's output, shape (n, n_classes), for `rows`, shape (n, n_features), of the classes `labels`."""
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
        """Shape (n,)."""
        return np.equal(self.labels, self.predicted)

    def confusion(self, n_classes: int) -> NDArray[np.int64]:
        """How many rows of each class (first axis) were taken for each (second)."""
        counts = np.zeros((n_classes, n_classes), np.int64)
        np.add.at(counts, (self.labels, self.predicted), 1)
        return counts

    def pack(self) -> bytes:
        """As the bytes of an .npz file, the same for the same predictions."""
        file = io.BytesIO()
        np.savez_compressed(file, **asdict(self))
        return file.getvalue()

    @classmethod
    def unpack(cls, content: bytes) -> "Predictions":
        """What was packed. Raises ValueError where that cannot be read."""
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                return cls(**{name: arrays[name] for name in arrays.files})
        # RuntimeError: encrypted, or a compression that zipfile does not know
        except (OSError, EOFError, TypeError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(str(error) or type(error).__name__) from error
