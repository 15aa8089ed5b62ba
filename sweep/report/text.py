"""The conclusion as text: Markdown for people, CSV and JSON for programs. The same runs give the same bytes."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from sweep import plain_text
from sweep.plain_text import to_code, to_line
from sweep.report.columns import COLUMNS, build_columns_table, to_cell
from sweep.report.compare import MAX_REPLICATES, Comparison, Summary
from sweep.report.conclusion import Column, Conclusion, Verdict, find_ranking, list_rows
from sweep.report.metrics import COMPARED, TESTED, WITH_INTERVAL, name_metric
from sweep.report.notes import champion_notes, find_floor, list_notes
from sweep.report.spending import MISSING, build_spending_table, list_spent
from sweep.study.objective import Task, format_metric
from sweep.trial import State

SPENDING = "What the search has spent"
NO_VALIDATION = "no validation rows"
VERDICTS_NOTES: dict[Task, str] = {
    "classification": (
        "Test accuracy on the same rows, over replicates and rows together; p-values are corrected for their number (Holm). "
        "The difference is the first's mean less the second's."
    ),
    "regression": (
        "Squared errors on the same test rows, over replicates and rows together; p-values are corrected for their number "
        "(Holm). The difference is the first's R² less the second's."
    ),
}


def build_tables(conclusion: Conclusion) -> list[tuple[str, list[list[str]]]]:
    """Build each table: a title, and rows of cells, the head first."""
    selected = {capitalize(column.finalist.name): column for column in conclusion.selected}
    baselines = {capitalize(column.finalist.baseline or ""): column for column in conclusion.baselines}
    titled = {
        "Selected by validation": _table(conclusion, selected, with_references=False),
        "Baselines": _table(conclusion, baselines, with_references=True),
    }
    return [(title, rows) for title, rows in titled.items() if len(rows[0]) > 1]


def to_markdown(conclusion: Conclusion) -> str:
    """Write the whole conclusion as a Markdown page."""
    made_from = "\n".join(
        f"- {what}: " + (", ".join(f"`{run}`" for run in ids) or "none")
        for what, ids in list_sources(conclusion).items()
    )
    sections = {**markdown_sections(conclusion), "Made from these runs": made_from}
    parts = [f"# {conclusion.tracked.study.name}", describe_subject(conclusion, show=to_code), *list_notes(conclusion)]
    parts += [f"## {title}\n\n{text}" for title, text in sections.items()]
    return "\n\n".join(parts) + "\n"


def markdown_sections(conclusion: Conclusion) -> dict[str, str]:
    """Write the findings as Markdown sections, by title."""
    sections = {title: _markdown_table(rows) for title, rows in build_tables(conclusion)}
    sections["Champion"] = champion_line(conclusion)
    if conclusion.verdicts:
        lines = "\n".join(f"- {line}" for line in verdict_lines(conclusion))
        sections["What can be told apart"] = f"{VERDICTS_NOTES[conclusion.tracked.facts.task]}\n\n{lines}"
    if spending := build_spending_table(conclusion.tracked):
        sections[SPENDING] = _markdown_table(spending)
    if columns := build_columns_table(conclusion.tracked.facts, to_cell):
        sections[COLUMNS] = _markdown_table(columns)
    return sections


def _markdown_table(rows: list[list[str]]) -> str:
    head, *body = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([head, "|---" * len(rows[0]) + "|", *body])


def champion_line(conclusion: Conclusion) -> str:
    """Say in a sentence who won, and by which rule."""
    champion = conclusion.champion
    objective = conclusion.tracked.study.objective
    if champion is None:
        if not conclusion.tracked.facts.n_validation:
            return (
                "None: the study holds no validation rows to choose by, and choosing by the test split would spoil it."
            )
        if conclusion.tracked.study.confirmation is None:
            return "None: the study asks for no confirmation."
        return "None yet: no finalist is confirmed."
    summary = champion.summaries[objective]
    baseline = f" (the baseline {champion.finalist.baseline!r})" if champion.finalist.baseline else ""
    line = f"{capitalize(champion.finalist.name)}{baseline}, {champion.finalist.config.units_label}: best mean {objective} over replicates, {summary.text} (n = {summary.n})"
    test = champion.summaries.get(TESTED[conclusion.tracked.facts.task])
    line += f"; {_lower(name_metric(test.metric))} {test.text}." if test else "."
    return " ".join([line, *champion_notes(conclusion, champion)])


def verdict_lines(conclusion: Conclusion) -> list[str]:
    """Write one sentence for each pair that was compared."""
    return [verdict_line(verdict) for verdict in conclusion.verdicts]


def verdict_line(verdict: Verdict) -> str:
    return f"{capitalize(verdict.first)} and {verdict.second}: {_signed(verdict.comparison.difference)}, {verdict.text}"


def _signed(difference: float) -> str:
    """Format a difference; one that rounds to nothing has no sign of its own."""
    text = f"{difference:+.4f}"
    return "+0.0000" if text == "-0.0000" else text


def champions_table(conclusions: Sequence[Conclusion]) -> list[list[str]]:
    """Build a table with a row for each study's champion, the head first."""
    tested = dict.fromkeys(TESTED[conclusion.tracked.facts.task] for conclusion in conclusions)
    title = " or ".join(name_metric(metric) for metric in tested)
    head = ["Study", "Champion", "Hidden units", "Objective", title, "95 % interval", "n", "Parameters"]
    rows = [head]
    for conclusion in conclusions:
        name, champion = conclusion.tracked.study.name, conclusion.champion
        if champion is None:
            rows.append([name, "none"] + [MISSING] * (len(head) - 2))
            continue
        objective = champion.summaries[conclusion.tracked.study.objective]
        test = champion.summaries.get(TESTED[conclusion.tracked.facts.task])
        rows.append(
            [
                name,
                champion.finalist.name,
                champion.finalist.config.units_label,
                f"{conclusion.tracked.study.objective} {objective.text}",
                test.text if test else MISSING,
                _interval(test),
                str(objective.n),
                f"{champion.params_count:,}",
            ]
        )
    return rows


