"""A space and its configs as Optuna has them."""

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from sweep.study.config import Config
from sweep.study.schema import Study
from sweep.study.space import Axis, Choice, Float, Int, Scalar, count


def parameters(study: Study, config: Config) -> tuple[dict[str, Scalar], dict[str, BaseDistribution]]:
    """What varies, by name: the values of a config and where they come from. Empty where it lies outside the space."""
    if study.space is None or not study.in_space(config):
        return {}, {}
    varying = {name: (axis, value) for name, (axis, value) in study.space.axes_of(config).items() if count(axis) > 1}
    values = {name: value for name, (_, value) in varying.items()}
    return values, {name: distribution(axis) for name, (axis, _) in varying.items()}


def distribution(axis: Axis) -> BaseDistribution:
    """An axis that varies. Raises TypeError for a fixed value."""
    match axis:
        case Int(low, _, step, log):
            return IntDistribution(low, low + (int(count(axis)) - 1) * step, step=step, log=log)
        case Float(low, high, None, log):
            return FloatDistribution(low, high, log=log)
        case Float(low, _, float(step)):
            return FloatDistribution(low, low + (int(count(axis)) - 1) * step, step=step)
        case Choice(options):
            return CategoricalDistribution(options)
        case _:
            raise TypeError(f"{axis!r} does not vary")
