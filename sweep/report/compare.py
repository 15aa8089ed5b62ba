"""Statistics over replicates: means, intervals, paired comparisons. Pure: numbers in, numbers out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

LEVEL = 0.05  # of every test and interval
POWER = 0.8  # of the test with "about N replicates"
MAX_REPLICATES = 1000  # proposed at most


@dataclass(frozen=True)
class Summary:
    """Mean, standard deviation (n - 1 in the denominator) and 95 % interval of the mean (Student's t) over replicates.

    Deviation and interval are NaN where n is too small for them.
    """

    n: int
    mean: float
    sd: float
    interval: tuple[float, float]

    @property
    def text(self) -> str:
        """Format mean and deviation, such as `0.9832 ± 0.0007`."""
        return f"{self.mean:.4f}" + ("" if math.isnan(self.sd) else f" ± {self.sd:.4f}")


def summarise(values: Sequence[float]) -> Summary | None:
    """Summarise the values that are numbers; None where there is none."""
    numbers = np.array([value for value in values if not math.isnan(value)])
    n = len(numbers)
    if n == 0:
        return None
    mean = float(numbers.mean())
    if n == 1:
        return Summary(n, mean, math.nan, (math.nan, math.nan))
    sd = float(numbers.std(ddof=1))
    half = float(stats.t.ppf(1 - LEVEL / 2, n - 1)) * sd / math.sqrt(n)
    return Summary(n, mean, sd, (mean - half, mean + half))


@dataclass(frozen=True)
class Comparison:
    """The difference of two configs in accuracy on the same test images, over replicates of both."""

    difference: float  # of the mean accuracies, first minus second
    p: float  # two-sided, of no difference over new seeds and new images; NaN where a side has one replicate
    n: int  # replicates of the side that has fewer
    n_needed: int | None  # replicates of each side that would tell a difference of this size; None: no number would


def compare(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> Comparison:
    """Test whether two configs differ, paired by image. Arrays hold which images were right, shape (replicates, images).

    Both the seeds and the images are samples: other seeds, and other images, would have given another difference. So the
    variance of the difference is that of Welch's test over replicates, s1^2/n1 + s2^2/n2, plus what the choice of images
    adds beyond chance (the variance over images of the difference of mean correctness, over the number of images, less
    the part that is noise within a replicate); degrees of freedom are Welch and Satterthwaite's. This is the analysis of
    multiple readers and cases, with seeds for readers (Obuchowski and Rockette 1995; Hillis 2007, Statistics in Medicine
    26:596). Why not others: McNemar's test on majorities compares ensembles, which nobody deploys, and ignores seeds; the
    bootstrap over seeds and images counts the noise twice (Owen 2007, Annals of Applied Statistics 1:386), and rejects
    1 % of equal pairs where 5 % are meant. tests/report/test_compare.py holds this one to 5 %.
    """
    of_seeds, of_noise = zip(_variances(first), _variances(second), strict=True)
    per_image = first.mean(axis=0) - second.mean(axis=0)
    difference, n_images = float(per_image.mean()), len(per_image)
    counts = np.array([len(first), len(second)])
    of_images = max(0.0, float(per_image.var(ddof=1) / n_images - sum(of_noise / counts / n_images)))
    if counts.min() < 2:
        return Comparison(difference, math.nan, int(counts.min()), None)
    parts = np.array(of_seeds) / counts
    variance = of_images + parts.sum()
    if variance == 0:  # every replicate of both says the same of every image
        return Comparison(difference, 1.0 if difference == 0 else 0.0, int(counts.min()), int(counts.min()))
    freedom = variance**2 / ((parts**2 / (counts - 1)).sum() + of_images**2 / (n_images - 1))
    p = 2 * float(stats.t.sf(abs(difference) / math.sqrt(variance), freedom))
    return Comparison(difference, p, int(counts.min()), _n_needed(difference, of_images, sum(of_seeds)))


def _variances(correct: NDArray[np.bool_]) -> tuple[float, float]:
    """Return two variances: of accuracy between replicates, and the residual of correctness in the two-way layout of both."""
    n, n_images = correct.shape
    if n < 2:
        return math.nan, math.nan
    accuracy, per_image = correct.mean(axis=1), correct.mean(axis=0)
    squares = (
        correct.sum() - n * (per_image**2).sum() - n_images * (accuracy**2).sum() + correct.size * correct.mean() ** 2
    )
    return float(accuracy.var(ddof=1)), float(squares / ((n - 1) * (n_images - 1)))


def _n_needed(difference: float, of_images: float, of_seeds: float) -> int | None:
    """Count the replicates of each side that would tell a difference as large as this one, with power POWER."""
    tells = abs(difference) >= _DISTANCES * np.sqrt(of_images + of_seeds / _COUNTS)
    return int(_COUNTS[tells][0]) if difference != 0 and tells.any() else None


_COUNTS = np.arange(2, MAX_REPLICATES + 1)
# Standard errors between a difference and zero that the test needs, by replicates of each side.
_DISTANCES = stats.t.ppf(1 - LEVEL / 2, 2 * (_COUNTS - 1)) + stats.t.ppf(POWER, 2 * (_COUNTS - 1))


def holm(ps: Sequence[float]) -> list[float]:
    """Correct p-values for their number (Holm 1979, Scandinavian Journal of Statistics 6:65). NaN stays, and does not count."""
    order = sorted((i for i, p in enumerate(ps) if not math.isnan(p)), key=lambda i: ps[i])
    corrected: list[float] = [math.nan] * len(ps)
    largest = 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * ps[i]))
        corrected[i] = largest
    return corrected


def word_verdict(comparison: Comparison, p: float, n_images: int) -> str:
    """Put a comparison into words; p: corrected."""
    if math.isnan(p):
        return "cannot be compared: it takes two replicates of each"
    if p < LEVEL:
        return f"differs ({_p_text(p)})"
    told = f"cannot be told apart with n = {comparison.n} ({_p_text(p)})"
    if comparison.n_needed is None:
        return f"{told}; on {n_images} test images no number of replicates would tell a difference as small as this"
    return f"{told}; about {comparison.n_needed} replicates of each would be needed"


def _p_text(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
