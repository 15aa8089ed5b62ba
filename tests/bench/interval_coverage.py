"""`python -m tests.bench.interval_coverage`: how often the interval of an accuracy holds it, by simulation.

What is to be held is the expected accuracy, on new rows, of a config trained with a new seed. Each row has a chance of its
own to be classified rightly, drawn from a beta distribution: all seeds agree on every row at a correlation of 1, and err on
their own at 0. Each replicate shifts these chances by a normal draw on the logit scale. All replicates see the same rows.

Cells that come within one Monte Carlo error of a bound are simulated again, with ten times the studies.
"""

import argparse
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy import special

from sweep.report.interval import Spread, limit

REPLICATES = (2, 3, 5, 10)
ROWS = (30, 100, 300, 1000, 10_000)
ACCURACIES = (0.5, 0.7, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1.0)
CORRELATIONS = (1.0, 0.9, 0.6, 0.3, 0.0)  # of correctness between replicates on a row
SPREADS = (0.0, 0.002, 0.01, 0.02)  # standard deviation of accuracy over seeds
MAX_SPREAD = 0.3  # of the error rate; more no net shows
AT_LEAST, AT_MOST = 0.93, 0.98  # of every cell; and of those with ROWS_FOR_MOST or more and MOST_ACCURATE or less
ROWS_FOR_MOST, MOST_ACCURATE = 100, 0.98
N_NODES = 24  # of the quadrature over chances of rows
MORE = 10  # times the studies, for cells near a bound

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Population:
    """What studies are drawn from."""

    accuracy: float
    correlation: float
    spread: float

    def __str__(self) -> str:
        return f"accuracy {self.accuracy:g}, correlation {self.correlation:g}, spread {self.spread:g}"


@dataclass(frozen=True)
class Cell:
    """One point of the grid, simulated."""

    population: Population
    n: int
    n_rows: int
    n_studies: int
    coverage: float
    width: float  # median

    @property
    def error(self) -> float:
        """The Monte Carlo standard error of the coverage, never of more than AT_MOST: all of the studies say too little."""
        share = min(self.coverage, AT_MOST)
        return float(np.sqrt(share * (1 - share) / self.n_studies))

    @property
    def bounds(self) -> tuple[float, float]:
        is_bound = self.n_rows >= ROWS_FOR_MOST and self.population.accuracy <= MOST_ACCURATE
        return AT_LEAST, AT_MOST if is_bound else 1.0

    def is_near(self) -> bool:
        low, high = self.bounds
        return self.coverage < low + self.error or (high < 1 and self.coverage > high - self.error)

    def is_outside(self) -> bool:
        """Whether the coverage is outside its bounds by more than two Monte Carlo errors."""
        low, high = self.bounds
        return self.coverage < low - 2 * self.error or self.coverage > high + 2 * self.error


def populations() -> Iterator[Population]:
    for accuracy, correlation, spread in itertools.product(ACCURACIES, CORRELATIONS, SPREADS):
        is_settled = accuracy == 1 or correlation == 1  # nothing that a shift could change
        is_repeated = accuracy == 1 and correlation < 1
        if spread <= MAX_SPREAD * (1 - accuracy) + 1e-12 and not (is_settled and spread) and not is_repeated:
            yield Population(accuracy, correlation, spread)


def simulate(population: Population, n: int, rows: Sequence[int], n_studies: int, seed: int = 0) -> list[Cell]:
    """Draw studies for each number of test rows, and see how often the interval holds the accuracy."""
    rng = np.random.default_rng([seed, n, n_studies])
    patterns = np.array(list(itertools.product((0, 1), repeat=n)))  # which replicates get a row right
    found: dict[int, list[tuple[Floats, Floats]]] = {n_rows: [] for n_rows in rows}
    for chances in _chances(population, patterns, n_studies, rng):
        for n_rows in rows:
            found[n_rows].append(limit(_spread(rng.multinomial(n_rows, chances), patterns)))
    return [_cell(population, n, n_rows, *map(np.concatenate, zip(*found[n_rows], strict=True))) for n_rows in rows]


def _cell(population: Population, n: int, n_rows: int, low: Floats, high: Floats) -> Cell:
    is_held = (low <= population.accuracy + 1e-9) & (population.accuracy <= high + 1e-9)
    return Cell(population, n, n_rows, len(low), float(is_held.mean()), float(np.median(high - low)))


