"""The study file: what may be asked, checked at birth, with errors that name file, key, value and what was wanted."""

import json
import re
from collections import Counter
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    Strict,
    model_validator,
)

from sweep.study.axes import read_space
from sweep.study.config import Config
from sweep.study.objective import Objective
from sweep.study.space import Scalar, Space, contains, list_values

MAX_GRID = 100_000  # configs


class _Table(BaseModel):
    # Strict: TOML has types, so "3" for 3 or true for 1 is a slip to show, not to guess around.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Data(_Table):
    """Which rows are trained on. `source` is `mnist`, or a path, relative to the study file."""

    source: str = "mnist"
    label: str | None = None  # the label column of a .csv or .parquet file
    validation_rows: Annotated[int, Field(ge=0)]
    train_rows: Annotated[int, Field(ge=2)] | None = None  # a stratified subset; None takes all that is left
    test_rows: Annotated[int, Field(ge=1)] | None = None  # sealed off first, for a source without a test split


class EarlyStopping(_Table):
    """Stop when `monitor` has not improved by more than `min_delta` for `patience` epochs; keep the best epoch's weights."""

    monitor: Literal["loss", "accuracy", "val_loss", "val_accuracy"] = "val_accuracy"
    patience: Annotated[int, Field(ge=1)] = 3
    min_delta: Annotated[float, Field(ge=0, lt=float("inf"))] = 0.0


Precision = Literal["float32", "tensorfloat32", "bfloat16"]


class Training(_Table):
    max_epochs: Annotated[int, Field(ge=1, le=10_000)]
    early_stopping: EarlyStopping | None = None
    precision: Precision = "float32"  # of matrix products; the others are for accelerators


class Pruner(_Table):
    """Compares trials at `rungs` (epoch counts): `halving` keeps the best 1/reduction_factor, `median` the better half."""

    kind: Literal["halving", "median"]
    rungs: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Strict(False), Field(min_length=1)]
    reduction_factor: Annotated[int, Field(ge=2)] = 3  # of halving

    @model_validator(mode="after")
    def _rungs_rise(self) -> "Pruner":
        if list(self.rungs) != sorted(set(self.rungs)):
            raise ValueError(f"rungs must rise, got {list(self.rungs)}")
        return self


Engine = Literal["auto", "graph", "cohort"]


class Search(_Table):
    trials: Annotated[int, Field(ge=0)] = 0  # total for the study, baselines not counted
    sampler: Literal["tpe", "random", "grid", "gp"] = "tpe"
    # Trials of each group of the confirmation: as many of one as of another, or as the sampler likes. A group that was
    # tried more often has the better best by luck alone.
    coverage: Literal["equal", "free"] = "equal"
    pruner: Pruner | None = None
    workers: Annotated[int, Field(ge=1, le=256)] | None = None  # None: one per core
    # One trial after another on each core, or many in one program; auto: in one program where JAX sees an accelerator.
    engine: Engine = "auto"


def _read_label(value: Any) -> Any:
    # These names reach Markdown, matplotlib and terminal tables: no character that any of them reads as markup.
    if isinstance(value, str) and not re.fullmatch(r"\w[\w .,()+-]{0,79}", value):
        raise ValueError(
            "wanted up to 80 letters, digits, spaces and any of . , ( ) + -, starting with a letter or digit"
        )
    return value


class Baseline(_Table):
    """A config given by hand. `reference` holds published figures of it, printed beside ours."""

    name: Annotated[str, BeforeValidator(_read_label)]
    units: Annotated[
        tuple[Annotated[int, Field(ge=1, le=65536)], ...], Strict(False), Field(min_length=1, max_length=20)
    ]
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    batch_size: Annotated[int, Field(ge=1, le=65536)] = 128
    learning_rate: Annotated[float, Field(ge=1e-8, le=10)] = 0.001
    batch_norm: bool = True
    reference: dict[
        Literal["train_accuracy", "train_loss", "val_accuracy", "val_loss", "test_accuracy", "test_loss"], float
    ] = {}

    @property
    def config(self) -> Config:
        return Config(**self.model_dump(exclude={"name", "reference"}))


class Confirmation(_Table):
    """Retrain the best config of each group, and every baseline, with fresh seeds; score each once on test."""

    group_by: Literal["hidden_layers", "batch_size", "batch_norm"] = "hidden_layers"
    replicates: Annotated[int, Field(ge=1, le=1000)] = 5


NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def _read_name(value: Any) -> Any:
    if isinstance(value, str) and not NAME.fullmatch(value):
        raise ValueError("wanted up to 64 of a-z, 0-9, '.', '_' and '-', starting with a letter or digit")
    return value


