import numpy as np
import pytest

from sweep.search.defaults import GOOD, default_config
from sweep.search.encoding import ABSENT, Encoder
from sweep.study.config import Config
from sweep.study.space import Choice, Float, Int, Space


def encode(space, **values):
    config = Config(**{"units": (8,), "dropout": 0.0, "batch_size": 32, "learning_rate": 0.001} | values)
    return Encoder(space).encode([config])[0].tolist()


@pytest.mark.parametrize(
    ("axis", "value", "places"),
    [
        (Float(0.0, 0.5), 0.1, [0.2]),
        (Float(0.001, 0.1, None, True), 0.01, [0.5]),
        (Float(0.0, 0.5, 0.1), 0.5, [1.0]),
        (Choice((0.0, 0.5, 0.2)), 0.2, [0.5]),
    ],
)
def test_numbers_lie_in_their_own_range_and_choices_of_numbers_in_their_order(axis, value, places):
    name = "learning_rate" if getattr(axis, "log", False) else "dropout"
    assert encode(Space(hidden_layers=1, units=8, **{name: axis}), **{name: value}) == pytest.approx(places)


def test_values_without_an_order_lie_at_distance_one_of_each_other():
    space = Space(hidden_layers=1, units=8, batch_norm=Choice((True, False)))
    with_norm, without = np.array(encode(space, batch_norm=True)), np.array(encode(space, batch_norm=False))
    assert np.linalg.norm(with_norm - without) == pytest.approx(1)


def test_the_width_of_a_layer_that_a_net_lacks_lies_in_the_middle():
    space = Space(hidden_layers=Choice((1, 3)), units=Int(4, 64, 1, True))
    assert encode(space, units=(4,)) == [0.0, 0.0, ABSENT, ABSENT]
    assert encode(space, units=(64, 16, 4)) == pytest.approx([1.0, 1.0, 0.5, 0.0])


def test_fixed_axes_take_no_room_and_a_space_of_one_config_has_a_place():
    assert encode(Space(hidden_layers=1, units=8)) == [0.0]


def test_layers_may_have_axes_of_their_own():
    space = Space(hidden_layers=2, units=(Int(4, 8), 16), dropout=Float(0, 1))
    assert encode(space, units=(8, 16), dropout=0.25) == pytest.approx([0.25, 1.0])


def test_the_default_config_is_the_nearest_that_the_space_allows():
    space = Space(
        hidden_layers=Choice((1, 3)),
        units=Int(4, 64, 12),
        dropout=Float(0.0, 0.5, 0.25),
        batch_size=Choice((32, 100)),
        learning_rate=Float(0.01, 0.1, None, True),
        batch_norm=False,
    )
    config = default_config(space)
    assert config.hidden_layers in (1, 3)
    assert set(config.units) == {64}
    assert (config.dropout, config.batch_size, config.learning_rate, config.batch_norm) == (0.25, 100, 0.01, False)


def test_the_default_config_of_a_wide_space_is_what_is_known_to_do_well():
    space = Space(hidden_layers=Int(1, 5), units=Int(8, 2048, 1, True), dropout=Float(0, 0.9), batch_size=Int(8, 1024))
    config = default_config(space)
    assert config.units == (GOOD["units"],) * GOOD["hidden_layers"]
    assert (config.dropout, config.batch_size) == (GOOD["dropout"], GOOD["batch_size"])


def test_no_configs_are_no_points_of_as_many_coordinates():
    space = Space(
        hidden_layers=Choice((1, 2)), units=8, batch_norm=Choice((True, False)), optimizer=Choice(("adam", "sgd"))
    )
    assert Encoder(space).encode([]).shape == (0, 5)


def test_names_are_values_without_an_order():
    space = Space(hidden_layers=1, units=8, activation=Choice(("relu", "gelu", "silu")))
    places = [np.array(encode(space, activation=name)) for name in ("relu", "gelu", "silu")]
    assert [np.linalg.norm(places[i] - places[i - 1]) for i in range(3)] == pytest.approx([1, 1, 1])
