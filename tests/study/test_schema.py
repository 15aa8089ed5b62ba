import json
import math
import tomllib
from copy import deepcopy
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweep.errors import InvalidStudyError
from sweep.study.config import Config
from sweep.study.file import load_study, parse_study
from sweep.study.objective import cost
from sweep.study.schema import Study, differences
from sweep.study.space import Choice, Float, Int
from tests.studies import STUDY, tiny_table

STUDY_FILES = sorted((Path(__file__).parents[2] / "studies").glob("*.toml"))
MADE_UP = settings(derandomize=True, deadline=None, database=None, max_examples=300)

RETYPED = """
baselines = []
training = {early_stopping = {patience = 2, monitor = "val_accuracy", min_delta = 0}, max_epochs = 5}
objective = "val_accuracy"
seed = 0x7
name = 'tiny'
data.validation_rows = 1_00
data.source = "tiny.npz"
search = {trials = 9}

[space]
batch_norm = true
batch_size.choice = [32, 64]
dropout.float = [0, 5e-1]
learning_rate = 1e-3
units = {int = [4, 32], step = 1, log = false}
hidden_layers = {choice = [1, 2]}
"""


@pytest.mark.parametrize("path", STUDY_FILES, ids=lambda path: path.name)
def test_every_study_that_comes_along_loads(path):
    study, table = load_study(path)
    assert study.name == path.stem
    assert table == tomllib.loads(path.read_text(encoding="utf-8"))


def test_there_are_studies():
    assert {"mnist.toml", "notebook.toml", "quick.toml"} <= {path.name for path in STUDY_FILES}


def test_a_file_becomes_axes_pruner_and_baselines():
    study = parse_study(tomllib.loads(STUDY), "tiny.toml")
    assert study.space.hidden_layers == Choice((1, 2))
    assert study.space.units == Int(4, 32)
    assert study.space.dropout == Float(0.0, 0.5)
    assert study.rungs() == (1, 2)
    assert study.baselines[0].config == Config(units=(16, 8), dropout=0.5, batch_size=64, learning_rate=0.001)
    assert study.baseline_named("by hand") is study.baselines[0]
    assert study.baseline_named("by foot") is None


def test_files_that_say_the_same_in_other_words_have_one_canonical_form():
    one, other = (parse_study(tomllib.loads(text), "tiny.toml") for text in (STUDY, RETYPED))
    assert one.canonical() == other.canonical()
    assert json.dumps(one.canonical()) == json.dumps(other.canonical())
    assert differences(one.canonical(), other.canonical()) == []


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ("seed", 8),
        ("objective", "val_loss"),
        ("data", {"source": "tiny.npz", "validation_rows": 99}),
        ("space", {"hidden_layers": 1, "units": 8}),
        ("training", {"max_epochs": 6}),
    ],
)
def test_what_decides_results_is_in_the_canonical_form(section, value):
    before, after = (parse_study(t, "tiny.toml").canonical() for t in (tiny_table(), tiny_table(**{section: value})))
    lines = differences(before, after)
    assert lines
    assert all(line.startswith(section) for line in lines)


@pytest.mark.parametrize("keys", [{"drop": ["id"]}, {"missing": ["?"]}, {"missing": []}, {"separator": ";"}])
def test_how_a_table_is_read_is_left_to_the_sha256_of_what_is_read(keys):
    data = {"source": "rows.csv", "label": "y", "validation_rows": 100}
    plain, other = (parse_study(tiny_table(data=d), "tiny.toml") for d in (data, {**data, **keys}))
    assert plain != other
    assert plain.canonical() == other.canonical()


def test_differences_name_each_leaf_with_its_stored_and_given_value():
    stored = {"seed": 1, "space": {"dropout": {"low": 0.0, "high": 0.5}, "units": 8}, "same": [1]}
    given = {"seed": 2, "space": {"dropout": {"low": 0.0, "high": 0.6}, "units": [8, 4]}, "same": [1], "new": "x" * 99}
    assert differences(stored, given) == [
        "new: None -> '" + "x" * 76 + "...",
        "seed: 1 -> 2",
        "space.dropout.high: 0.5 -> 0.6",
        "space.units: 8 -> [8, 4]",
    ]


@pytest.mark.parametrize(
    ("units", "is_in"), [((8,), True), ((8, 16), True), ((8, 16, 8), False), ((33,), False), ((8, 3), False)]
)
def test_a_config_lies_in_the_space_if_every_layer_does(units, is_in):
    study = parse_study(tiny_table(), "tiny.toml")
    assert study.in_space(Config(units=units, dropout=0.5, batch_size=64, learning_rate=0.001)) is is_in


def test_without_a_space_no_config_lies_in_it():
    study = parse_study(tiny_table(space=None, search=None), "tiny.toml")
    assert not study.in_space(study.baselines[0].config)


