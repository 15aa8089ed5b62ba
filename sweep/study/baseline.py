"""The table of a baseline: a config given by hand."""

from typing import Annotated, Literal

from pydantic import Field, Strict

from sweep.study.config import Config
from sweep.study.table import Table, TextRule


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
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="Dropout rate after each hidden layer; 0 adds no layer."
    )
    batch_size: Annotated[int, Field(ge=1, le=65536)] = Field(128, description="Rows in a step of training.")
    learning_rate: Annotated[float, Field(ge=1e-8, le=10)] = Field(0.001, description="Learning rate of Adam.")
    batch_norm: bool = Field(True, description="Batch normalization after each hidden layer.")
    reference: dict[
        Literal["train_accuracy", "train_loss", "val_accuracy", "val_loss", "test_accuracy", "test_loss"], float
    ] = Field({}, description="Published figures of this config, to print beside ours.")

    @property
    def config(self) -> Config:
        return Config(**self.model_dump(exclude={"name", "reference"}))
