"""The pictures of a report, as Plotly figures. What they show comes from MLflow alone."""

from collections.abc import Container, Iterator, Sequence
from typing import Any

import numpy as np
import optuna
import plotly.graph_objects as go
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState
from plotly.subplots import make_subplots

from sweep.record.optuna_terms import OPTUNA_STATES, to_direction, to_params
from sweep.report.conclusion import Column, Conclusion
from sweep.track.runs import StudyRuns, config_of
from sweep.trial import Logs

COLOURS = ("#1f5fa8", "#c8553d", "#3a8f5c", "#8a5aa8", "#b8862b", "#4a9aa8", "#7a7a7a", "#c4689a")
MIN_COMPLETE = 5  # trials without which the search has no picture


def curves(columns: Sequence[Column], histories: dict[str, list[Logs]], objective: str) -> go.Figure:
    """Each replicate's objective and train loss by epoch, a colour for each finalist; histories by run id."""
    shown = [(objective, objective.replace("_", " ").replace("val", "validation")), ("loss", "train loss (running)")]
    figure = make_subplots(1, 2, subplot_titles=[title for _, title in shown])
    for number, column in enumerate(columns):
        for at, (metric, _) in enumerate(shown, start=1):
            for replicate, run in enumerate(column.replicate_runs, start=1):
                values = [logs[metric] for logs in histories[run] if metric in logs]
                figure.add_scatter(
                    x=list(range(1, len(values) + 1)),
                    y=values,
                    mode="lines",
                    line={"color": COLOURS[number % len(COLOURS)], "width": 1.2},
                    name=column.finalist.name,
                    legendgroup=column.finalist.name,
                    showlegend=at == replicate == 1,
                    hovertemplate=f"replicate {replicate}, epoch %{{x}}: %{{y:.4f}}",
                    row=1,
                    col=at,
                )
    figure.update_xaxes(title="epoch")
    return _styled(figure, height=430)


def confusion(runs: StudyRuns, column: Column) -> go.Figure:
    """What a finalist's replicates say of each class of test rows, mean number of rows; the right ones are not coloured."""
    classes = list(runs.facts["classes"])
    counts = np.mean([runs.predictions[run].confusion(len(classes)) for run in column.replicate_runs], axis=0)
    wrong = np.where(np.eye(len(classes), dtype=bool), np.nan, counts)
    text = [[f"{value:.1f}".rstrip("0").rstrip(".") if value else "" for value in row] for row in counts]
    figure = go.Figure(
        go.Heatmap(
            z=_or_none(wrong),
            x=classes,
            y=classes,
            text=text,
            texttemplate="%{text}",
            colorscale=[[0, "#ffffff"], [1, "#c8553d"]],
            showscale=False,
            xgap=1,
            ygap=1,
            hovertemplate="%{y}, taken for %{x}: %{text}<extra></extra>",
        )
    )
    figure.update_xaxes(title="predicted", type="category", side="top")
    figure.update_yaxes(title="true class", type="category", autorange="reversed")
    figure.update_yaxes(scaleanchor="x", constrain="domain")
    figure.update_xaxes(constrain="domain")
    return _styled(figure, height=150 + 42 * len(classes))


def search(runs: StudyRuns) -> dict[str, go.Figure]:
    """Optuna's own pictures of the search, by title; none where too few trials are complete."""
    complete = runs.searched[runs.searched["state"] == "complete"]
    if len(complete) < MIN_COMPLETE or complete[runs.study.objective].nunique() < 2 or runs.study.space is None:
        return {}
    trials = list(_optuna_trials(runs))
    drawn = [trial for trial in trials if trial.params]  # a baseline outside the space has none
    shown = sorted(set.intersection(*(set(trial.params) for trial in drawn))) if drawn else []
    if not shown:
        return {}
    study, in_space = _optuna_study(runs, trials), _optuna_study(runs, drawn)
    plots = optuna.visualization
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=runs.study.seed)
    name = runs.study.objective
    figures = {
        "Optimisation history": plots.plot_optimization_history(study, target_name=name),
        "Parameter importances": plots.plot_param_importances(
            in_space, evaluator=evaluator, params=shown, target_name=name
        ),
        "Parallel coordinates": plots.plot_parallel_coordinate(in_space, params=shown, target_name=name),
        "Slices": plots.plot_slice(in_space, params=shown, target_name=name),
    }
    return {title: _styled(figure.update_layout(title=None), height=420) for title, figure in figures.items()}


