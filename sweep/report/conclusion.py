"""The conclusion of a study, from its runs alone: a column for each finalist, a row for each metric."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweep.report.compare import Comparison, Summary, compare, holm, summarise, verdict
from sweep.search.finalists import Finalist, select_finalists
from sweep.study.config import Config
from sweep.study.objective import cost
from sweep.track.runs import StudyRuns, config_of

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
    n_trials: int | None  # of its group that the search saw; None of a baseline that was not selected
    selected_value: float | None  # the objective of the trial it was selected by, the best of many and so flattered
    selected_run: str | None
    replicate_runs: tuple[str, ...]  # run ids, in the order of their training
    params_count: int | None


@dataclass(frozen=True)
class Verdict:
    """Whether two finalists differ in test accuracy."""

    first: str  # what is compared: finalists, or studies
    second: str
    comparison: Comparison
    p: float  # corrected for the number of verdicts (Holm)
    text: str


@dataclass(frozen=True)
class Conclusion:
    """What the table, the files and the export are made of."""

    runs: StudyRuns
    columns: tuple[Column, ...]
    champion: Column | None  # best mean objective over its replicates; None where nothing can be selected by
    verdicts: tuple[Verdict, ...]  # each group's best with each other's, and the champion with each baseline

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
    searched = [_Searched.of(row, runs.study.objective) for row in runs.searched.to_dict("records")]
    candidates = [(trial.config, trial.value) for trial in searched if trial.value is not None]
    columns = tuple(_column(runs, finalist, searched) for finalist in select_finalists(runs.study, candidates))
    champion = _champion(runs.study.objective, columns)
    return Conclusion(runs, columns, champion, _verdicts(runs, columns, champion))


def compare_champions(conclusions: Sequence[Conclusion]) -> list[Verdict]:
    """Whether the champions of studies differ, every pair; those that were scored on the same test rows."""
    scored = [c for c in conclusions if c.champion and set(c.champion.replicate_runs) & c.runs.predictions.keys()]
    pairs = [(a, b) for a, b in itertools.combinations(scored, 2) if _test_rows(a.runs) == _test_rows(b.runs)]
    compared = [_compare(a.runs, a.champion, b.runs, b.champion) for a, b in pairs if a.champion and b.champion]
    names = [(a.runs.study.name, b.runs.study.name) for a, b in pairs]
    return _corrected(names, compared, [a.runs.facts["n_test"] for a, _ in pairs])


def against(conclusion: Conclusion, config: str) -> Comparison | None:
    """The champion compared with another config that was confirmed, by its key; None where one has no test predictions."""
    runs, champion = conclusion.runs, conclusion.champion
    others = runs.replicates.loc[runs.replicates["config"] == config, "run_id"]
    other = [runs.predictions[run].correct for run in others if run in runs.predictions]
    if champion is None or not other or not set(champion.replicate_runs) & runs.predictions.keys():
        return None
    return compare(right_answers(runs, champion), np.stack(other))


def _test_rows(runs: StudyRuns) -> tuple[Any, ...]:
    """What decides which rows are sealed off as the test split, and in which order."""
    data = runs.study.data
    drawn = (data.test_rows, runs.study.seed) if data.test_rows is not None else None
    return runs.facts["sha256"], drawn


@dataclass(frozen=True)
class _Searched:
    """A trial of the search, or a baseline, as its run has it."""

    run: str
    config: Config
    value: float | None  # of the objective, where it is complete

    @classmethod
    def of(cls, row: dict[Any, Any], objective: str) -> "_Searched":
        return cls(str(row["run_id"]), config_of(row), float(row[objective]) if row["state"] == "complete" else None)


def _column(runs: StudyRuns, finalist: Finalist, searched: list[_Searched]) -> Column:
    replicates = runs.replicates
    mine = (
        replicates[(replicates["config"] == finalist.config.key) & (replicates["state"] == "complete")]
        if len(replicates)
        else replicates
    )
    selected = next((t for t in searched if t.config == finalist.config and t.value is not None), None)
    baseline = runs.study.baseline_named(finalist.baseline)
    summaries = {metric: summarise(mine[metric].tolist()) for metric in ROWS if metric in mine}
    return Column(
        finalist=finalist,
        summaries={metric: summary for metric, summary in summaries.items() if summary is not None},
        n_trials=_n_trials(runs, finalist, searched),
        reference={REFERENCE_ROWS.get(m, m): v for m, v in (baseline.reference if baseline else {}).items()},
        selected_value=selected.value if selected else None,
        selected_run=selected.run if selected else None,
        replicate_runs=tuple(mine["run_id"]),
        params_count=int(mine["params_count"].iloc[0]) if len(mine) else None,
    )


def _n_trials(runs: StudyRuns, finalist: Finalist, searched: list[_Searched]) -> int | None:
    """Trials of the search, and baselines, that lie in the group whose best a finalist is."""
    if not finalist.is_selected or runs.study.confirmation is None:
        return None
    group_by = runs.study.confirmation.group_by
    group = getattr(finalist.config, group_by)
    return len([trial for trial in searched if getattr(trial.config, group_by) == group])


def _verdicts(runs: StudyRuns, columns: tuple[Column, ...], champion: Column | None) -> tuple[Verdict, ...]:
    scored = [column for column in columns if set(column.replicate_runs) & runs.predictions.keys()]
    selected = [column for column in scored if column.finalist.is_selected]
    pairs = list(itertools.combinations(selected, 2))
    if champion in scored:
        pairs += [(champion, column) for column in scored if not column.finalist.is_selected and column is not champion]
    names = [(_called(first), _called(second)) for first, second in pairs]
    compared = [_compare(runs, first, runs, second) for first, second in pairs]
    return tuple(_corrected(names, compared, [runs.facts["n_test"]] * len(pairs)))


def _called(column: Column) -> str:
    return column.finalist.name if column.finalist.is_selected else f"baseline {column.finalist.name}"


def _compare(runs: StudyRuns, first: Column, others: StudyRuns, second: Column) -> Comparison:
    return compare(right_answers(runs, first), right_answers(others, second))


def _corrected(names: list[tuple[str, str]], compared: list[Comparison], n_images: list[int]) -> list[Verdict]:
    """The comparisons as verdicts, their p-values corrected for their number."""
    corrected = holm([comparison.p for comparison in compared])
    return [
        Verdict(first, second, comparison, p, verdict(comparison, p, n))
        for (first, second), comparison, p, n in zip(names, compared, corrected, n_images, strict=True)
    ]


def right_answers(runs: StudyRuns, column: Column) -> NDArray[np.bool_]:
    """Which test rows each replicate got right, shape (replicates, rows)."""
    return np.stack([runs.predictions[run].correct for run in column.replicate_runs if run in runs.predictions])


def _champion(objective: str, columns: tuple[Column, ...]) -> Column | None:
    confirmed = [column for column in columns if objective in column.summaries]
    if not confirmed:
        return None
    return min(confirmed, key=lambda c: (cost(objective, c.summaries[objective].mean), c.params_count or 0))
