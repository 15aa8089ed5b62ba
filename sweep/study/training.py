"""The `[training]` table of a study file."""

from typing import Annotated, Literal

from pydantic import Field

from sweep.study.objective import Loss, Monitor
from sweep.study.table import Table


class EarlyStopping(Table):
    """Ends a training that no longer improves. The model keeps the weights of its best epoch."""

    monitor: Monitor = Field(
        "val_accuracy",
        description="Metric to watch, of the validation rows (`val_`) or of the training rows; without it, `val_rmse` for "
        "regression.",
    )
    patience: Annotated[int, Field(ge=1)] = Field(3, description="Epochs to wait for an improvement.")
    min_delta: Annotated[float, Field(ge=0, lt=float("inf"))] = Field(
        0.0, description="A change of this much or less is no improvement."
    )


Precision = Literal["float32", "tensorfloat32", "bfloat16"]


class Training(Table):
    """Sets how long every trial and replicate may train, and in what precision."""

    max_epochs: Annotated[int, Field(ge=1, le=10_000)] = Field(description="Epochs after which a training ends.")
    early_stopping: EarlyStopping | None = Field(
        None, description="When to end a training that no longer improves; without it, never before `max_epochs`."
    )
    loss: Loss | None = Field(
        None,
        description="Loss of regression, of the standardized label: `mse`, which is also what happens without this key, "
        "`mae`, or `huber`, which is squared up to one standard deviation and linear beyond.",
    )
    class_weight: Literal["balanced"] | None = Field(
        None,
        description="`balanced` weighs rows in the loss that is trained so that every class counts alike, however few rows it "
        "has; without it, every row counts alike.",
    )
    precision: Precision = Field(
        "float32",
        description="Precision of matrix products. The other two are faster on a GPU, `bfloat16` on some CPUs too; only cohorts "
        "take `tensorfloat32`.",
    )
