"""The config that a search tries first: what is known to do well on many tables, or what of it a space allows."""

from typing import Any

from sweep.study.config import LATER, WHOLE_NET, Config
from sweep.study.space import Axis, Choice, Float, Int, Space

# After RealMLP's defaults, tuned on many tables (Holzmueller et al. 2024, arXiv 2407.04491, table A.2), and after what plain
# MLPs of two wide layers reach on MNIST: dropout, a learning rate above Adam's own, moderate batches.
GOOD: dict[str, Any] = {
    **LATER,
    "hidden_layers": 2,
    "units": 512,
    "dropout": 0.3,
    "batch_size": 128,
    "learning_rate": 0.002,
    "batch_norm": True,
}


def default_config(space: Space) -> Config:
    """Return the config of `space` that is nearest to GOOD, axis by axis."""
    depth = int(_nearest(space.hidden_layers, GOOD["hidden_layers"]))
    return Config(
        units=tuple(int(_nearest(space.units_at(layer), GOOD["units"])) for layer in range(1, depth + 1)),
        **{name: kind(_nearest(getattr(space, name), GOOD[name])) for name, kind in WHOLE_NET.items()},
    )


def _nearest(axis: Axis, value: Any) -> Any:
    match axis:
        case Int(low, high, step):
            steps = round((min(max(value, low), high) - low) / step)
            return low + step * min(steps, (high - low) // step)
        case Float(low, high, None):
            return min(max(value, low), high)
        case Float():
            return axis.nearest(value)
        case Choice(options) if value in options or any(isinstance(option, bool | str) for option in options):
            return value if value in options else options[0]
        case Choice(options):
            return min(options, key=lambda option: abs(option - value))
        case _:
            return axis
