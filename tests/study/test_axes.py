import math
import re

import pytest
from pydantic import ValidationError

from sweep.study.axes import read_space
from sweep.study.space import Choice, Float, Int, Space


def read(**entries):
    return read_space({"hidden_layers": 1, "units": 8, **entries})


@pytest.mark.parametrize(
    ("key", "value", "axis"),
    [
        ("hidden_layers", 3, 3),
        ("hidden_layers", {"int": [1, 4]}, Int(1, 4)),
        ("units", {"int": [1, 65536], "step": 65536}, Int(1, 65536, step=65536)),
        ("max_norm", {"float": [999, 1000], "step": 1e-6}, Float(999.0, 1000.0, step=1e-6)),
        ("batch_size", {"int": [32, 256], "step": 32}, Int(32, 256, step=32)),
        ("batch_size", {"int": [32, 256], "log": True}, Int(32, 256, log=True)),
        ("dropout", 0, 0.0),
        ("dropout", {"float": [0, 0.5], "step": 0.1}, Float(0.0, 0.5, step=0.1)),
        ("learning_rate", {"choice": [1, 0.001]}, Choice((1.0, 0.001))),
        ("batch_norm", {"choice": [True, False]}, Choice((True, False))),
        ("schedule", "cosine", "cosine"),
        ("optimizer", {"choice": ["adam", "sgd"]}, Choice(("adam", "sgd"))),
        ("weight_decay", {"choice": [0, 0.01]}, Choice((0.0, 0.01))),
        ("max_norm", {"float": [1, 4], "step": 0.5}, Float(1.0, 4.0, step=0.5)),
        ("ema", {"float": [0.9, 0.999], "log": True}, Float(0.9, 0.999, log=True)),
    ],
)
def test_a_value_a_range_and_a_choice_become_axes(key, value, axis):
    read_axis = getattr(read(**{key: value}), key)
    assert read_axis == axis
    assert type(read_axis) is type(axis)


def test_units_of_a_list_are_one_axis_for_each_layer():
    assert read(hidden_layers=2, units=[{"int": [8, 16]}, 4]).units == (Int(8, 16), 4)


def test_a_space_is_taken_as_it_is():
    space = Space(hidden_layers=1, units=8)
    assert read_space(space) is space


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("hidden_layers", True, r"wanted a whole number from 1 to 20 or \{int = \[low, high\]\} or \{choice = \[\.\.\.\]\}"),
        ("hidden_layers", 21, "wanted a whole number from 1 to 20$"),
        ("dropout", 1, "wanted a rate from 0 to below 1$"),
        ("dropout", math.nan, "wanted a rate from 0 to below 1$"),
        ("batch_norm", 1, r"wanted true or false or \{choice"),
        ("batch_norm", {"int": [0, 1]}, r"wanted true or false or \{choice"),
        ("optimizer", "adamw", "wanted 'adam', 'sgd' or 'rmsprop'$"),
        ("optimizer", 1, r"wanted 'adam', 'sgd' or 'rmsprop' or \{choice = \[\.\.\.\]\}$"),
        ("activation", {"str": ["relu", "silu"]}, r"wanted 'relu', 'gelu' or 'silu' or \{choice"),
        ("schedule", {"choice": ["cosine", "linear"]}, "wanted 'constant' or 'cosine'$"),
        ("weight_decay", {"float": [0, 0.1], "log": True}, "wanted low above 0 where log = true"),
        ("max_norm", -1, "wanted a number from 0 to 1000$"),
        ("units", [], "wanted one entry for each hidden layer, got none"),
        ("units", [8, {"int": [1]}], r"wanted int = \[low, high\]"),
        ("units", {"choice": []}, r"wanted \{choice = \[\.\.\.\]\} with at least one value and no other key"),
        ("units", {"choice": [1], "step": 1}, r"wanted \{choice = \[\.\.\.\]\} with at least one value and no other key"),
        ("units", {"choice": 1}, r"wanted \{choice = \[\.\.\.\]\} with at least one value and no other key"),
        ("units", {"choice": [1, 1]}, "wanted each value of a choice once"),
        ("units", {"int": [1, 2], "stpe": 1}, r"unknown key 'stpe'; beside 'int' only \['log', 'step'\] are known"),
        ("units", {"int": [2, 2]}, r"wanted low below high in int = \[low, high\]"),
        ("units", {"int": [1, 2], "log": 1}, "wanted log = true or false"),
        ("dropout", {"float": [0, 0.5], "log": True}, "wanted low above 0 where log = true"),
        ("units", {"int": [1, 2], "log": True, "step": 1}, "wanted either log or step, not both"),
        ("units", {"int": [1, 2], "step": True}, "wanted a step above 0, up to 65536"),
        ("units", {"int": [1, 2], "step": 0}, "wanted a step above 0, up to 65536"),
        ("units", {"int": [1, 2], "step": 65537}, "wanted a step above 0, up to 65536"),
        ("dropout", {"float": [0, 0.5], "step": 1e-9}, "wanted a step that gives up to 1000000 values"),
    ],
)  # fmt: skip
def test_a_refusal_says_what_was_wanted(key, value, message):
    with pytest.raises(ValidationError) as refused:
        read(**{key: value})
    [fault] = refused.value.errors()
    assert fault["loc"] == (key,)
    assert re.match(message, str(fault["ctx"]["error"]))
