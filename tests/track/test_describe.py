import pytest

from sweep.study.file import load_study, parse_study
from sweep.track.describe import experiment_text, study_text
from tests.studies import FACTS, ROOT, tiny_table

ANY = {"hidden_layers": 1, "units": 8}


def row(title, **changes):
    text = study_text(parse_study(tiny_table(**changes), "tiny.toml"), FACTS)
    return next((line for line in text.splitlines() if line.startswith(f"| {title} |")), None)


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({**ANY, "units": [{"int": [100, 500], "step": 50}]}, "units 100 to 500 by 50;"),
        ({"hidden_layers": {"int": [1, 2]}, "units": [{"int": [64, 512], "log": True}, 64]}, "units 64 to 512 (log) - 64;"),
        ({**ANY, "dropout": {"float": [0.0, 0.5], "step": 0.1}}, "dropout 0 to 0.5 by 0.1;"),
        ({**ANY, "learning_rate": {"float": [5e-4, 5e-3], "log": True}}, "learning rate 0.0005 to 0.005 (log);"),
        ({**ANY, "batch_size": {"choice": [32]}}, "batch size 32;"),
        ({**ANY, "batch_norm": {"choice": [True, False]}}, "batch norm yes or no; optimizer adam |"),
        ({**ANY, "schedule": {"choice": ["constant", "cosine"]}, "ema": 0.99}, "optimizer adam; schedule constant or cosine; ema 0.99 |"),
    ],
)  # fmt: skip
def test_an_axis_in_words(space, said):
    assert said in row("Space", space=space)


def test_what_a_study_does_not_do_is_said():
    assert row("Search", space=None, search=None) == "| Search | none, baselines alone |"
    assert row("Confirmation", confirmation=None) == "| Confirmation | none: nothing is scored on test |"
    assert row("Confirmation", space=None, search=None).startswith(
        "| Confirmation | every baseline, trained again with two "
    )
    assert row("Baselines", baselines=[]) is None
    assert row("Training", training={"max_epochs": 9}) == "| Training | up to 9 epochs |"


def test_a_pruner_in_words():
    assert row("Search").endswith("; at epoch 1 and 2 the best 1/3 of them goes on |")
    median = {"trials": 4, "coverage": "free", "pruner": {"kind": "median", "rungs": [3]}}
    assert (
        row("Search", search=median)
        == "| Search | 4 trials proposed by tpe; at epoch 3 the better half of them goes on |"
    )


@pytest.mark.parametrize("path", sorted((ROOT / "studies").glob("*.toml")), ids=lambda path: path.stem)
def test_every_study_here_has_a_description_that_mlflow_can_hold(path):
    text = experiment_text(load_study(path)[0], FACTS, "1", "0" * 32, "champion")
    assert len(text) < 5000
    assert all(line.count("|") == 3 for line in text.splitlines() if line.startswith("|") and "---" not in line)
