"""The champion of a study, asked from Python."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweep.champion.bundle import KERAS_MODEL
from sweep.champion.given_rows import flat_rows
from sweep.champion.predict import Predictor
from sweep.champion.verify import Rows
from sweep.errors import InvalidDataError


class Champion:
    """The champion, as its exported bundle has it. Predicts as an estimator of scikit-learn does, without TensorFlow.

    folder: the bundle. classes_: shape (n_classes,), the classes as the data have them; of a regression it has none.
    """

    def __init__(self, folder: Path, classes: NDArray[Any]) -> None:
        self.folder = folder
        self.classes_ = classes

    @property
    def keras(self) -> Path:
        """The saved model, for `keras.saving.load_model`. It takes rows as features: a table's have to be coded first."""
        return self.folder / KERAS_MODEL

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the class of each row as the data have it, or its number, shape (n,).

        X: rows as in the data: a DataFrame with the columns by name, in any order, or an array, shape (n, ...). Raises
        InvalidDataError for rows that the model cannot be asked about, DamagedResultError for a bundle that is not whole.
        """
        answers = self._predictor.ask(self._to_rows(X))
        return np.asarray(self.classes_[answers.argmax(axis=1)] if len(self.classes_) else answers[:, 0])

    def predict_proba(self, X: Any) -> NDArray[np.float32]:
        """Return the probability of each class, in the order of `classes_`, shape (n, n_classes). X: see `predict`."""
        if not len(self.classes_):
            raise InvalidDataError("predict_proba: the champion predicts a number, which has no classes; use predict")
        return self._predictor.ask(self._to_rows(X))

    @cached_property
    def _predictor(self) -> Predictor:
        return Predictor.open(self.folder)

    def _to_rows(self, X: Any) -> Rows:
        wanted = self._predictor.summary["input"]
        if not wanted.get("columns"):
            try:
                return flat_rows(np.asarray(X), wanted)
            except ValueError as error:
                raise InvalidDataError(f"X: {error}") from error
        import pandas as pd

        from sweep.champion.given_table import read_frame

        if not isinstance(X, pd.DataFrame):
            raise InvalidDataError(f"X: wanted a DataFrame, with the columns of the table; got {type(X).__name__}")
        return read_frame(X, wanted)

    def __repr__(self) -> str:
        return f"Champion({str(self.folder)!r})"
