"""Which rows are trained on, selected by and sealed. Pure: labels, keys and a seed in, row numbers out."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweep.study.config import derive_seed
from sweep.study.schema import Data

N_STRATA = 10  # of numbers to predict

Array = NDArray[Any]


@dataclass(frozen=True)
class Drawn:
    """Row numbers of `x_train` for each part, in rising order; no test rows where the source has a test split."""

    train: Array
    validation: Array
    test: Array | None


def count_rows(asked: float | None, n_rows: int) -> int:
    """Return a number of rows that is asked for as such, or as a share of all `n_rows`."""
    return round(asked * n_rows) if isinstance(asked, float) else int(asked or 0)


def draw_rows(labels: Array, groups: Array | None, spec: Data, seed: int, *, has_test: bool) -> Drawn:
    """Draw the parts, each by a seed of its own: test rows first, then validation rows, then the rows to train on.

    labels: shape (n,), of which each part gets its share: of every class, or of every tenth of the numbers to predict.
    groups: shape (n,), whole numbers; rows of one group stay in one part, and `spec.order` takes the last groups first. Then
    the shares of labels are as they fall, and the numbers of rows as near to those asked for as whole groups come.
    """
    rest, test, strata = np.arange(len(labels)), None, _to_strata(labels)

    def hold_out(rows: Array, asked: float | None, part: str) -> tuple[Array, Array]:
        n_second, its_seed = count_rows(asked, len(labels)), derive_seed(seed, part)
        if groups is None:
            return _stratify(rows, strata, n_second, its_seed)
        return _take_groups(rows, groups, n_second, None if spec.order is not None else its_seed)

    if not has_test:
        rest, test = hold_out(rest, spec.test_rows, "test")
    train, validation = hold_out(rest, spec.validation_rows, "validation")
    if spec.train_rows is not None:
        _, train = _stratify(train, strata, spec.train_rows, derive_seed(seed, "train"))
    return Drawn(train, validation, test)


def _to_strata(labels: Array) -> Array:
    """Return classes as they are; of numbers to predict, the tenth of all rows that each lies in, by size."""
    if labels.dtype.kind != "f":
        return labels
    return np.searchsorted(np.quantile(labels, np.arange(1, N_STRATA) / N_STRATA), labels, side="right")


def _stratify(rows: Array, strata: Array, n_second: int, seed: int) -> tuple[Array, Array]:
    """Split row numbers in two, the second of `n_second` rows, strata in equal shares; each part in rising order."""
    from sklearn.utils import resample

    if n_second == 0:
        return rows, rows[:0]
    # Not train_test_split: it wants a row of every class among those that a subset leaves over.
    second = resample(rows, replace=False, n_samples=n_second, random_state=seed, stratify=strata[rows])
    return np.setdiff1d(rows, second), np.sort(second)


def _take_groups(rows: Array, groups: Array, n_second: int, seed: int | None) -> tuple[Array, Array]:
    """Split row numbers in two between groups, the second with about `n_second` rows; each part in rising order.

    seed: draws the order in which groups are taken; None takes the largest number first. At least one group is taken, and one
    is left: a part that shares a group, or a time, with another tells nothing of new ones.
    """
    if n_second == 0:
        return rows, rows[:0]
    known, sizes = np.unique(groups[rows], return_counts=True)
    order = np.arange(len(known))[::-1] if seed is None else np.random.default_rng(seed).permutation(len(known))
    taken = np.cumsum(sizes[order])[:-1]
    n_groups = int(np.abs(taken - n_second).argmin()) + 1
    is_second = np.isin(groups[rows], known[order[:n_groups]])
    return rows[~is_second], rows[is_second]
