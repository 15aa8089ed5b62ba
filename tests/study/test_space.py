import math

import numpy as np
import pytest

from sweep.study.config import WHOLE_NET
from sweep.study.space import Choice, Float, Int, Space, contains, count, draw_values, list_values

# (axis, its values by hand)
LISTED = [
    (Int(1, 4), (1, 2, 3, 4)),
    (Int(1, 10, step=4), (1, 5, 9)),
    (Int(8, 64, step=56), (8, 64)),
    (Int(8, 64, step=100), (8,)),
    (Int(1, 3, log=True), (1, 2, 3)),
    (Float(0.1, 0.6, step=0.1), (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)),
    (Float(0.0, 0.5, step=0.2), (0.0, 0.2, 0.4)),
    (Float(0.0, 0.5, step=2.0), (0.0,)),
    (Float(0.00100005, 0.003, step=0.001), (0.00100005, 0.00200005)),
    (Float(1.23456e-8, 1.3e-8, step=5e-10), (1.23456e-8, 1.28456e-8)),
    (Float(1e-8, 1.0003e-8, step=1e-12), (1e-8, 1.0001e-8, 1.0002e-8, 1.0003e-8)),
    (Choice((5, 2, 3)), (5, 2, 3)),
    (Choice((True, False)), (True, False)),
    (0.5, (0.5,)),
    (128, (128,)),
    (True, (True,)),
    (Choice(("cosine", "constant")), ("cosine", "constant")),
    ("sgd", ("sgd",)),
]

SPACES = {
    "fixed": Space(hidden_layers=2, units=8),
    "depths": Space(hidden_layers=Choice((1, 3)), units=Int(8, 10)),
    "a width per layer": Space(hidden_layers=Int(1, 3), units=(Int(8, 9), 16, Choice((2, 4, 6)))),
    "all axes": Space(
        hidden_layers=Int(1, 2),
        units=Int(8, 32, step=10),
        dropout=Float(0.1, 0.6, step=0.1),
        batch_size=Choice((64, 128)),
        learning_rate=Choice((0.001, 0.01)),
        batch_norm=Choice((True, False)),
    ),
    "a recipe": Space(
        hidden_layers=1,
        units=8,
        optimizer=Choice(("adam", "sgd")),
        schedule="cosine",
        weight_decay=Choice((0.0, 0.01)),
        ema=Float(0.0, 0.9, step=0.3),
    ),
    "small rates": Space(hidden_layers=1, units=8, learning_rate=Float(1e-8, 1.001e-8, step=5e-14)),
}


def lowest(name, axis):
    """A draw that takes the first value."""
    return axis.options[0] if isinstance(axis, Choice) else axis.low


@pytest.mark.parametrize(("axis", "values"), LISTED)
def test_an_axis_lists_counts_and_contains_the_same_values(axis, values):
    assert list_values(axis) == values
    assert count(axis) == len(values)
    assert all(contains(axis, value) for value in values)


@pytest.mark.parametrize(("axis", "values"), LISTED)
def test_an_axis_contains_nothing_between_or_beyond_its_values(axis, values):
    if isinstance(values[0], str):
        assert not contains(axis, "other")
        return
    numbers = sorted(values)
    step = numbers[0] / 1000 or 0.001
    assert not any(contains(axis, value + step / 2) for value in numbers)
    assert not contains(axis, numbers[0] - step)
    assert not contains(axis, numbers[-1] + step)


def test_a_stepped_float_holds_the_numbers_a_person_would_type():
    assert 0.1 + 2 * 0.1 != 0.3
    assert list_values(Float(0.1, 0.6, step=0.1))[2] == 0.3
    assert contains(Float(0.1, 0.6, step=0.1), 0.1 + 2 * 0.1)


def test_a_continuous_axis_has_no_list_and_counts_as_infinite():
    axis = Float(0.0, 0.5)
    with pytest.raises(ValueError, match="continuous"):
        list_values(axis)
    assert math.isinf(count(axis))
    assert [contains(axis, value) for value in (-0.01, 0.0, 0.3, 0.5, 0.51)] == [False, True, True, True, False]


def test_what_is_no_axis_is_refused():
    with pytest.raises(TypeError, match="not an axis"):
        list_values(None)


def test_widths_are_drawn_after_depth_and_only_as_many_as_there_are_layers():
    drawn = []

    def draw(name, axis):
        drawn.append(name)
        return 2 if name == "hidden_layers" else lowest(name, axis)

    space = Space(hidden_layers=Int(1, 5), units=Int(8, 16), dropout=Float(0.0, 0.5), batch_size=Choice((64, 32)))
    config = space.config(draw)
    assert drawn == ["hidden_layers", "units_1", "units_2", "dropout", "batch_size"]
    assert (config.units, config.dropout, config.batch_size) == ((8, 8), 0.0, 64)


def test_fixed_values_are_not_drawn():
    space = Space(hidden_layers=2, units=(16, Int(4, 8)), dropout=0.5, batch_norm=False)
    config = space.config(lambda name, axis: {"units_2": 5}[name])
    assert config.units == (16, 5)
    assert config.dropout == 0.5
    assert config.batch_norm is False


