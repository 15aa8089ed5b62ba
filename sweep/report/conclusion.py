"""The conclusion of a study, drawn from its runs alone: a column for each finalist, a row for each metric."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweep.report.compare import Comparison, Summary, compare, holm, summarise, word_verdict
from sweep.report.interval import (
    NO_INTERVAL,
    Interval,
    accuracy_interval,
    accuracy_interval_of_means,
    error_interval,
    loss_interval,
)
from sweep.report.metrics import REFERENCE_ROWS, WITH_INTERVAL, is_optional, list_metrics
from sweep.search.finalists import Candidate, Finalist, select_finalists
from sweep.study.objective import SETTLED, cost, is_gain, ranking_metric
from sweep.track.fields import TrackedTrial
from sweep.track.runs import TrackedStudy
from sweep.trial import State


@dataclass(frozen=True)
class Column:
    """A finalist with the results of its replicates."""

    finalist: Finalist
    summaries: dict[str, Summary]  # by metric; a metric that no replicate has is absent
    reference: dict[str, float]  # published figures, by our metric
    n_trials: int | None  # searched in its group; None for a baseline that was not selected
    selected_value: (
        float | None
    )  # what the trial was ranked by that it was selected by: the best of many, and so biased
    selected_run: str | None
    n_tied: int  # other trials of its group with the very same objective
    tie_rule: str  # what told it from those; empty where there are none
    replicate_runs: tuple[str, ...]  # run ids, in the order of their training
    params_count: int | None


@dataclass(frozen=True)
class Verdict:
    """The answer to whether two finalists differ on the test rows."""

    first: str  # name of a finalist, or of a study
    second: str
    comparison: Comparison
    p: float  # corrected for the number of verdicts (Holm)
    text: str


@dataclass(frozen=True)
class Conclusion:
    """The result of a study. Report, export and registry are made of it."""

    tracked: TrackedStudy
    columns: tuple[Column, ...]
    champion: Column | None  # see `_rank`; None where nothing can be selected by
    verdicts: tuple[Verdict, ...]  # each group's best with each other's, and the champion with each baseline

    @property
    def selected(self) -> list[Column]:
        return [column for column in self.columns if column.finalist.is_selected]

    @property
    def baselines(self) -> list[Column]:
        """Every baseline, in the study file's order; baselines that were selected are among them."""
        columns = {column.finalist.baseline: column for column in self.columns}
        return [columns[baseline.name] for baseline in self.tracked.study.baselines if baseline.name in columns]


def conclude(tracked: TrackedStudy) -> Conclusion:
    """Select finalists by the same rule as the sweep did, and summarise their replicates."""
    objective = tracked.study.objective
    metric = find_ranking(tracked)
    candidates = [
        Candidate(t.trial.config, t.metrics[metric], _loss(t)) for t in tracked.searched if _is_candidate(t, objective)
    ]
    confirmed = {(t.trial.name, t.trial.config) for t in tracked.replicates}
    columns = tuple(_column(tracked, finalist) for finalist in select_finalists(tracked.study, candidates, confirmed))
    champion = _choose_champion(objective, columns)
    return Conclusion(tracked, columns, champion, _verdicts(tracked, columns, champion))


def find_ranking(tracked: TrackedStudy) -> str:
    """Return the metric that the search's trials are ranked by."""
    objective = tracked.study.objective
    return ranking_metric(objective, [t.metrics for t in tracked.searched if _is_candidate(t, objective)])


def list_rows(tracked: TrackedStudy) -> dict[str, str]:
    """List the metrics of the conclusion and their titles: of the settled ones, that alone by which trials are ranked."""
    ranking = find_ranking(tracked)
    measured = {name for one in tracked.replicates for name in one.metrics}
    return {
        name: title
        for name, title in list_metrics(tracked.facts.task).items()
        if (not name.startswith(SETTLED) or name == ranking) and (not is_optional(name) or name in measured)
    }


def compare_champions(conclusions: Sequence[Conclusion]) -> list[Verdict]:
    """Compare the champions of studies, every pair that was scored on the same test rows."""
    scored = [c for c in conclusions if c.champion and _is_scored(c.tracked, c.champion)]
    pairs = [(a, b) for a, b in itertools.combinations(scored, 2) if _test_rows(a.tracked) == _test_rows(b.tracked)]
    compared = [_compare(a.tracked, a.champion, b.tracked, b.champion) for a, b in pairs if a.champion and b.champion]
    names = [(a.tracked.study.name, b.tracked.study.name) for a, b in pairs]
    return _corrected(names, compared, [a.tracked.facts.n_test for a, _ in pairs])