def to_csv(conclusion: Conclusion) -> str:
    """Write the conclusion as CSV: a line for each finalist and metric."""
    return plain_text.to_csv(list_figures(conclusion))


def list_figures(conclusion: Conclusion) -> list[list[object]]:
    """List the figures of each finalist and metric, a row each, the head first; None for what there is not."""
    rows: list[list[object]] = [
        ["finalist", "selected", "units", "metric", "n", "mean", "sd", "low", "high", "reference", "run_ids"]
    ]
    for column in conclusion.columns:
        for metric in list_rows(conclusion.tracked):
            summary = column.summaries.get(metric)
            numbers = [summary.n, summary.mean, summary.sd, *summary.interval] if summary else [0] + [None] * 4
            who = [column.finalist.name, column.finalist.is_selected, column.finalist.config.units_label]
            reference, run_ids = column.reference.get(metric), " ".join(column.replicate_runs)
            rows.append([*who, metric, *numbers, reference, run_ids])
    return rows


def to_dict(conclusion: Conclusion) -> dict[str, Any]:
    """Collect the conclusion for programs, as JSON takes it."""
    tracked = conclusion.tracked
    return {
        "study": tracked.study.name,
        "objective": tracked.study.objective,
        "seed": tracked.study.seed,
        "data": {name: value for name, value in tracked.facts.to_dict().items() if value != ()},
        "parent_run": tracked.parent_run_id,
        "trials": _counts(conclusion),
        "spent": [asdict(spent) for spent in list_spent(tracked)],
        "champion": conclusion.champion.finalist.name if conclusion.champion else None,
        "finalists": [_column_dict(column) for column in conclusion.columns],
        "verdicts": [
            {
                "first": v.first,
                "second": v.second,
                "metric": COMPARED[tracked.facts.task],
                "difference": v.comparison.difference,
                "p": _number(v.comparison.p),
                "p_holm": _number(v.p),
                "replicates": v.comparison.n,
                "replicates_needed": _replicates_needed(v.comparison),
                "verdict": v.text,
            }
            for v in conclusion.verdicts
        ],
    }


def _replicates_needed(comparison: Comparison) -> int | None:
    needed = comparison.n_needed
    return None if needed is None or needed > MAX_REPLICATES else needed