def test_each_layer_is_drawn_from_its_own_axis():
    axes = (Int(8, 16), Int(4, 6), Choice((2, 3)))
    asked = {}
    Space(hidden_layers=3, units=axes).config(lambda name, axis: asked.setdefault(name, axis) and lowest(name, axis))
    assert asked == {"units_1": axes[0], "units_2": axes[1], "units_3": axes[2]}


def test_a_stepped_float_as_a_sampler_draws_it_gives_the_config_of_the_grid():
    # Optuna draws low + 2 * step as 0.30000000000000004. With another key it would be trained beside 0.3.
    space = Space(hidden_layers=1, units=8, dropout=Float(0.1, 0.6, step=0.1))
    config = space.config(lambda name, axis: 0.1 + 2 * 0.1)
    assert config.key in {point.key for point in space.grid()}


@pytest.mark.parametrize("name", SPACES)
def test_the_grid_holds_each_config_once_and_as_many_as_are_counted(name):
    grid = list(SPACES[name].grid())
    assert len(grid) == len(set(grid)) == len({config.key for config in grid}) == SPACES[name].n_configs()


@pytest.mark.parametrize(
    ("name", "n_configs"),
    [("fixed", 1), ("depths", 3 + 3**3), ("a width per layer", 2 + 2 + 2 * 3), ("all axes", (3 + 9) * 6 * 2 * 2 * 2)],
)
def test_configs_are_counted_over_depths_and_widths(name, n_configs):
    assert SPACES[name].n_configs() == n_configs


@pytest.mark.parametrize("name", SPACES)
def test_every_config_of_the_grid_lies_on_every_axis(name):
    space = SPACES[name]
    assert all(contains(axis, value) for config in space.grid() for axis, value in space.axes_of(config).values())


def test_a_space_with_a_continuous_axis_has_endless_configs_and_no_grid():
    space = Space(hidden_layers=1, units=8, dropout=Float(0.0, 0.5))
    assert math.isinf(space.n_configs())
    assert math.isinf(space.n_values("dropout"))
    with pytest.raises(ValueError, match="continuous"):
        list(space.grid())


# (axis, values of which each is drawn about as often)
EVEN = [
    (Int(3, 5), (3, 4, 5)),
    (Int(1, 10, step=4), (1, 5, 9)),
    (Float(0.1, 0.5, step=0.2), (0.1, 0.3, 0.5)),
    (Choice(("adam", "sgd")), ("adam", "sgd")),
    (0.5, (0.5,)),
    ("sgd", ("sgd",)),
]
# (axis, the middle of its range: half of the values lie below)
MIDDLES = [
    (Float(2.0, 8.0), 5.0),
    (Float(1e-4, 1e-2, log=True), 1e-3),
    (Int(9, 10_000, log=True), 300),
]


@pytest.mark.parametrize(("axis", "values"), EVEN)
def test_every_value_of_an_axis_is_drawn_alike_often(axis, values):
    drawn = draw_values(axis, 3000, np.random.default_rng(0))
    assert len(drawn) == 3000
    assert sorted(set(drawn)) == sorted(values)
    assert all(abs(drawn.count(value) - 3000 / len(values)) < 150 for value in values)


@pytest.mark.parametrize(("axis", "middle"), MIDDLES)
def test_a_wide_axis_is_drawn_evenly_in_its_range_or_in_the_logarithm_of_it(axis, middle):
    drawn = draw_values(axis, 3000, np.random.default_rng(0))
    assert all(contains(axis, value) for value in drawn)
    assert abs(sum(value < middle for value in drawn) - 1500) < 100
    share = 0.01 * (axis.high - axis.low)
    assert min(drawn) < axis.low + share
    assert max(drawn) > axis.high - 3 * share


def test_a_whole_number_in_a_logarithm_is_drawn_as_often_as_its_share_of_it():
    drawn = draw_values(Int(1, 3, log=True), 3000, np.random.default_rng(0))
    assert [drawn.count(n) / 3000 for n in (1, 2, 3)] == pytest.approx([0.5, 0.292, 0.208], abs=0.03)


@pytest.mark.parametrize("name", SPACES)
def test_drawn_configs_lie_in_the_space_and_follow_from_the_generator(name):
    space = SPACES[name]
    drawn = space.draw(50, np.random.default_rng(1))
    assert len(drawn) == 50
    assert drawn == space.draw(50, np.random.default_rng(1))
    for config in drawn:
        assert contains(space.hidden_layers, config.hidden_layers)
        assert all(contains(space.units_at(i), units) for i, units in enumerate(config.units, start=1))
        assert all(contains(getattr(space, axis), getattr(config, axis)) for axis in WHOLE_NET)
        assert all(type(getattr(config, axis)) is kind for axis, kind in WHOLE_NET.items())
    assert len({config.key for config in drawn}) > 1 or space.n_configs() == 1


def test_each_axis_is_drawn_by_itself():
    space = Space(hidden_layers=Choice((1, 2)), units=Choice((8, 16)), dropout=Choice((0.1, 0.2)))
    drawn = space.draw(400, np.random.default_rng(0))
    seen = {(config.units, config.dropout) for config in drawn}
    assert seen == {(u, d) for u in ((8,), (16,), (8, 8), (8, 16), (16, 8), (16, 16)) for d in (0.1, 0.2)}