def compare_with_config(conclusion: Conclusion, config: str) -> Comparison | None:
    """Compare the champion with another config that was confirmed, by its key; None where one has no test predictions."""
    tracked, champion = conclusion.tracked, conclusion.champion
    others = [replicate.run_id for replicate in tracked.replicates if replicate.trial.config.key == config]
    other: list[NDArray[Any]] = [tracked.predictions[run].scores for run in others if run in tracked.predictions]
    if champion is None or not other or not _is_scored(tracked, champion):
        return None
    return compare(stack_scores(tracked, champion), np.stack(other))


def stack_scores(tracked: TrackedStudy, column: Column) -> NDArray[Any]:
    """Stack the scores of the test rows by each replicate, shape (replicates, rows): which are right, or their shares of R^2."""
    return np.stack([tracked.predictions[run].scores for run in column.replicate_runs if run in tracked.predictions])


def _is_candidate(tracked: TrackedTrial, objective: str) -> bool:
    return tracked.state == State.COMPLETE and objective in tracked.metrics


def _loss(tracked: TrackedTrial) -> float:
    return tracked.metrics.get("val_loss", math.inf)


def _is_scored(tracked: TrackedStudy, column: Column) -> bool:
    """Return whether any replicate has test predictions."""
    return not tracked.predictions.keys().isdisjoint(column.replicate_runs)


def _test_rows(tracked: TrackedStudy) -> tuple[Any, ...]:
    """Return what decides which rows are sealed off as the test split, and in which order."""
    data = tracked.study.data
    drawn = (data.test_rows, data.split_by, tracked.study.seed) if data.test_rows is not None else None
    return tracked.facts.sha256, tracked.facts.task, drawn


def _column(tracked: TrackedStudy, finalist: Finalist) -> Column:
    study = tracked.study
    selected = next(
        (t for t in tracked.searched if t.trial.config == finalist.config and _is_candidate(t, study.objective)), None
    )
    mine = [t for t in tracked.replicates if t.trial.config == finalist.config and t.state == State.COMPLETE]
    baseline = study.baseline_named(finalist.baseline)
    tied = [] if selected is None or not finalist.is_selected else _list_tied(tracked, selected)
    runs = tuple(t.run_id for t in mine)

    def summarise_metric(metric: str) -> Summary | None:
        values = [t.metrics[metric] for t in mine if metric in t.metrics]
        return summarise(values, lambda numbers: _interval(tracked, metric, numbers, runs), metric)

    summaries = {metric: summarise_metric(metric) for metric in list_metrics(tracked.facts.task)}
    return Column(
        finalist=finalist,
        summaries={metric: summary for metric, summary in summaries.items() if summary is not None},
        n_trials=_count_trials(tracked, finalist),
        reference={REFERENCE_ROWS.get(m, m): v for m, v in (baseline.reference if baseline else {}).items()},
        selected_value=selected.metrics[find_ranking(tracked)] if selected else None,
        selected_run=selected.run_id if selected else None,
        n_tied=len(tied),
        tie_rule="" if selected is None or not tied else _name_tie_rule(selected, tied),
        replicate_runs=runs,
        params_count=mine[0].params_count if mine else None,
    )


def _interval(tracked: TrackedStudy, metric: str, values: Sequence[float], runs: Sequence[str]) -> Interval:
    """Return the interval of a metric's mean over several replicates, by what is known of the rows it was measured on."""
    facts = tracked.facts
    if facts.task == "regression":
        return _error_interval(tracked, metric, values, runs)
    if is_optional(metric):
        return NO_INTERVAL
    if not metric.endswith("accuracy"):
        return loss_interval(values)
    if metric == "test_accuracy" and len(values) == len(runs):
        return accuracy_interval(np.stack([tracked.classified[run].correct for run in runs]))
    n_rows = facts.n_test if metric == "test_accuracy" else facts.n_validation if "val_" in metric else facts.n_train
    return accuracy_interval_of_means(values, n_rows)