def _column_dict(column: Column) -> dict[str, Any]:
    return {
        "name": column.finalist.name,
        "is_selected": column.finalist.is_selected,
        "baseline": column.finalist.baseline,
        "config": column.finalist.config.to_dict(),
        "params_count": column.params_count,
        "trials": column.n_trials,
        "selected_by": {"run": column.selected_run, "value": column.selected_value},
        "metrics": {
            metric: {
                "n": s.n,
                "mean": s.mean,
                "sd": _number(s.sd),
                "interval": None if math.isnan(s.interval[0]) else list(s.interval),
            }
            for metric, s in column.summaries.items()
        },
        "reference": column.reference,
        "replicate_runs": list(column.replicate_runs),
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def describe_subject(conclusion: Conclusion, show: Callable[[str], str] = to_line) -> str:
    facts = conclusion.tracked.facts
    rows = f"{facts.n_train} training, {facts.n_validation} validation and {facts.n_test} test rows"
    counts = ", ".join(f"{n} {state}" for state, n in _counts(conclusion).items())
    return (
        f"Data: {show(facts.name)}, {rows} (sha256 {facts.sha256[:12]}...). Trials: {counts or 'none'}. Every figure is the mean "
        "± standard deviation over replicates, the config retrained with fresh seeds"
        + (
            f"; intervals hold, with 95 % confidence, the {'accuracy' if facts.task == 'classification' else 'error'} that other seeds and other rows would give on average; test rows were opened after selection."
            if facts.n_test
            else "."
        )
    )


def _counts(conclusion: Conclusion) -> dict[str, int]:
    """Count the searched trials of each state that any has."""
    counts = Counter(searched.state for searched in conclusion.tracked.searched)
    return {str(state): counts[state] for state in State if counts[state]}


def _table(conclusion: Conclusion, titled: dict[str, Column], with_references: bool) -> list[list[str]]:
    columns, ranking = titled.values(), find_ranking(conclusion.tracked)
    rows = [["Metric", *titled]]
    rows.append(["Hidden units", *(column.finalist.config.units_label for column in columns)])
    rows.append(["Dropout, batch size, learning rate", *(_rest(column) for column in columns)])
    if not with_references and any(column.n_trials for column in columns):
        rows.append(["Trials seen", *(MISSING if c.n_trials is None else str(c.n_trials) for c in columns)])
    rows.append(["Replicates", *(str(len(column.replicate_runs)) for column in columns)])
    for metric, title in list_rows(conclusion.tracked).items():
        if metric.startswith("test_") and not conclusion.tracked.facts.n_test:
            continue  # a note says so
        if metric == ranking:
            rows.append([f"{title}, when selected", *(_fixed(metric, column.selected_value) for column in columns)])
        rows.append([title, *(_cell(conclusion, column, metric) for column in columns)])
        if metric in WITH_INTERVAL[conclusion.tracked.facts.task]:
            rows.append([f"{title}, 95 % interval", *(_interval(column.summaries.get(metric)) for column in columns)])
        if (floor := find_floor(conclusion, metric)) is not None:
            rows.append([f"{title} of a dummy", *(format_metric(metric, floor.value) for _ in columns)])
        if with_references and any(metric in column.reference for column in columns):
            rows.append([f"{title}, published", *(str(column.reference.get(metric, MISSING)) for column in columns)])
    return rows


def _fixed(metric: str, value: float | None) -> str:
    return MISSING if value is None else format_metric(metric, value)


def _interval(summary: Summary | None) -> str:
    return (summary and summary.interval_text) or MISSING


def _lower(title: str) -> str:
    """Return a title as words within a sentence: `test accuracy`, `test RMSE`."""
    return title[:1].lower() + title[1:]


def capitalize(text: str) -> str:
    return text[:1].upper() + text[1:]


def _rest(column: Column) -> str:
    config = column.finalist.config
    return f"{config.dropout:.3g}, {config.batch_size}, {config.learning_rate:.3g}"


def _cell(conclusion: Conclusion, column: Column, metric: str) -> str:
    summary = column.summaries.get(metric)
    if summary is not None:
        return summary.text
    return NO_VALIDATION if metric.startswith("val_") and not conclusion.tracked.facts.n_validation else MISSING


def list_sources(conclusion: Conclusion) -> dict[str, list[str]]:
    """List the ids of the runs that the conclusion was made from, by their role."""
    found = {"parent run": [conclusion.tracked.parent_run_id]}
    for column in conclusion.columns:
        if column.selected_run:
            found[f"{column.finalist.name}, as selected"] = [column.selected_run]
        found[f"{column.finalist.name}, replicates"] = list(column.replicate_runs)
    return found
