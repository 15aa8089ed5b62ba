"""Optuna's own pictures of a search, drawn from MLflow's runs."""

from collections.abc import Container, Iterator, Sequence

import optuna
import plotly.graph_objects as go
from optuna.trial import FrozenTrial, TrialState

from sweep.record.optuna_terms import OPTUNA_STATES, to_direction, to_params
from sweep.report.conclusion import find_ranking
from sweep.report.figures import style
from sweep.track.runs import TrackedStudy
from sweep.trial import State

MIN_COMPLETE = 5  # trials; with fewer the search has no pictures


def draw_search(tracked: TrackedStudy) -> dict[str, go.Figure]:
    """Draw Optuna's pictures of the search, by title; none where fewer than MIN_COMPLETE trials are complete."""
    name = find_ranking(tracked)
    complete = [t.metrics[name] for t in tracked.searched if t.state == State.COMPLETE]
    if len(complete) < MIN_COMPLETE or len(set(complete)) < 2 or tracked.study.space is None:
        return {}
    trials = list(_optuna_trials(tracked))
    drawn = [trial for trial in trials if trial.params]  # a baseline outside the space has none
    shown = sorted(set.intersection(*(set(trial.params) for trial in drawn))) if drawn else []
    if not shown:
        return {}
    study, in_space = _optuna_study(tracked, trials), _optuna_study(tracked, drawn)
    plots = optuna.visualization
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=tracked.study.seed)
    figures = {
        "Optimisation history": plots.plot_optimization_history(study, target_name=name),
        "Parameter importances": plots.plot_param_importances(
            in_space, evaluator=evaluator, params=shown, target_name=name
        ),
        "Parallel coordinates": plots.plot_parallel_coordinate(in_space, params=shown, target_name=name),
        "Slices": plots.plot_slice(in_space, params=shown, target_name=name),
    }
    return {title: style(figure.update_layout(title=None), height=420) for title, figure in figures.items()}


class _ReadStudy(optuna.Study):
    """A study that copies no trials. Each plot asks for a deep copy of every trial, several times, and changes none."""

    def get_trials(self, deepcopy: bool = True, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        return super().get_trials(deepcopy=False, states=states)


def _optuna_study(tracked: TrackedStudy, trials: Sequence[FrozenTrial]) -> optuna.Study:
    """Make an Optuna study in memory, with these trials."""
    storage = optuna.storages.InMemoryStorage()
    optuna.create_study(storage=storage, direction=to_direction(tracked.study.objective), study_name=tracked.study.name)
    study = _ReadStudy(study_name=tracked.study.name, storage=storage)
    study.add_trials(trials)
    return study


def _optuna_trials(tracked: TrackedStudy) -> Iterator[FrozenTrial]:
    """Yield the trials of the search as Optuna's."""
    for searched in tracked.searched:
        params, distributions = to_params(tracked.study, searched.trial.config)
        value = searched.metrics[find_ranking(tracked)] if searched.state == State.COMPLETE else None
        yield optuna.trial.create_trial(
            state=OPTUNA_STATES[searched.state], value=value, params=params, distributions=distributions
        )
