"""A study built in code. It is the study that a file with the same keys describes."""

from collections.abc import Mapping
from typing import Any

from sweep.study.file import parse_study
from sweep.study.space import Choice, Float, Int

NAME = "Study"  # of a study without a file, in messages


class Study:
    """A study built in code, of the keys that a study file has (studies/README.md names them all).

    Tables are dicts; ranges of the space are `Int`, `Float` and `Choice`, or as a file has them:

        Study(
            name="wine",
            seed=1,
            data={"validation_rows": 0.2, "test_rows": 0.2},
            space={"hidden_layers": Int(1, 3), "units": Int(32, 512, log=True), "dropout": Float(0.0, 0.5)},
            training={"max_epochs": 30},
            search={"epochs": 300},
            confirmation={"replicates": 3},
        )
    """

    def __init__(self, **keys: Any) -> None:
        """Check the keys. Raises InvalidStudyError: one line, every fault."""
        self.table: dict[str, Any] = _to_toml_value(keys)
        parse_study(self.table, NAME)

    def __repr__(self) -> str:
        return f"Study({', '.join(f'{name}={value!r}' for name, value in self.table.items())})"


def _to_toml_value(value: Any) -> Any:
    """Return a value as a study file has it: axes as tables, tuples as lists, and no key that is None."""
    match value:
        case Int() | Float():
            return _spell_range(value)
        case Choice(options):
            return {"choice": list(options)}
        case Mapping():
            return {name: _to_toml_value(entry) for name, entry in value.items() if entry is not None}
        case list() | tuple():
            return [_to_toml_value(entry) for entry in value]
        case _:
            return value


def _spell_range(axis: Int | Float) -> dict[str, Any]:
    kind = type(axis)
    given = {name: getattr(axis, name) for name in ("step", "log") if getattr(axis, name) != getattr(kind, name)}
    return {kind.__name__.lower(): [axis.low, axis.high], **given}
