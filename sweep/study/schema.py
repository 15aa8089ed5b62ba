"""The tables and keys of a study file, checked when read; `studies/README.md` shows their descriptions."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    Field,
    PlainSerializer,
    PlainValidator,
    Strict,
    model_validator,
)

from sweep.study.axes import SpaceTable, read_space
from sweep.study.baseline import Baseline
from sweep.study.config import AUGMENTATION, Config
from sweep.study.objective import Objective, Task
from sweep.study.search import MAX_GRID, Search
from sweep.study.space import Scalar, Space, contains, list_values
from sweep.study.table import STUDY_NAME, RowsRule, Table, TextRule
from sweep.study.task import check_metrics, fill_in_task, list_ranked
from sweep.study.training import Training

PROBE_EPOCHS = 1  # for which `freeze_thaw` tries every config
MIN_EPOCHS_TO_PROBE = 4


class Data(Table):
    """Names the rows to train on and splits them, every class, or every tenth of the numbers to predict, in its share."""

    source: Annotated[str, TextRule("'mnist' or a path")] = Field(
        "mnist",
        description="MNIST, which ships inside, or a file, relative to the study file: arrays (`.npz`) or a table (`.csv`, "
        "`.tsv`, also `.csv.gz` and `.tsv.gz`, or `.parquet`).",
    )
    label: str | None = Field(None, description="Label column of a table, which cannot do without one.")
    task: Task | None = Field(
        None,
        description="`classification` tells classes apart, `regression` predicts a number. Without it, regression where the "
        "labels are numbers with fractions, or whole numbers most of which stand alone; a line says which it is.",
    )
    drop: Annotated[tuple[str, ...], Strict(False)] = Field(
        (), description='Columns of a table to leave out, such as an index; `""` is one without a name.'
    )
    missing: Annotated[tuple[str, ...], Strict(False)] | None = Field(
        None,
        description="Cells of a table of text that stand for a missing value, beside empty ones; without it, those that "
        "pandas knows, such as `NA`, `NaN`, `null` and `None`. A label is missing only where its cell is empty.",
    )
    columns: dict[str, Literal["number", "boolean", "category", "date"]] = Field(
        default_factory=dict,
        description='Kinds of columns of a table that are not what they look like, such as `{zip = "category"}`: `number`, '
        "`boolean`, `category` or `date`. A line says what each column was taken for.",
    )
    separator: (
        Annotated[str, TextRule("one character, such as ',', ';', '|' or a tab", r"[ \t!#$%&()*,/:;<=>?@\\^`{|}~]")]
        | None
    ) = Field(
        None,
        description="What stands between the columns of a table of text; without it, whichever of `,`, `;`, `|` and a tab "
        "its first rows have.",
    )
    validation_rows: Annotated[
        int | float, RowsRule("a whole number, 0 or more, or a share of the rows between 0 and 1")
    ] = Field(description="Training rows held out to stop, prune and select by. A search needs some.")
    train_rows: Annotated[int, Field(ge=2)] | None = Field(
        None, description="Size of the subset to train on; without it, all rows that are left."
    )
    test_rows: Annotated[
        int | float | None, RowsRule("a whole number, 1 or more, or a share of the rows between 0 and 1", low=1)
    ] = Field(None, description="Rows to seal off first as the test split, for a source that has none of its own.")
    group: str | None = Field(
        None,
        description="Column of a table, such as a patient, whose rows stay together in one part; no feature. Parts then have "
        "about as many rows as are asked for.",
    )
    order: str | None = Field(
        None,
        description="Column of a table, a date, a time or a number, by which it is split: test rows are the last, validation "
        "rows those before; no feature. Rows of one time stay together.",
    )
    scaling: Literal["robust", "standard"] | None = Field(
        None,
        description="How numbers are scaled: `robust`, which is also what happens without this key, by median and "
        "interquartile range, smoothly clipped, so that no outlier reaches far; `standard` by mean and standard deviation. "
        "Bytes are pixels and divided by 255.",
    )

    @property
    def split_by(self) -> str | None:
        """Column that decides how a table is split; None where rows are drawn one by one."""
        return self.group if self.group is not None else self.order

    @model_validator(mode="after")
    def _is_split_one_way(self) -> "Data":
        if self.group is not None and self.order is not None:
            raise ValueError("group and order are two ways to split a table: leave one of them out")
        return self


class Confirmation(Table):
    """Retrains the best config of each group, and every baseline, with fresh seeds; scores each once on the test split."""

    group_by: Literal["hidden_layers", "batch_size", "batch_norm"] = Field(
        "hidden_layers", description="Key of a config: the best config for each of its values is retrained."
    )
    replicates: Annotated[int, Field(ge=1, le=1000)] = Field(5, description="Fresh seeds for each config.")


class Study(Table):
    """One search of one space for one objective, as its file describes it."""

    name: Annotated[str, STUDY_NAME] = Field(
        description="Name of the MLflow experiment, the registered model and the folders of results."
    )
    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(
        description="Every split, proposal and training seed follows from it."
    )
    objective: Objective = Field(
        "val_accuracy",
        description="Metric of the validation rows to select by; without it, `val_rmse` for regression. Averages over classes "
        "count every class alike; with two classes, `val_average_precision` is that of the second.",
    )
    data: Data = Field(description="Which rows to train on.")
    space: Annotated[Space, PlainValidator(read_space), PlainSerializer(lambda space: space.to_dict())] | None = Field(
        None, description="What may vary. Without it, only baselines can be trained."
    )
    training: Training = Field(description="How long to train.")
    search: Search = Field(Search(), description="How to search. Without it, only the baselines are trained.")
    baselines: Annotated[tuple[Baseline, ...], Strict(False)] = Field(
        (), description="Configs given by hand, one table each."
    )
    confirmation: Confirmation | None = Field(
        None, description="How to retrain the best. Without it, nothing is retrained or scored on test."
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_in_task(cls, table: Any) -> Any:
        return fill_in_task(table)

    @model_validator(mode="after")
    def _parts_agree(self) -> "Study":
        self._check_task()
        self._check_search()
        self._check_baselines()
        self._check_validation_is_there_where_it_is_used()
        return self

    @property
    def augmenting_key(self) -> str | None:
        """The first key by which images may be distorted; None where they are not."""
        of_space = [f"space.{name}" for name in AUGMENTATION if self.space and getattr(self.space, name) != 0]
        of_baselines = [
            f"{k} of baseline {b.name!r}" for b in self.baselines for k in AUGMENTATION if getattr(b, k) > 0
        ]
        return next(iter(of_space + of_baselines), None)

    @property
    def task(self) -> Task:
        """The task: once the labels are known to be numbers to predict, `data.task` says so."""
        return self.data.task or "classification"

    @property
    def ranked_metrics(self) -> tuple[str, ...]:
        """The metrics that are measured after every epoch by a prediction of every validation row."""
        return list_ranked(self._named_metrics.values())

    @property
    def _named_metrics(self) -> dict[str, str]:
        stopping = self.training.early_stopping
        monitored = {} if stopping is None else {"training.early_stopping.monitor": stopping.monitor}
        return {"objective": self.objective, **monitored}

    def _check_task(self) -> None:
        check_metrics(self.data.task, self._named_metrics)
        if self.data.task != "regression":
            if self.training.loss is not None:
                raise ValueError("training.loss is of regression: leave it out, or set data.task = 'regression'")
            return
        if self.training.class_weight is not None:
            raise ValueError("training.class_weight weighs classes, and regression has none: leave it out")
        if self.smoothing_key is not None:
            raise ValueError(f"{self.smoothing_key} spreads labels over classes, and regression has none: leave it out")

    @property
    def smoothing_key(self) -> str | None:
        """The first key by which labels may be smoothed; None where they are not."""
        of_space = ["space.label_smoothing"] if self.space and self.space.label_smoothing != 0 else []
        of_baselines = [f"label_smoothing of baseline {b.name!r}" for b in self.baselines if b.label_smoothing > 0]
        return next(iter(of_space + of_baselines), None)

    def _check_search(self) -> None:
        if not self.search.is_asked_for and not self.baselines:
            raise ValueError("nothing to train: give search.trials, search.epochs, search.minutes or [[baselines]]")
        if self.search.is_asked_for and self.space is None:
            raise ValueError("[search] asks for trials, but there is no [space] to search")
        if self.search.sampler == "freeze_thaw" and self.search.pruner is not None:
            raise ValueError(
                "search.sampler is 'freeze_thaw', which decides itself which trials go on: leave search.pruner out, or "
                "choose another sampler"
            )
        whole = self.training.max_epochs + (PROBE_EPOCHS if self.probes else 0)
        if self.search.epochs is not None and self.search.epochs < whole:
            raise ValueError(
                f"search.epochs is {self.search.epochs}, wanted {whole} or more: a trial may take max_epochs = "
                f"{self.training.max_epochs}" + (f", after a probe of {PROBE_EPOCHS}" if self.probes else "")
            )
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
        if self.ranked_metrics:
            raise ValueError(
                f"data.validation_rows is 0, but val_{self.ranked_metrics[0]} is measured on validation rows"
            )
        if self.search.is_asked_for:
            raise ValueError("data.validation_rows is 0, but [search] needs validation rows to select by")
        stopping = self.training.early_stopping
        if stopping is not None and stopping.monitor.startswith("val_"):
            raise ValueError(f"data.validation_rows is 0, but early_stopping monitors {stopping.monitor}")
        if self.confirmation is None:
            raise ValueError("data.validation_rows is 0 and there is no [confirmation]: nothing to train")

    def canonical(self) -> dict[str, Any]:
        """Return what decides results, in one form however the file was typed, to compare with the stored study."""
        whole = self.model_dump(mode="json", include={"name", "seed", "objective", "data", "space", "training"})
        canonical: dict[str, Any] = json.loads(json.dumps(whole, sort_keys=True))
        for key in ("drop", "missing", "columns", "separator"):  # what they decide is in the sha256 of the data
            del canonical["data"][key]
        for key in ("group", "order"):
            if canonical["data"][key] is None:
                del canonical["data"][key]
        if self.training.precision == "float32":  # older studies were stored without the key, and without those below
            del canonical["training"]["precision"]
        if self.data.task != "regression":
            del canonical["data"]["task"], canonical["training"]["loss"]
        if self.training.class_weight is None:
            del canonical["training"]["class_weight"]
        del canonical["data"]["scaling"]  # the record states what was done: it depends on the rows as well
        return canonical

    @property
    def shares_by(self) -> str | None:
        """Key of a config, each value of which gets as many trials; None where the sampler decides."""
        if self.confirmation is None or self.search.coverage == "free":
            return None
        return self.confirmation.group_by

    def subspaces(self) -> dict[Scalar | None, Space]:
        """Cut the space into groups that get as many trials each, by value; without groups, the space under None."""
        assert self.space is not None
        if self.shares_by is None:
            return {None: self.space}
        values = list_values(getattr(self.space, self.shares_by))
        return {value: replace(self.space, **{self.shares_by: value}) for value in values}

    def group_of(self, config: Config) -> Scalar | None:
        """Return the key in `subspaces` of the group that a config lies in."""
        return None if self.shares_by is None else getattr(config, self.shares_by)

    @property
    def probes(self) -> bool:
        """Whether the search tries configs for PROBE_EPOCHS first; not where whole trainings are about as short, or for one."""
        is_worth_it = self.training.max_epochs >= MIN_EPOCHS_TO_PROBE and self.search.trials != 1
        return self.search.proposer == "freeze_thaw" and is_worth_it

    def rungs(self) -> tuple[int, ...]:
        if self.probes:
            return (PROBE_EPOCHS,)
        return self.search.pruner.rungs if self.search.pruner else ()

    def baseline_named(self, name: str | None) -> Baseline | None:
        return next((b for b in self.baselines if b.name == name), None)

    def in_space(self, config: Config) -> bool:
        """Return whether the search could have drawn `config`."""
        if self.space is None:
            return False
        axes = self.space.axes_of(config)
        return f"units_{config.hidden_layers}" in axes and all(contains(axis, v) for axis, v in axes.values())


def inner_tables(field: Any) -> Iterator[type[BaseModel]]:
    """Yield the tables that the type of a key is made of; the table of `[space]` for a space."""
    if field is Space:
        yield SpaceTable
    elif isinstance(field, type) and issubclass(field, BaseModel):
        yield field
    else:
        for part in get_args(field):
            yield from inner_tables(part)


def list_keys(place: Sequence[int | str]) -> list[str]:
    """List the keys of the table at `place`: a path of keys, and of indices where there are several tables."""
    table: type[BaseModel] | None = Study
    for part in place:
        field = table.model_fields.get(str(part)) if table is not None else None
        if isinstance(part, str):
            table = next(inner_tables(field.annotation), None) if field is not None else None
    return [] if table is None else list(table.model_fields)


def shorten(value: Any) -> str:
    """Return the text of a value for a message: as Python shows it, up to 80 characters."""
    try:
        text = repr(value)
    except ValueError:  # Python does not write out integers of more than 4300 digits
        text = "a number too long to show"
    return text if len(text) <= 80 else text[:77] + "..."


def differences(stored: dict[str, Any], given: dict[str, Any], prefix: str = "") -> list[str]:
    """List what changed between two canonical forms, as `key: stored -> given` for each leaf."""
    lines: list[str] = []
    for key in sorted(stored.keys() | given.keys()):
        old, new = stored.get(key), given.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            lines += differences(old, new, f"{prefix}{key}.")
        elif old != new:
            lines.append(f"{prefix}{key}: {shorten(old)} -> {shorten(new)}")
    return lines