def _error_interval(tracked: TrackedStudy, metric: str, values: Sequence[float], runs: Sequence[str]) -> Interval:
    """Return the interval of a mean error over replicates: over seeds and rows for the test rows, else over seeds alone."""
    if is_gain(metric):
        return NO_INTERVAL
    if metric not in WITH_INTERVAL["regression"] or not tracked.valued.keys() >= set(runs):
        return loss_interval(values)
    errors = np.stack([np.abs(tracked.valued[run].errors) for run in runs])
    if metric == "test_mae":
        return error_interval(errors)
    low, high = error_interval(errors**2)
    return math.sqrt(low), math.sqrt(high)


def _list_tied(tracked: TrackedStudy, selected: TrackedTrial) -> list[TrackedTrial]:
    """List the other trials of the group of `selected` with the same objective."""
    objective, metric, confirmation = tracked.study.objective, find_ranking(tracked), tracked.study.confirmation
    group_by = confirmation.group_by if confirmation is not None else ""

    def rank(one: TrackedTrial) -> tuple[object, float]:
        return getattr(one.trial.config, group_by), one.metrics[metric]

    return [
        one
        for one in tracked.searched
        if one is not selected and _is_candidate(one, objective) and rank(one) == rank(selected)
    ]


def _name_tie_rule(selected: TrackedTrial, tied: Sequence[TrackedTrial]) -> str:
    least = min(map(_loss, tied))
    if _loss(selected) < least:
        return "the lower validation loss"
    return "the order of trials" if _loss(selected) == least else "that it had been confirmed before"


def _count_trials(tracked: TrackedStudy, finalist: Finalist) -> int | None:
    """Count the trials of the search, and the baselines, in the group whose best a finalist is."""
    confirmation = tracked.study.confirmation
    if not finalist.is_selected or confirmation is None:
        return None
    group = getattr(finalist.config, confirmation.group_by)
    return len([s for s in tracked.searched if getattr(s.trial.config, confirmation.group_by) == group])


def _verdicts(tracked: TrackedStudy, columns: tuple[Column, ...], champion: Column | None) -> tuple[Verdict, ...]:
    scored = [column for column in columns if _is_scored(tracked, column)]
    selected = [column for column in scored if column.finalist.is_selected]
    pairs = list(itertools.combinations(selected, 2))
    if champion in scored:
        pairs += [(champion, column) for column in scored if not column.finalist.is_selected and column is not champion]
    names = [(_name(first), _name(second)) for first, second in pairs]
    compared = [_compare(tracked, first, tracked, second) for first, second in pairs]
    return tuple(_corrected(names, compared, [tracked.facts.n_test] * len(pairs)))


def _name(column: Column) -> str:
    return column.finalist.name if column.finalist.is_selected else f"baseline {column.finalist.name}"


def _compare(tracked: TrackedStudy, first: Column, others: TrackedStudy, second: Column) -> Comparison:
    return compare(stack_scores(tracked, first), stack_scores(others, second))


def _corrected(names: list[tuple[str, str]], compared: list[Comparison], n_rows: list[int]) -> list[Verdict]:
    """Turn comparisons into verdicts, with p-values corrected for their number."""
    corrected = holm([comparison.p for comparison in compared])
    return [
        Verdict(first, second, comparison, p, word_verdict(comparison, p, n))
        for (first, second), comparison, p, n in zip(names, compared, corrected, n_rows, strict=True)
    ]


def _choose_champion(objective: str, columns: tuple[Column, ...]) -> Column | None:
    confirmed = [column for column in columns if objective in column.summaries]
    return min(confirmed, key=lambda column: _rank(objective, column)) if confirmed else None


def _rank(objective: str, column: Column) -> tuple[float, float, int]:
    """Return what the champion is the least by: the mean objective over replicates, then validation loss, then size."""
    loss = column.summaries["val_loss"].mean if "val_loss" in column.summaries else math.inf
    return _mean_cost(objective, column), loss, column.params_count or 0


def _mean_cost(objective: str, column: Column) -> float:
    """Return the mean cost. Accuracies are rounded: equal counts of right rows are a tie, in whatever order they are added."""
    found = cost(objective, column.summaries[objective].mean)
    return round(found, 6) if objective.endswith("accuracy") else found


def is_tied_with_champion(conclusion: Conclusion, column: Column) -> bool:
    """Return whether a finalist, not the champion itself, has the champion's mean objective."""
    objective, champion = conclusion.tracked.study.objective, conclusion.champion
    if champion is None or column is champion or objective not in column.summaries:
        return False
    return _mean_cost(objective, column) == _mean_cost(objective, champion)
