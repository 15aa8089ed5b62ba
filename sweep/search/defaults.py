"""The config that a search tries first: what is known to do well on many tables, or what of it a space allows."""

from typing import Any

from sweep.study.config import LATER, Config
from sweep.study.space import Choice, Float, Int, Space

# Between RealMLP's defaults, tuned on many tables (Holzmueller et al. 2024, arXiv 2407.04491, table A.2), and what plain
# MLPs of two wide layers train best with on MNIST: dropout, a learning rate above Adam's own that falls along a cosine,
# some decay and smoothing, moderate batches. What distorts images is not for every data set, and stays off.
GOOD: dict[str, Any] = {
    **LATER,
    "hidden_layers": 2,
    "units": 512,
    "dropout": 0.3,
    "batch_size": 128,
    "learning_rate": 0.003,
    "batch_norm": True,
    "schedule": "cosine",
    "weight_decay": 0.05,
    "label_smoothing": 0.05,
    "input_dropout": 0.1,
}


def default_config(space: Space) -> Config:
    """Return the config of `space` that is nearest to GOOD, axis by axis."""
    return space.config(lambda name, axis: _nearest(axis, GOOD["units" if name.startswith("units_") else name]))


def _nearest(axis: Int | Float | Choice, value: Any) -> Any:
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
