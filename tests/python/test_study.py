"""A study built in code is the study that its file describes."""

import tomllib

import pytest

import sweep
from sweep.study.file import parse_study
from sweep.study.toml_text import to_toml
from tests.studies import ROOT, STUDY, tiny_table


def test_a_study_in_code_is_the_same_as_its_file_to_the_key():
    table = tomllib.loads(STUDY)
    built = sweep.Study(
        name="tiny",
        seed=7,
        data={"source": "tiny.npz", "validation_rows": 100},
        space={
            "hidden_layers": sweep.Choice((1, 2)),
            "units": sweep.Int(4, 32),
            "dropout": sweep.Float(0.0, 0.5),
            "batch_size": sweep.Choice([32, 64]),
        },
        training={"max_epochs": 5, "early_stopping": {"monitor": "val_accuracy", "patience": 2}},
        search={
            "trials": 4,
            "workers": 2,
            "pruner": {"kind": "halving", "rungs": (1, 2), "reduction_factor": 3},
            "sampler": None,
        },
        confirmation={"replicates": 2},
        baselines=[
            {
                "name": "by hand",
                "units": (16, 8),
                "dropout": 0.5,
                "batch_size": 64,
                "reference": {"train_accuracy": 0.5, "test_accuracy": 0.5},
            }
        ],
    )
    assert built.table == table
    assert parse_study(built.table, "code").canonical() == parse_study(table, "file").canonical()


@pytest.mark.parametrize("path", sorted((ROOT / "studies").glob("*.toml")), ids=lambda path: path.stem)
def test_the_keys_of_a_file_make_the_same_study_in_code(path):
    table = tomllib.loads(path.read_text())
    assert sweep.Study(**table).table == table == tomllib.loads(to_toml(sweep.Study(**table).table))


@pytest.mark.parametrize(
    ("key", "axis", "written"),
    [
        ("units", sweep.Int(32, 512, log=True), {"int": [32, 512], "log": True}),
        ("units", sweep.Int(32, 512, step=32), {"int": [32, 512], "step": 32}),
        ("units", (sweep.Int(8, 16), 4), [{"int": [8, 16]}, 4]),
        ("dropout", sweep.Float(0.0, 0.5), {"float": [0.0, 0.5]}),
        ("dropout", sweep.Float(0.0, 0.5, step=0.1), {"float": [0.0, 0.5], "step": 0.1}),
        ("activation", sweep.Choice(("relu", "silu")), {"choice": ["relu", "silu"]}),
    ],
)
def test_a_range_is_written_as_in_a_file(key, axis, written):
    table = tiny_table()
    space = {**table["space"], "hidden_layers": 1, key: axis}
    assert sweep.Study(**{**table, "space": space}).table["space"][key] == written


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"serch": {}}, "Study: serch: unknown key, nearest is 'search'"),
        ({"seed": -1}, "Study: seed = -1: wanted 0 or more"),
        ({"space": {"hidden_layers": 1, "units": sweep.Int(9, 3)}}, "wanted low below high"),
        ({"space": {"hidden_layers": 1, "units": sweep.Float(0.5, 1.5)}}, "space.units = .*wanted a whole number"),
    ],
)
def test_a_slip_is_told_in_one_line_as_that_of_a_file(changes, said):
    with pytest.raises(sweep.InvalidStudyError, match=said) as refused:
        sweep.Study(**{**tiny_table(), **changes})
    assert "\n" not in str(refused.value)
    assert isinstance(refused.value, ValueError)
