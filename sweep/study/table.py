"""What every table of a study file shares, and rules of keys that take text."""

import re
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, GetCoreSchemaHandler


class Table(BaseModel):
    """A table of a study file: frozen, with no keys but its own."""

    # Strict: TOML has types, so "3" for 3 or true for 1 is a slip to show, not to guess around.
    # Descriptions are no attribute docstrings: pydantic would parse this file to find those, tens of ms in every process.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


@dataclass(frozen=True)
class TextRule:
    """The rule of a key that takes text: the pattern that the whole text must match, and the same in words."""

    wanted: str
    pattern: str = r"(?s).*"

    def check(self, value: Any) -> Any:
        if isinstance(value, str) and not re.fullmatch(self.pattern, value):
            raise ValueError(f"wanted {self.wanted}")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        """Have pydantic check an annotated field with `check`."""
        return BeforeValidator(self.check).__get_pydantic_core_schema__(source, handler)


@dataclass(frozen=True)
class RowsRule(TextRule):
    """The rule of a number of rows: a whole number from `low` on, or a share between 0 and 1."""

    low: int = 0

    def check(self, value: Any) -> Any:
        if value is None:  # the type of the key says whether it may be left out
            return value
        is_share = isinstance(value, float) and 0 < value < 1
        is_count = isinstance(value, int) and not isinstance(value, bool) and value >= self.low
        if not is_share and not is_count:
            raise ValueError(f"wanted {self.wanted}")
        return value


STUDY_NAME = TextRule(
    "up to 64 of a-z, 0-9, '.', '_' and '-', starting with a letter or digit", r"[a-z0-9][a-z0-9._-]{0,63}"
)
