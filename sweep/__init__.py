"""Hyperparameter sweeps of Keras MLPs, tracked so that the result can be trusted.

From Python: `sweep.run`, a `Study` of `Int`, `Float` and `Choice`, the `Result` and its `Champion`, and the errors. Each is
loaded when it is first used, so that `import sweep`, which every command and worker does, loads nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweep.errors import Interrupted, InvalidDataError, InvalidStudyError, SweepError
    from sweep.python.champion import Champion
    from sweep.python.result import Result
    from sweep.python.run import run
    from sweep.python.study import Study
    from sweep.study.space import Choice, Float, Int

__all__ = [
    "Champion",
    "Choice",
    "Float",
    "Int",
    "Interrupted",
    "InvalidDataError",
    "InvalidStudyError",
    "Result",
    "Study",
    "SweepError",
    "run",
]
_HOMES = {
    "Champion": "python.champion",
    "Choice": "study.space",
    "Float": "study.space",
    "Int": "study.space",
    "Interrupted": "errors",
    "InvalidDataError": "errors",
    "InvalidStudyError": "errors",
    "Result": "python.result",
    "Study": "python.study",
    "SweepError": "errors",
    "run": "python.run",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