class Study(_Table):
    """One search of one space for one objective, as its file describes it."""

    name: Annotated[str, BeforeValidator(_read_name)]
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    objective: Objective = "val_accuracy"
    data: Data
    space: Annotated[Space, PlainValidator(read_space), PlainSerializer(Space.to_dict)] | None = None
    training: Training
    search: Search = Search()
    baselines: Annotated[tuple[Baseline, ...], Strict(False)] = ()
    confirmation: Confirmation | None = None

    @model_validator(mode="after")
    def _parts_agree(self) -> "Study":
        self._check_search()
        self._check_baselines()
        self._check_validation_is_there_where_it_is_used()
        return self

    def _check_search(self) -> None:
        if not self.search.trials and not self.baselines:
            raise ValueError("nothing to train: give search.trials or [[baselines]]")
        if self.search.trials and self.space is None:
            raise ValueError(f"search.trials is {self.search.trials}, but there is no [space] to search")
        if self.search.sampler == "grid" and self.space is not None and self.space.n_configs() > MAX_GRID:
            raise ValueError(
                f"search.sampler is 'grid', which takes up to {MAX_GRID} configs, but the space holds "
                f"{self.space.n_configs():g}; give every float a step and every range fewer values"
            )
        pruner = self.search.pruner
        if pruner is not None and pruner.rungs[-1] >= self.training.max_epochs:
            raise ValueError(
                f"search.pruner.rungs ends at {pruner.rungs[-1]}, wanted epochs before max_epochs = {self.training.max_epochs}"
            )

    def _check_baselines(self) -> None:
        for what, values in (
            ("name", [b.name for b in self.baselines]),
            ("config", [b.config for b in self.baselines]),
        ):
            twice = [value for value, n in Counter(values).items() if n > 1]
            if twice:
                raise ValueError(f"baselines: two have the same {what}, {twice[0]}")

    def _check_validation_is_there_where_it_is_used(self) -> None:
        if self.data.validation_rows:
            return
        if self.search.trials:
            raise ValueError("data.validation_rows is 0, but search.trials needs validation rows to select by")
        stopping = self.training.early_stopping
        if stopping is not None and stopping.monitor.startswith("val_"):
            raise ValueError(f"data.validation_rows is 0, but early_stopping monitors {stopping.monitor}")
        if self.confirmation is None:
            raise ValueError("data.validation_rows is 0 and there is no [confirmation]: nothing to train")

    def canonical(self) -> dict[str, Any]:
        """What decides results, in one form however the file was typed; a stored study is compared with it."""
        whole = self.model_dump(mode="json", include={"name", "seed", "objective", "data", "space", "training"})
        canonical: dict[str, Any] = json.loads(json.dumps(whole, sort_keys=True))
        if self.training.precision == "float32":  # as studies were stored before they could ask for another
            del canonical["training"]["precision"]
        return canonical

    @property
    def shares_by(self) -> str | None:
        """The key of a config whose values get an equal budget each; None where the sampler decides."""
        if self.confirmation is None or self.search.coverage == "free":
            return None
        return self.confirmation.group_by

    def subspaces(self) -> dict[Scalar | None, Space]:
        """The space, cut into the groups that get an equal budget each; uncut, under None, where there are none."""
        assert self.space is not None
        if self.shares_by is None:
            return {None: self.space}
        values = list_values(getattr(self.space, self.shares_by))
        return {value: replace(self.space, **{self.shares_by: value}) for value in values}

    def group_of(self, config: Config) -> Scalar | None:
        """The group of `subspaces` that a config lies in."""
        return None if self.shares_by is None else getattr(config, self.shares_by)

    def rungs(self) -> tuple[int, ...]:
        return self.search.pruner.rungs if self.search.pruner else ()

    def baseline_named(self, name: str | None) -> Baseline | None:
        return next((b for b in self.baselines if b.name == name), None)

    def in_space(self, config: Config) -> bool:
        """Whether the search could have drawn `config`."""
        if self.space is None:
            return False
        axes = self.space.axes_of(config)
        return f"units_{config.hidden_layers}" in axes and all(contains(axis, v) for axis, v in axes.values())


def shorten(value: Any) -> str:
    """Write a value for a message: as Python shows it, up to 80 characters."""
    try:
        text = repr(value)
    except ValueError:  # Python does not write out integers of more than 4300 digits
        text = "a number too long to show"
    return text if len(text) <= 80 else text[:77] + "..."


def differences(stored: dict[str, Any], given: dict[str, Any], prefix: str = "") -> list[str]:
    """What changed between two canonical forms, one `key: stored -> given` for each leaf."""
    lines: list[str] = []
    for key in sorted(stored.keys() | given.keys()):
        old, new = stored.get(key), given.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            lines += differences(old, new, f"{prefix}{key}.")
        elif old != new:
            lines.append(f"{prefix}{key}: {shorten(old)} -> {shorten(new)}")
    return lines