def pareto(conclusion: Conclusion) -> go.Figure:
    """Mean test accuracy of each finalist against its size and its training time; the line joins those that none betters."""
    frame = conclusion.runs.replicates.set_index("run_id")
    scored = [column for column in conclusion.columns if "test_accuracy" in column.summaries]
    accuracy = [column.summaries["test_accuracy"] for column in scored]
    against = {
        "parameters": [float(column.params_count or 0) for column in scored],
        "training time, s": [
            float(frame.loc[list(column.replicate_runs), "train_seconds"].mean()) for column in scored
        ],
    }
    figure = make_subplots(1, 2, shared_yaxes=True, horizontal_spacing=0.04)
    for at, (title, costs) in enumerate(against.items(), start=1):
        front = _front(costs, [summary.mean for summary in accuracy])
        figure.add_scatter(
            x=[costs[i] for i in front],
            y=[accuracy[i].mean for i in front],
            mode="lines",
            line={"color": "#9a9a9a", "dash": "dot", "shape": "hv"},
            showlegend=False,
            hoverinfo="skip",
            row=1,
            col=at,
        )
        for number, column in enumerate(scored):
            half = accuracy[number].mean - accuracy[number].interval[0]
            figure.add_scatter(
                x=[costs[number]],
                y=[accuracy[number].mean],
                error_y={"array": [0 if np.isnan(half) else half], "width": 4},
                mode="markers",
                marker={"size": 10, "color": COLOURS[number % len(COLOURS)]},
                name=column.finalist.name,
                legendgroup=column.finalist.name,
                showlegend=at == 1,
                hovertemplate=f"{title} %{{x:,.4~g}}, test accuracy %{{y:.4f}}",
                row=1,
                col=at,
            )
        is_wide = max(costs, default=1.0) > 10 * min(costs, default=1.0)
        figure.update_xaxes(title=title, type="log" if is_wide else "linear", row=1, col=at)
    figure.update_yaxes(title="test accuracy, mean and 95 % interval", row=1, col=1)
    return _styled(figure, height=430)


def _front(costs: Sequence[float], gains: Sequence[float]) -> list[int]:
    """Who is better than everyone that costs as little or less, by rising cost."""
    front: list[int] = []
    for i in sorted(range(len(costs)), key=lambda i: (costs[i], -gains[i])):
        if not front or gains[i] > gains[front[-1]]:
            front.append(i)
    return front


class _ReadStudy(optuna.Study):
    """A study for plots, each of which asks for a deep copy of every trial several times and changes none."""

    def get_trials(self, deepcopy: bool = True, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        return super().get_trials(deepcopy=False, states=states)


def _optuna_study(runs: StudyRuns, trials: Sequence[FrozenTrial]) -> optuna.Study:
    """An Optuna study in memory, with these trials."""
    storage = optuna.storages.InMemoryStorage()
    optuna.create_study(storage=storage, direction=to_direction(runs.study.objective), study_name=runs.study.name)
    study = _ReadStudy(study_name=runs.study.name, storage=storage)
    study.add_trials(trials)
    return study


def _optuna_trials(runs: StudyRuns) -> Iterator[FrozenTrial]:
    """The search as Optuna's trials."""
    for _, row in runs.searched.iterrows():
        params, distributions = to_params(runs.study, config_of(row))
        state = OPTUNA_STATES[row["state"]]
        value = float(row[runs.study.objective]) if state == TrialState.COMPLETE else None
        yield optuna.trial.create_trial(state=state, value=value, params=params, distributions=distributions)


def _or_none(values: NDArray[np.float64]) -> list[list[float | None]]:
    return [[None if np.isnan(value) else float(value) for value in row] for row in values]


def _styled(figure: go.Figure, **layout: Any) -> go.Figure:
    figure.update_layout(
        template="plotly_white",
        font={"family": "system-ui, sans-serif", "size": 13},
        margin={"l": 60, "r": 20, "t": 50, "b": 50},
        legend={"orientation": "h", "y": -0.2},
        width=None,  # of the page; Optuna gives slices one of their own
        **layout,
    )
    return figure
