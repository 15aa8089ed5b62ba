"""What a model predicts for every test row: enough to compare models row by row without the models."""

import io
import zipfile
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from sweep.data.files import UNREADABLE
from sweep.durable.given import MAX_PREDICTIONS_BYTES

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

    scores = correct  # of each row; their mean is the accuracy

    def confusion(self, n_classes: int) -> NDArray[np.int64]:
        """Count the rows of each true class (first axis) by predicted class (second axis)."""
        counts = np.zeros((n_classes, n_classes), np.int64)
        np.add.at(counts, (self.labels, self.predicted), 1)
        return counts

    def pack(self) -> bytes:
        """Return the predictions as an .npz file. Equal predictions give equal bytes."""
        return _pack(asdict(self))


@dataclass(frozen=True)
class Values:
    """The true and the predicted number of n test rows, in the unit of the label, and the k largest errors, largest first."""

    labels: NDArray[np.float64]  # (n,)
    predicted: NDArray[np.float64]  # (n,)
    worst: NDArray[np.int32]  # (k,), row numbers
    rows: NDArray[np.uint8 | np.float32 | np.float64]  # (k, n_features), as in the data

    @classmethod
    def of(cls, predicted: NDArray[np.float64], labels: NDArray[np.float64], rows: NDArray[np.generic]) -> "Values":
        """Summarize a model's output. predicted, labels: shape (n,); rows: features, shape (n, n_features)."""
        worst = np.argsort(-np.abs(predicted - labels), kind="stable")[:MAX_MISTAKES].astype(np.int32)
        return cls(np.asarray(labels, np.float64), np.asarray(predicted, np.float64), worst, np.asarray(rows[worst]))

    @property
    def errors(self) -> NDArray[np.float64]:
        """Return what each prediction is above its label, shape (n,)."""
        return np.subtract(self.predicted, self.labels)

    @property
    def scores(self) -> NDArray[np.float64]:
        """Return the score of each row, shape (n,): 1 less its squared error over the labels' variance. Their mean is R^2.

        Labels that are all equal have no variance: then a row scores 1 if it is exact, else 0.
        """
        variance = float(self.labels.var())
        if variance == 0:
            return np.asarray(self.errors == 0, np.float64)
        return np.asarray(1 - self.errors**2 / variance, np.float64)

    def pack(self) -> bytes:
        """Return the predictions as an .npz file. Equal predictions give equal bytes."""
        return _pack(asdict(self))


AnyPredictions = Predictions | Values


# Of each kind, the types of its arrays, by numpy's letters.
_TYPES: dict[type, dict[str, str]] = {
    Predictions: {"labels": "iu", "predicted": "iu", "mistakes": "iu", "certainty": "f", "rows": "biuf"},
    Values: {"labels": "f", "predicted": "f", "worst": "iu", "rows": "biuf"},
}


def unpack(content: bytes) -> AnyPredictions:
    """Read predictions from the bytes that `pack` returned. Raises ValueError if they are damaged, or none."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > MAX_PREDICTIONS_BYTES:
            raise ValueError(f"unpack to {size} bytes, wanted {MAX_PREDICTIONS_BYTES} at most")
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            kind: type[AnyPredictions] = Values if "worst" in arrays.files else Predictions
            found = kind(**{name: arrays[name] for name in arrays.files})
    except UNREADABLE as error:
        raise ValueError(str(error) or type(error).__name__) from error
    _check_arrays(found)
    return found


def _check_arrays(found: AnyPredictions) -> None:
    for name, types in _TYPES[type(found)].items():
        array = getattr(found, name)
        n_axes = 1 + (name == "rows")
        if not isinstance(array, np.ndarray) or array.dtype.kind not in types or array.ndim != n_axes:
            raise ValueError(f"{name} is no array of its kind and shape")
    shown = (found.worst,) if isinstance(found, Values) else (found.mistakes, found.certainty)
    if len(found.labels) != len(found.predicted) or any(len(array) != len(found.rows) for array in shown):
        raise ValueError("not as many of one as of the other")


def check_fit(found: AnyPredictions, n_rows: int, n_classes: int, n_features: int) -> None:
    """Raise ValueError unless `found` is of so many rows and features in so many classes; 0 classes: of numbers."""
    if isinstance(found, Values) != (n_classes == 0):
        raise ValueError("of the other task than the study's")
    if len(found.labels) != n_rows or (len(found.rows) and found.rows.shape[1] != n_features):
        raise ValueError(
            f"of {len(found.labels)} rows of {found.rows.shape[1]} features, wanted {n_rows} of {n_features}"
        )
    if isinstance(found, Values):
        if not np.isfinite([found.labels, found.predicted]).all():
            raise ValueError("labels or predicted holds what is no number")
        limits = [("worst", n_rows)]
    else:
        limits = [("labels", n_classes), ("predicted", n_classes), ("mistakes", n_rows)]
    for name, limit in limits:
        numbers = getattr(found, name)
        if numbers.min(initial=0) < 0 or numbers.max(initial=0) >= max(limit, 1):
            raise ValueError(f"{name} holds a number that is not below {limit}")


def _pack(arrays: dict[str, NDArray[np.generic]]) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()
