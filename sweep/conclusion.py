"""The conclusion of a study, from its runs alone: a column for each finalist, a row for each metric."""

from dataclasses import dataclass

import pandas as pd

from sweep.compare import Summary, summarise
from sweep.config import Config
from sweep.confirm import Finalist, finalists
from sweep.runs import StudyRuns, config_of
from sweep.study import cost

# Rows of the notebook's table. Its train rows are running means, which see dropout and moving weights; an evaluation of
# the finished model on the same rows is another number, so both are shown, each under its name.
ROWS = {
    "running_accuracy": "Train accuracy (running)",
    "running_loss": "Train loss (running)",
    "train_accuracy": "Train accuracy",
    "train_loss": "Train loss",
    "val_accuracy": "Validation accuracy",
    "val_loss": "Validation loss",
    "test_accuracy": "Test accuracy",
    "test_loss": "Test loss",
}
# What the figures that a baseline refers to mean, in our rows.
REFERENCE_ROWS = {"train_accuracy": "running_accuracy", "train_loss": "running_loss"}


@dataclass(frozen=True)
class Column:
    """One finalist with what its replicates gave."""

    finalist: Finalist
    summaries: dict[str, Summary]  # by metric; a metric that no replicate has is absent
    reference: dict[str, float]  # published figures, by our metric
    selected_value: float | None  # the objective of the trial it was selected by
    selected_run: str | None
    replicate_runs: tuple[str, ...]  # run ids, in the order of their training
    params_count: int | None


@dataclass(frozen=True)
class Conclusion:
    """What the table, the files and the export are made of."""

    runs: StudyRuns
    columns: tuple[Column, ...]
    champion: Column | None  # best mean objective over its replicates; None where nothing can be selected by

    @property
    def selected(self) -> list[Column]:
        return [column for column in self.columns if column.finalist.is_selected]

    @property
    def baselines(self) -> list[Column]:
        """Every baseline in the study file's order, those that were selected too."""
        columns = {column.finalist.baseline: column for column in self.columns}
        return [columns[baseline.name] for baseline in self.runs.study.baselines if baseline.name in columns]


def conclude(runs: StudyRuns) -> Conclusion:
    """Select finalists by the same rule as the sweep did, and summarise their replicates."""
    complete = runs.searched[runs.searched["state"] == "complete"]
    configs = [config_of(row) for _, row in complete.iterrows()]
    values = [float(value) for value in complete.get(runs.study.objective, [])]
    columns = tuple(
        _column(runs, finalist, complete, configs, values)
        for finalist in finalists(runs.study, zip(configs, values, strict=True))
    )
    return Conclusion(runs, columns, _champion(runs.study.objective, columns))


def _column(
    runs: StudyRuns, finalist: Finalist, complete: pd.DataFrame, configs: list[Config], values: list[float]
) -> Column:
    replicates = runs.replicates
    mine = (
        replicates[(replicates["config"] == finalist.config.key) & (replicates["state"] == "complete")]
        if len(replicates)
        else replicates
    )
    index = configs.index(finalist.config) if finalist.config in configs else None
    baseline = runs.study.baseline_named(finalist.baseline)
    summaries = {metric: summarise(mine[metric].tolist()) for metric in ROWS if metric in mine}
    return Column(
        finalist=finalist,
        summaries={metric: summary for metric, summary in summaries.items() if summary is not None},
        reference={REFERENCE_ROWS.get(m, m): v for m, v in (baseline.reference if baseline else {}).items()},
        selected_value=None if index is None else values[index],
        selected_run=None if index is None else str(complete.iloc[index]["run_id"]),
        replicate_runs=tuple(mine["run_id"]),
        params_count=int(mine["params_count"].iloc[0]) if len(mine) else None,
    )


def _champion(objective: str, columns: tuple[Column, ...]) -> Column | None:
    confirmed = [column for column in columns if objective in column.summaries]
    if not confirmed:
        return None
    return min(confirmed, key=lambda c: (cost(objective, c.summaries[objective].mean), c.params_count or 0))
