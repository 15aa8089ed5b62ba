"""The objective of trials at the rungs that they have reached, kept sorted: a verdict takes as long among many as among few."""

import bisect
from collections import defaultdict
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from sweep.study.objective import Objective, cost


class Rungs:
    """What trials were worth when they first reached each rung."""

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self._values: defaultdict[int, dict[str, float]] = defaultdict(dict)  # rung -> key -> objective
        self._costs: defaultdict[int, list[float]] = defaultdict(list)  # rung -> sorted, the lowest first

    def add(self, rung: int, key: str, value: float) -> None:
        """Add the objective of a trial at a rung that it reached for the first time.

        Raises ValueError if it is NaN, as nothing can be sorted around it: diverged trials never reach a rung.
        """
        if value != value:
            raise ValueError(f"{key} has reached epoch {rung} with NaN, which cannot be compared")
        self._values[rung][key] = value
        bisect.insort(self._costs[rung], cost(self._objective, value))

    def values_at(self, rung: int) -> Mapping[str, float]:
        """Return the objective of every trial at a rung, by key, in the order of arrival. It grows with what is added."""
        return MappingProxyType(self._values[rung])

    def costs_at(self, rung: int) -> Sequence[float]:
        """Return the costs of all trials at a rung, the lowest first. It grows with what is added."""
        return self._costs[rung]

    def last_value(self, key: str) -> float | None:
        """Return the objective of a trial at the last rung that it reached; None if it reached none."""
        reached = [rung for rung, values in self._values.items() if key in values]
        return self._values[max(reached)][key] if reached else None