def _chances(population: Population, patterns: Ints, n_studies: int, rng: np.random.Generator) -> Iterator[Floats]:
    """Yield the chance of each pattern in each study, shape (studies, patterns), in portions that memory holds."""
    chances, weights, scale = _calibrate(population)
    n_at_once = max(1, 2**22 // (len(patterns) * len(chances)))
    for start in range(0, n_studies, n_at_once):
        n = min(n_at_once, n_studies - start)
        shifts = rng.normal(0, scale, (n if scale else 1, patterns.shape[1]))
        right = np.clip(_shifted(chances, shifts[..., None]), 1e-300, 1)  # studies, replicates, nodes
        of_patterns = _products(right, np.clip(1 - right, 1e-300, 1)) @ weights
        of_patterns /= of_patterns.sum(axis=1, keepdims=True)
        yield np.broadcast_to(of_patterns, (n, len(patterns)))


def _products(right: Floats, wrong: Floats) -> Floats:
    """Multiply the chances of the replicates in every pattern, in the order of `itertools.product`."""
    products = np.ones((len(right), 1, right.shape[2]))
    for replicate in range(right.shape[1]):
        both = np.stack([wrong[:, replicate], right[:, replicate]], axis=1)  # studies, wrong or right, nodes
        products = (products[:, :, None] * both[:, None]).reshape(len(right), -1, right.shape[2])
    return products


def _spread(counts: Ints, patterns: Ints) -> Spread:
    """Sum up studies of which the number of rows of each pattern is known, shape (studies, patterns)."""
    n, n_rows = patterns.shape[1], int(counts[0].sum())
    accuracy = counts @ patterns / n_rows
    mean = accuracy.mean(axis=1)
    n_right = patterns.sum(axis=1)  # replicates
    rows = counts @ (n_right[:, None] == np.arange(n + 1))  # studies, replicates that get a row right
    squares = (np.arange(n + 1) / n - mean[:, None]) ** 2
    of_rows, of_seeds = (rows * squares).sum(axis=1), accuracy.var(axis=1, ddof=1)
    residual = n * n_rows * mean * (1 - mean) - n * of_rows - n_rows * (n - 1) * of_seeds
    return Spread(
        n=n,
        n_rows=n_rows,
        mean=mean,
        of_seeds=of_seeds,
        of_rows=of_rows / (n_rows - 1),
        residual=np.maximum(0, residual) / ((n - 1) * (n_rows - 1)),
        n_spread=of_rows**2 / np.maximum((rows * squares**2).sum(axis=1), 1e-300),
    )


def _calibrate(population: Population) -> tuple[Floats, Floats, float]:
    """Return chances of rows, their weights, and the deviation of shifts that give the population's figures."""
    accuracy, spread = population.accuracy, population.spread
    if spread == 0:
        return (*_rows(accuracy, population.correlation), 0.0)
    nodes, shares = np.polynomial.hermite_e.hermegauss(40)
    shares /= shares.sum()
    mean, scale = accuracy, spread / (accuracy * (1 - accuracy))
    for _ in range(200):
        chances, weights = _rows(mean, population.correlation)
        by_seed = _shifted(chances, scale * nodes[:, None]) @ weights
        found = shares @ by_seed
        deviation = np.sqrt(shares @ (by_seed - found) ** 2)
        if abs(found - accuracy) < 1e-7 and abs(deviation / spread - 1) < 1e-3:
            return chances, weights, float(scale)
        scale *= (spread / deviation) ** 0.7
        mean = special.expit(special.logit(mean) + special.logit(accuracy) - special.logit(found))
    raise ValueError(f"no shifts give {population}")


def _rows(mean: float, correlation: float) -> tuple[Floats, Floats]:
    """Return nodes and weights of the beta distribution of chances; its intraclass correlation is `correlation`."""
    if correlation == 1 or mean == 1:
        return np.array([0.0, 1.0]), np.array([1 - mean, mean])
    if correlation == 0:
        return np.array([mean]), np.array([1.0])
    concentration = 1 / correlation - 1
    nodes, weights = special.roots_jacobi(N_NODES, (1 - mean) * concentration - 1, mean * concentration - 1)
    return (nodes + 1) / 2, weights / weights.sum()


def _shifted(chances: Floats, shift: Floats) -> Floats:
    """Shift chances on the logit scale."""
    odds = np.exp(shift)
    return chances * odds / (1 - chances + chances * odds)


def run(n_studies: int) -> Iterator[Cell]:
    for n, population in itertools.product(REPLICATES, populations()):
        cells = simulate(population, n, ROWS, n_studies)
        near = [cell.n_rows for cell in cells if cell.is_near()]
        yield from (cell for cell in cells if cell.n_rows not in near)
        yield from simulate(population, n, near, MORE * n_studies) if near else ()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.interval_coverage", description=__doc__)
    parser.add_argument("--studies", type=int, default=1000, help="in each cell")
    started = time.perf_counter()
    cells = list(run(parser.parse_args().studies))
    console = Console(width=120)
    for n in REPLICATES:
        console.print(_table(n, [cell for cell in cells if cell.n == n]))
    outside = [cell for cell in cells if cell.is_outside()]
    for cell in outside:
        console.print(
            f"outside: n = {cell.n}, {cell.n_rows} rows, {cell.population}: {cell.coverage:.4f} ± {cell.error:.4f}",
            highlight=False,
        )
    print(
        f"{len(cells)} cells in {time.perf_counter() - started:.0f} s, {len(outside)} outside by more than two errors; "
        f"least {min(c.coverage for c in cells):.4f}, most where it is bound {max(c.coverage for c in cells if c.bounds[1] < 1):.4f}"
    )


def _table(n: int, cells: list[Cell]) -> Table:
    table = Table(
        "accuracy",
        *(f"{n_rows:,} rows" for n_rows in ROWS),
        title=f"n = {n}: least and most coverage over correlations and spreads; median width",
        title_justify="left",
    )
    for accuracy in ACCURACIES:
        of_row = [cell for cell in cells if cell.population.accuracy == accuracy]
        table.add_row(f"{accuracy:g}", *(_text([c for c in of_row if c.n_rows == n_rows]) for n_rows in ROWS))
    return table


def _text(cells: list[Cell]) -> str:
    coverages = [cell.coverage for cell in cells]
    width = float(np.median([cell.width for cell in cells]))
    return f"{min(coverages):.3f} {max(coverages):.3f}; {width:.3f}"


if __name__ == "__main__":
    main()