def test_the_cost_of_a_metric_falls_as_it_gets_better():
    assert cost("val_accuracy", 0.9) < cost("val_accuracy", 0.8)
    assert cost("val_loss", 0.1) < cost("val_loss", 0.2)


# Values of every type that tomllib can return.
SCALARS = st.one_of(
    st.integers(),
    st.sampled_from([0, -1, 10**400, -(10**400), math.nan, math.inf, 5e-324, -0.0, date(2019, 6, 1)]),
    st.floats(),
    st.booleans(),
    st.text(max_size=5),
    st.sampled_from(["tpe", "grid", "halving", "val_loss", "a\nb"]),
)
KEYS = st.one_of(
    st.sampled_from(["int", "float", "choice", "step", "log", "name", "units", "space", "dropout", "rungs", "kind"]),
    st.text(max_size=4),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@st.composite
def spoiled(draw):
    """A whole study with one to three of its entries, at any depth, replaced or added."""
    table = deepcopy(tiny_table())
    for _ in range(draw(st.integers(1, 3))):
        at = table
        while inner := [v for v in (at.values() if isinstance(at, dict) else at) if isinstance(v, dict | list) and v]:
            if draw(st.booleans()):
                break
            at = draw(st.sampled_from(inner))
        places = list(at) if isinstance(at, dict) else list(range(len(at)))
        place = draw(st.sampled_from(places) | KEYS) if isinstance(at, dict) else draw(st.sampled_from(places))
        at[place] = draw(VALUES)
    return table


def outcome(table):
    """Return the study, or the message of its fault; any other exception escapes."""
    try:
        return parse_study(table, "some.toml")
    except InvalidStudyError as error:
        return str(error)


def is_study_or_one_line(result):
    return isinstance(result, Study) or (result.startswith("some.toml: ") and len(result.splitlines()) == 1)


@MADE_UP
@given(spoiled())
def test_any_spoiled_study_is_accepted_or_refused_in_one_line(table):
    assert is_study_or_one_line(outcome(table))


@MADE_UP
@given(st.dictionaries(KEYS | st.sampled_from(list(tiny_table())), VALUES, max_size=6))
def test_any_table_is_accepted_or_refused_in_one_line(table):
    assert is_study_or_one_line(outcome(table))


def ranges(numbers, name, steps):
    """Tables such as {int = [low, high], step = 2}."""
    pairs = st.lists(numbers, min_size=2, max_size=2, unique=True).map(sorted)
    plain = pairs.map(lambda pair: {name: pair})
    return plain | st.tuples(plain, steps).map(lambda both: {**both[0], "step": both[1]})


def axes(numbers, name, steps):
    choices = st.lists(numbers, min_size=1, max_size=4, unique=True).map(lambda options: {"choice": options})
    return numbers | choices | ranges(numbers, name, steps)


WIDTHS = axes(st.integers(1, 65536), "int", st.integers(1, 1000))
SPACE = st.fixed_dictionaries(
    {
        "hidden_layers": axes(st.integers(1, 20), "int", st.integers(1, 30)),
        "units": WIDTHS | st.lists(WIDTHS, min_size=20, max_size=22),
    },
    optional={
        "dropout": axes(st.sampled_from([0, 0.1, 0.25, 0.6, 0.999]), "float", st.sampled_from([0.05, 0.1, 1])),
        "batch_size": WIDTHS,
        "learning_rate": axes(st.sampled_from([1e-8, 3e-4, 1e-2, 1, 10]), "float", st.sampled_from([1e-3, 0.5])),
        "batch_norm": st.booleans() | st.just({"choice": [True, False]}),
        "optimizer": st.sampled_from(["adam", "sgd", {"choice": ["adam", "rmsprop"]}]),
        "weight_decay": axes(st.sampled_from([0, 0.01, 1]), "float", st.sampled_from([1e-3, 0.5])),
    },
)


@MADE_UP
@given(SPACE)
def test_a_valid_space_has_one_canonical_form_whatever_the_order_of_its_keys(space):
    table = tiny_table(space=space)
    canonical = parse_study(table, "some.toml").canonical()
    backwards = {key: table[key] for key in reversed(table)} | {"space": {key: space[key] for key in reversed(space)}}
    assert json.dumps(parse_study(backwards, "some.toml").canonical()) == json.dumps(canonical)
    assert json.loads(json.dumps(canonical)) == canonical


def test_a_precision_is_part_of_what_decides_results_unless_it_is_the_one_that_studies_always_had():
    def canonical(**training):
        return parse_study(tiny_table(training={"max_epochs": 5, **training}), "tiny.toml").canonical()["training"]

    assert "precision" not in canonical()
    assert canonical(precision="float32") == canonical()
    assert canonical(precision="bfloat16")["precision"] == "bfloat16"
