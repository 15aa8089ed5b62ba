"""Writing the table of a study as the text of a study file."""

import json
from typing import Any


def to_toml(table: dict[str, Any]) -> str:
    """Return TOML that reads back as `table`: values, then a section per table, `[[...]]` for lists of tables."""
    values = [f"{_key(name)} = {_value(value)}" for name, value in table.items() if not _is_section(value)]
    sections = [_section(name, value) for name, value in table.items() if _is_section(value)]
    return "\n\n".join(["\n".join(values), *sections]) + "\n"


def _is_section(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))


def _section(name: str, value: Any) -> str:
    if isinstance(value, list):
        return "\n\n".join("\n".join([f"[[{_key(name)}]]", *_lines(entry)]) for entry in value)
    return "\n".join([f"[{_key(name)}]", *_lines(value)])


def _lines(table: dict[str, Any]) -> list[str]:
    return [f"{_key(name)} = {_value(value)}" for name, value in table.items()]


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(name)} = {_value(entry)}" for name, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    # JSON writes all other values as TOML does, except that it leaves DEL unescaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(name: str) -> str:
    return name if name.isidentifier() and name.isascii() else _value(name)
