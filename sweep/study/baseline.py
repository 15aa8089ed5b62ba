"""The table of a baseline: a config given by hand."""

from typing import Annotated, Literal

from pydantic import Field, Strict

from sweep.study.axes import DESCRIPTIONS
from sweep.study.config import Activation, Config, Optimizer, Schedule
from sweep.study.table import Table, TextRule

_Rate = Annotated[float, Field(ge=0, lt=1)]
_Length = Annotated[float, Field(ge=0, le=1000)]  # pixels


class Baseline(Table):
    """A config given by hand: trained with the search, and confirmed whether it wins or not."""

    # A name reaches Markdown, matplotlib and terminal tables: no character that any of them reads as markup.
    name: Annotated[
        str,
        TextRule(
            "up to 80 letters, digits, spaces and any of . , ( ) + -, starting with a letter or digit",
            r"\w[\w .,()+-]{0,79}",
        ),
    ] = Field(description="What tables and runs call it; every baseline has a name of its own.")
    units: Annotated[
        tuple[Annotated[int, Field(ge=1, le=65536)], ...], Strict(False), Field(min_length=1, max_length=20)
    ] = Field(description="Units of each hidden layer, first layer first.")
    dropout: _Rate = Field(0.0, description=DESCRIPTIONS["dropout"])
    batch_size: Annotated[int, Field(ge=1, le=65536)] = Field(128, description=DESCRIPTIONS["batch_size"])
    learning_rate: Annotated[float, Field(ge=1e-8, le=10)] = Field(0.001, description=DESCRIPTIONS["learning_rate"])
    batch_norm: bool = Field(True, description=DESCRIPTIONS["batch_norm"])
    optimizer: Optimizer = Field("adam", description=DESCRIPTIONS["optimizer"])
    schedule: Schedule = Field("constant", description=DESCRIPTIONS["schedule"])
    weight_decay: Annotated[float, Field(ge=0, le=1)] = Field(0.0, description=DESCRIPTIONS["weight_decay"])
    label_smoothing: _Rate = Field(0.0, description=DESCRIPTIONS["label_smoothing"])
    input_dropout: _Rate = Field(0.0, description=DESCRIPTIONS["input_dropout"])
    activation: Activation = Field("relu", description=DESCRIPTIONS["activation"])
    max_norm: Annotated[float, Field(ge=0, le=1000)] = Field(0.0, description=DESCRIPTIONS["max_norm"])
    ema: _Rate = Field(0.0, description=DESCRIPTIONS["ema"])
    augment_shift: _Length = Field(0.0, description=DESCRIPTIONS["augment_shift"])
    augment_rotation: Annotated[float, Field(ge=0, le=180)] = Field(0.0, description=DESCRIPTIONS["augment_rotation"])
    augment_scale: _Rate = Field(0.0, description=DESCRIPTIONS["augment_scale"])
    augment_elastic: _Length = Field(0.0, description=DESCRIPTIONS["augment_elastic"])
    reference: dict[
        Literal[
            "train_accuracy",
            "train_loss",
            "val_accuracy",
            "val_loss",
            "test_accuracy",
            "test_loss",
            "train_rmse",
            "train_mae",
            "val_rmse",
            "val_mae",
            "test_rmse",
            "test_mae",
        ],
        Annotated[float, Field(ge=0, lt=float("inf"))],
    ] = Field({}, description="Published figures of this config, to print beside ours.")

    @property
    def config(self) -> Config:
        return Config(**self.model_dump(exclude={"name", "reference"}))
