"""A table from memory, really trained: it is the study of its file, and its champion answers as the command does."""

import csv

import numpy as np
import pytest

import sweep
from sweep.cli.commands import main
from sweep.track.runs import read_study
from tests.data.test_columns import mixed
from tests.studies import tiny_table

pytestmark = pytest.mark.slow
N = 600


def draw_prices():
    """Rows with a category, truth values, dates and missing numbers; the label is a number."""
    frame = mixed(N, seed=4).drop(columns="y")
    price = 900 * frame["member"] + 30 * frame["age"].fillna(40) + 500 * (frame["city"] == "Ulm")
    return frame, price.astype(float).rename("price") + 0.5


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_frame_with_columns_of_every_kind_goes_to_predictions_that_are_those_of_the_command(runs, tmp_path, task):
    if task == "classification":
        frame = mixed(N, seed=3)
        rows, given = frame.drop(columns="y"), {"data": frame, "label": "y"}
    else:
        rows, price = draw_prices()
        given = {"data": (rows, price)}
    study = sweep.Study(
        **tiny_table(
            data={"validation_rows": 0.2, "test_rows": 0.2},
            training={"max_epochs": 3},
            search={"trials": 1, "workers": 1},
            space={"hidden_layers": 1, "units": 16, "batch_size": 32},
            confirmation={"replicates": 1},
        )
    )
    champion = sweep.run(study, **given, runs_dir=runs.root).champion
    assert {column.kind for column in read_study(runs, "tiny").facts.columns} >= {
        "number",
        "boolean",
        "category",
        "date",
    }
    rows.to_parquet(tmp_path / "rows.parquet", index=False)
    command = [
        "predict",
        str(runs.exports("tiny")),
        str(tmp_path / "rows.parquet"),
        "--out",
        str(tmp_path / "said.csv"),
    ]
    assert main(command) == 0
    with (tmp_path / "said.csv").open(newline="") as lines:
        said = list(csv.DictReader(lines))
    shuffled = rows.sample(frac=1, random_state=0)
    answers = champion.predict(shuffled)[np.argsort(shuffled.index)]
    if task == "classification":
        assert set(answers.tolist()) <= set(frame["y"].tolist())
        assert list(map(str, answers.tolist())) == [row["class"] for row in said]
        certainty = champion.predict_proba(rows).max(axis=1)
        np.testing.assert_allclose(certainty, [float(row["certainty"]) for row in said], atol=1e-6)
    else:
        np.testing.assert_allclose(answers, [float(row["value"]) for row in said], rtol=1e-6)
        assert not len(champion.classes_)
