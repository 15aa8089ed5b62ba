"""Translate trial states, spaces, configs and objectives into Optuna's terms."""

from typing import Literal

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from sweep.study.config import Config
from sweep.study.objective import Objective, cost
from sweep.study.schema import Study
from sweep.study.space import Axis, Choice, Float, Int, Scalar, count
from sweep.trial import State

STATES: dict[TrialState, State | None] = {
    TrialState.RUNNING: None,
    TrialState.COMPLETE: State.COMPLETE,
    TrialState.PRUNED: State.PRUNED,
    TrialState.FAIL: State.FAILED,
}
OPTUNA_STATES = {ours: theirs for theirs, ours in STATES.items()}


def to_params(study: Study, config: Config) -> tuple[dict[str, Scalar], dict[str, BaseDistribution]]:
    """Return the parameters that vary in the space: their values in `config` and their distributions, by name.

    Both are empty if `config` lies outside the space.
    """
    if study.space is None or not study.in_space(config):
        return {}, {}
    varying = {name: (axis, value) for name, (axis, value) in study.space.axes_of(config).items() if count(axis) > 1}
    values = {name: value for name, (_, value) in varying.items()}
    return values, {name: to_distribution(axis) for name, (axis, _) in varying.items()}


def to_distribution(axis: Axis) -> BaseDistribution:
    """Return the distribution of an axis that varies. Raises TypeError for a fixed value."""
    match axis:
        case Int(low, _, step, log):
            return IntDistribution(low, low + (int(count(axis)) - 1) * step, step=step, log=log)
        case Float(low, high, None, log):
            return FloatDistribution(low, high, log=log)
        case Float(low, _, float(step)):
            return FloatDistribution(low, axis.value_at(axis.n_steps), step=step)
        case Choice(options):
            return CategoricalDistribution(options)
        case _:
            raise TypeError(f"{axis!r} does not vary")


def to_direction(objective: Objective) -> Literal["maximize", "minimize"]:
    return "maximize" if cost(objective, 1.0) < 0 else "minimize"
