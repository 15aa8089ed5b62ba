"""Statistics of results. Pure: numbers in, numbers out."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Summary:
    """Mean and standard deviation (n - 1 in the denominator) over replicates; NaN where n is too small for it."""

    n: int
    mean: float
    sd: float

    @property
    def text(self) -> str:
        """Such as `0.9832 ± 0.0007`."""
        return f"{self.mean:.4f}" + ("" if math.isnan(self.sd) else f" ± {self.sd:.4f}")


def summarise(values: Sequence[float]) -> Summary | None:
    """The summary of the values that are numbers; None where there is none."""
    numbers = [value for value in values if not math.isnan(value)]
    if not numbers:
        return None
    sd = statistics.stdev(numbers) if len(numbers) > 1 else math.nan
    return Summary(len(numbers), statistics.fmean(numbers), sd)
