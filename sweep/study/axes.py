"""The `[space]` table of a study file: from TOML to axes, with errors that say what was wanted."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, PlainValidator

from sweep.study.space import Axis, Choice, Float, Int, Space, list_values

MAX_VALUES = 1_000_000  # of one axis with a step


def _axis_reader(kind: type, wanted: str, low: float, high: float, high_open: bool = False) -> Any:
    """A validator from TOML to an axis: a fixed value, or a table `{int = [..]}`, `{float = [..]}`, `{choice = [..]}`."""
    tables = {int: "{int = [low, high]}", float: "{float = [low, high]}", bool: ""}[kind]
    shapes = " or ".join(filter(None, [wanted, tables, "{choice = [...]}"]))

    def scalar(value: Any) -> Any:
        fits = isinstance(value, bool) if kind is bool else isinstance(value, int | float if kind is float else int)
        if not fits or (kind is not bool and isinstance(value, bool)):
            raise ValueError(f"wanted {shapes}")
        if kind is not bool and not (low <= value < high if high_open else low <= value <= high):
            raise ValueError(f"wanted {wanted}")
        return kind(value)

    def bounds(value: dict[str, Any], name: str, allowed: set[str]) -> tuple[Any, Any]:
        if unknown := value.keys() - allowed - {name}:
            raise ValueError(f"unknown key {sorted(unknown)[0]!r}; beside {name!r} only {sorted(allowed)} are known")
        pair = value[name]
        if not isinstance(pair, list) or len(pair) != 2:
            raise ValueError(f"wanted {name} = [low, high]")
        lowest, highest = scalar(pair[0]), scalar(pair[1])
        if lowest >= highest:
            raise ValueError(f"wanted low below high in {name} = [low, high]")
        if not isinstance(value.get("log", False), bool):
            raise ValueError("wanted log = true or false")
        if value.get("log") and lowest <= 0:
            raise ValueError("wanted low above 0 where log = true")
        if value.get("log") and "step" in value:
            raise ValueError("wanted either log or step, not both")
        step = value.get("step", 1)
        if isinstance(step, bool) or not isinstance(step, int if kind is int else int | float) or not 0 < step <= 65536:
            raise ValueError("wanted a step above 0, up to 65536")
        if (highest - lowest) / step > MAX_VALUES:
            raise ValueError(f"wanted a step that gives up to {MAX_VALUES} values")
        return lowest, highest

    def read(value: Any) -> Axis:
        if isinstance(value, Int | Float | Choice):
            return value
        if not isinstance(value, dict):
            return scalar(value)  # type: ignore[no-any-return]
        if "choice" in value:
            if value.keys() != {"choice"} or not isinstance(value["choice"], list) or not value["choice"]:
                raise ValueError("wanted {choice = [...]} with at least one value and no other key")
            options = tuple(scalar(option) for option in value["choice"])
            if len(set(options)) < len(options):
                raise ValueError("wanted each value of a choice once")
            return Choice(options)
        if kind is int and "int" in value:
            lowest, highest = bounds(value, "int", {"step", "log"})
            return Int(lowest, highest, step=value.get("step", 1), log=value.get("log", False))
        if kind is float and "float" in value:
            lowest, highest = bounds(value, "float", {"step", "log"})
            step = value.get("step")
            return Float(lowest, highest, step=None if step is None else float(step), log=value.get("log", False))
        raise ValueError(f"wanted {shapes}")

    return read


_units = _axis_reader(int, "a whole number from 1 to 65536", 1, 65536)


def _read_units(value: Any) -> Axis | tuple[Axis, ...]:
    if isinstance(value, list) and not value:
        raise ValueError("wanted one entry for each hidden layer, got none")
    return tuple(_units(entry) for entry in value) if isinstance(value, list) else _units(value)


def _reader(read: Any) -> Any:
    return PlainValidator(read)


class _SpaceTable(BaseModel):
    """The `[space]` table as typed; `Study.space` is made of it."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    hidden_layers: Annotated[Any, _reader(_axis_reader(int, "a whole number from 1 to 20", 1, 20))]
    units: Annotated[Any, _reader(_read_units)]
    dropout: Annotated[Any, _reader(_axis_reader(float, "a rate from 0 to below 1", 0, 1, high_open=True))] = 0.0
    batch_size: Annotated[Any, _reader(_axis_reader(int, "a whole number from 1 to 65536", 1, 65536))] = 128
    learning_rate: Annotated[Any, _reader(_axis_reader(float, "a number from 1e-8 to 10", 1e-8, 10))] = 0.001
    batch_norm: Annotated[Any, _reader(_axis_reader(bool, "true or false", 0, 1))] = True


def read_space(value: Any) -> Space:
    """The space of a `[space]` table. Raises ValueError; every hidden layer that can be drawn must have its units."""
    if isinstance(value, Space):
        return value
    space = Space(**dict(_SpaceTable.model_validate(value)))
    deepest = int(max(list_values(space.hidden_layers)))
    if isinstance(space.units, tuple) and len(space.units) < deepest:
        raise ValueError(
            f"units names {len(space.units)} hidden layers, wanted {deepest}, as many as the deepest net has"
        )
    return space
