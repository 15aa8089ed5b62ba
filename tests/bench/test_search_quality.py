"""The bench of searches on a table of curves that is made up: what it counts, not how good a search is."""

import numpy as np
import pytest

from sweep.execute.fake import plausible_logs
from sweep.study.config import Config
from tests.bench.curve_table import CurveTable
from tests.bench.search_quality import METHODS, Method, Reached, compute_targets, cross, measure_worth, search

N_EPOCHS = 6


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    rng = np.random.default_rng(0)
    rows = [
        [
            depth,
            *widths[:depth],
            *[0] * (5 - depth),
            rng.uniform(0, 0.5),
            rng.choice([32, 64]),
            10 ** rng.uniform(-3, -2),
        ]
        for depth, widths in ((rng.integers(1, 4), rng.integers(8, 200, 5)) for _ in range(60))
    ]
    curves = np.zeros((60, N_EPOCHS, 6))
    for i, row in enumerate(rows):
        config = Config(units=tuple(map(int, row[1 : 1 + row[0]])), dropout=0.1, batch_size=32, learning_rate=0.001)
        for epoch in range(1, N_EPOCHS + 1):
            logs = plausible_logs(config, i, epoch)
            curves[i, epoch - 1] = [*logs.values(), logs["val_loss"], logs["val_accuracy"] - 0.01]
    path = tmp_path_factory.mktemp("curves") / "curves.npz"
    np.savez(path, configs=np.array(rows, float), curves=curves)
    return CurveTable.read(path)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_every_search_spends_its_epochs_and_picks_configs_of_the_table(table, method):
    short = Method(method.name, 60, method.search | _rungs(method), method.n_slots, method.patience)
    reached = search(short, table, seed=1)
    worth = measure_worth(table)
    assert 0 < reached.epochs[0] <= reached.epochs[-1] <= 60
    assert all((worth == pick).all(axis=1).any() for pick in reached.worth)


def _rungs(method):
    """Rungs before the last of so few epochs."""
    return {"pruner": method.search["pruner"] | {"rungs": [1, 2]}} if "pruner" in method.search else {}


def test_the_same_seed_searches_alike(table):
    method = Method("freeze_thaw", 40, {"sampler": "freeze_thaw"})
    first, again = search(method, table, 3), search(method, table, 3)
    assert first.epochs == again.epochs
    assert (first.worth == again.worth).all()


def test_the_space_of_a_table_draws_each_of_its_configs_once(table):
    space, rng = table.space(), np.random.default_rng(0)

    def draw(name, axis):
        return axis.options[rng.integers(len(axis.options))] if hasattr(axis, "options") else axis.low

    assert {space.config(draw) for _ in range(60)} == set(table.configs)


def test_the_pick_after_an_epoch_is_the_last_that_was_made_by_then():
    reached = Reached((3, 5), np.array([[0.1, 0.2], [0.3, 0.4]]))
    worth = reached.at_each(6, np.array([0.0, 0.0]))
    assert worth[:, 0].tolist() == [0.0, 0.0, 0.1, 0.1, 0.3, 0.3]


def test_a_target_is_reached_where_the_mean_over_repeats_has():
    curves = np.array([[0.0, 0.6, 0.6], [0.0, 0.2, 0.6]])
    assert (cross(curves, 0.5), cross(curves, 0.4), cross(curves, 0.7)) == (3, 2, float("inf"))


def test_the_target_is_the_mean_pick_of_random_searches_over_the_whole_table(table):
    worth = measure_worth(table)  # of 60 configs, a search that trains 100 sees all, and picks the best
    best = worth[table.curves[:, -5:, 3].mean(axis=1).argmax()]
    assert compute_targets(table, worth) == pytest.approx(best)
