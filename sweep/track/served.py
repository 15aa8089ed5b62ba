"""How MLflow serves a model: rows of numbers as an array, or the columns of a table by name."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sweep.data import columns as table_columns
from sweep.data.columns import describe
from sweep.data.facts import DataFacts
from sweep.data.files import is_text
from sweep.data.text_table import MISSING
from sweep.study.schema import Data
from sweep.track.mlflow_api import ANY, ColSpec, ModelSignature, Schema, TensorSpec
from sweep.track.names import MODEL_PATH

CODE, MODULE = (
    "code",
    "sweep_columns",
)  # a copy of `data/columns.py`, so that serving needs no installation of this program


@dataclass(frozen=True)
class Served:
    """What stands in a logged model beside its weights."""

    facts: DataFacts
    spec: Data

    @property
    def signature(self) -> ModelSignature:
        """Types and shapes of what the model takes and gives, columns of a table by their names."""
        facts = self.facts
        if facts.columns:
            # Of any type: MLflow refuses whole numbers, as a CSV may hold, where a signature says `double`, and has no type for
            # a truth value or a date that may be missing. The model reads each by its kind.
            return ModelSignature(
                inputs=Schema([ColSpec(ANY, column.name) for column in facts.columns]),
                outputs=Schema(self._answers()),
            )
        return ModelSignature(
            inputs=Schema([TensorSpec(np.dtype(facts.rows_dtype), (-1, facts.n_features), "rows")]),
            outputs=Schema([TensorSpec(np.dtype(facts.output_dtype), (-1, facts.n_outputs))]),
        )

    @property
    def metadata(self) -> dict[str, Any] | None:
        """The kind of each column, and the range of its training rows or its values."""
        if not self.facts.columns:
            return None
        known = {c.name: [*c.values] if c.kind == "category" else [c.low, c.high] for c in self.facts.columns}
        return {
            "columns": {
                column.name: {"kind": column.kind, "known": known[column.name]} for column in self.facts.columns
            }
        }

    @property
    def libraries(self) -> Sequence[str]:
        """Libraries that serving needs beside Keras and MLflow."""
        return ("numpy", "pandas") if self.facts.columns else ("numpy",)

    @property
    def loader(self) -> dict[str, Any]:
        """By what MLflow opens the model."""
        if self.facts.columns:
            return {"loader_module": MODULE, "data": str(Path(MODEL_PATH).parent), "code": CODE}
        return {"loader_module": "mlflow.keras"}

    def write_files(self, folder: Path) -> None:
        """Write the columns of a table, and what reads them, into the model's `folder`."""
        if not self.facts.columns:
            return
        (folder / CODE).mkdir()
        shutil.copyfile(table_columns.__file__, folder / CODE / f"{MODULE}.py")
        missing = (MISSING if self.spec.missing is None else self.spec.missing) if is_text(self.spec.source) else ()
        described = describe(self.facts.columns, missing, self.facts.classes, self.spec.label)
        (folder / MODEL_PATH).with_name(table_columns.COLUMNS).write_text(described, encoding="utf-8")

    def _answers(self) -> list[Any]:
        if self.facts.target is not None:
            return [ColSpec("double", self.spec.label)]
        of_each = [ColSpec("float", f"probability of {name}") for name in self.facts.classes]
        return [ColSpec("string", "class"), ColSpec("float", "certainty"), *of_each]
