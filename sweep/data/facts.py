"""Facts about prepared data that models and records need."""

import math
import re
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from sweep.data.columns import Column, read_columns
from sweep.data.files import find_image_shape
from sweep.data.scaling import Kind, Target
from sweep.study.objective import Task

# "pixels" are divided by 255. "standardize" is what an earlier version did with numbers: they were rounded to float32 first.
ScalingKind = Literal["pixels", "standardize"] | Kind


@dataclass(frozen=True)
class DataFacts:
    """Facts about the data that models and records need."""

    name: str  # "mnist" or a file name
    sha256: str  # of all rows and labels, test included
    n_train: int
    n_validation: int
    n_test: int
    n_features: int
    classes: tuple[str, ...]  # empty for regression
    scaling: ScalingKind
    feature_shape: tuple[int, ...]  # of one row before it was flattened, such as (28, 28)
    class_counts: tuple[int, ...] = ()  # validation rows of each class; empty in facts of earlier versions
    target: Target | None = None  # of regression: how the label was standardized
    columns: tuple[
        Column, ...
    ] = ()  # of a table, and how they are coded as features; none in facts of earlier versions

    @property
    def task(self) -> Task:
        return "classification" if self.target is None else "regression"

    @property
    def n_classes(self) -> int:
        return len(self.classes)

    @property
    def n_outputs(self) -> int:
        """Numbers that a model gives for a row: the probability of each class, or the label."""
        return self.n_classes if self.target is None else 1

    def to_dict(self) -> dict[str, Any]:
        """Return the facts for JSON; without what regression or tables alone have where they are of something else."""
        left_out = [name for name in ("target", "columns") if not getattr(self, name)]
        return {name: value for name, value in asdict(self).items() if name not in left_out}

    @property
    def rows_dtype(self) -> Literal["uint8", "float32", "float64"]:
        """Type of the rows that a model takes."""
        return {"pixels": "uint8", "standardize": "float32"}.get(self.scaling, "float64")  # type: ignore[return-value]

    @property
    def output_dtype(self) -> Literal["float32", "float64"]:
        """Type of what a model gives: probabilities, or numbers in the unit of the label."""
        return "float32" if self.target is None else "float64"

    @property
    def image_shape(self) -> tuple[int, int, int] | None:
        """Height, width and channels of a row of pixels; None where rows are no images, or not known to be."""
        return find_image_shape(self.feature_shape) if self.scaling == "pixels" else None

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "DataFacts":
        """Rebuild facts from `asdict`, as JSON keeps them. Raises KeyError, TypeError or ValueError where they are none."""
        tuples = {name: tuple(values[name]) for name in ("classes", "feature_shape")}
        tuples["class_counts"] = tuple(values.get("class_counts", ()))
        target = Target(**values["target"]) if values.get("target") else None
        tuples["columns"] = read_columns(values.get("columns", ()))
        facts = cls(**{**values, **tuples, "target": target})
        facts._check()
        return facts

    def _check(self) -> None:
        """Raise ValueError for what `prepare` does not write: they may come from another hand."""
        counts = (
            self.n_train,
            self.n_validation,
            self.n_test,
            self.n_features,
            *self.feature_shape,
            *self.class_counts,
        )
        if not all(type(n) is int and 0 <= n < 2**53 for n in counts):
            raise ValueError("holds a count that is none")
        if math.prod(self.feature_shape) != self.n_features or len(self.class_counts) not in (0, self.n_classes):
            raise ValueError("its counts contradict each other")
        if not all(isinstance(text, str) for text in (self.name, *self.classes)):
            raise ValueError("holds a name that is no text")
        if bool(self.classes) == (self.target is not None):
            raise ValueError("holds no class and no number to predict, or both")
        if self.target is not None:
            self.target.check()
        if self.columns and sum(len(column.features) for column in self.columns) != self.n_features:
            raise ValueError("its columns are not its features")
        if self.scaling not in ("pixels", "standardize", *get_args(Kind)):
            raise ValueError(f"scaling is {self.scaling!r:.100}")
        if not re.fullmatch("[0-9a-f]{64}", str(self.sha256)):
            raise ValueError(f"sha256 is {self.sha256!r:.100}")
