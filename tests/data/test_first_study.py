"""`init`: what is left out of a table and why, what is searched, and a study that runs as it is written."""

import gzip
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import plotly
import pytest

from sweep.cli.commands import main
from sweep.data.first_study import look, to_study_name, write_study
from sweep.study.file import load_study
from tests.data.test_columns import mixed

INPUTS = Path(__file__).parents[1] / "hard_inputs"
PUBLIC = Path(plotly.__file__).parent / "package_data" / "datasets"


def init(path, *options, label="y"):
    return main(["init", str(path), "--label", label, *options])


def written(path, label="y", **options):
    """The study that is written for a table, as its file reads back."""
    assert init(path, label=label, **options) == 0
    return load_study(path.with_suffix(".toml"))[0]


def test_a_table_of_every_kind_gets_a_study_that_says_what_it_took_each_column_for(tmp_path, capsys):
    mixed().to_csv(tmp_path / "rows.csv", index=False)
    study = written(tmp_path / "rows.csv")
    out, text = capsys.readouterr().out, (tmp_path / "rows.toml").read_text()
    kinds = "numbers age (78 missing), zip; booleans member; categories city (3 values, 43 missing); dates since"
    n_age, n_city = mixed()[["age", "city"]].isna().sum()
    assert kinds.replace("78", str(n_age)).replace("43", str(n_city)) in out
    assert "numbers age (" in text
    assert "rows.csv: 400 rows, a classification of 'y'" in out
    assert f"next: python -m sweep run {tmp_path / 'rows.toml'}" in out
    assert (study.name, study.data.source, study.data.label) == ("rows", "rows.csv", "y")


def test_columns_that_are_no_features_are_left_out_with_their_reason(tmp_path, capsys):
    frame = mixed().assign(who=[f"P. {i}" for i in range(400)], nr=range(400), empty=np.nan)
    frame.to_csv(tmp_path / "rows.csv", index=True)
    study = written(tmp_path / "rows.csv")
    assert set(study.data.drop) == {"", "who", "nr", "empty"}
    out = capsys.readouterr().out
    for name, why in (("", "no name"), ("who", "free text"), ("nr", "row number"), ("empty", "no values")):
        assert f"left out: {name!r} ({why})" in out


def test_signs_among_numbers_are_taken_for_missing_values(tmp_path, capsys):
    frame = mixed()
    frame["age"] = frame["age"].astype(object).where(frame.index % 9 > 0, "?")
    frame.to_csv(tmp_path / "rows.csv", index=False)
    study = written(tmp_path / "rows.csv")
    assert "?" in study.data.missing
    assert "NA" in study.data.missing
    assert "taken for missing values: '?'" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("labels", "objective", "weight"),
    [
        (np.arange(300) % 2, "val_accuracy", None),
        ((np.arange(300) % 50 == 0).astype(int), "val_roc_auc", "balanced"),
        (np.repeat([0, 1, 2], [10, 100, 190]), "val_balanced_accuracy", "balanced"),
        (np.linspace(0, 1, 300), "val_rmse", None),
    ],
)
def test_the_metric_suits_the_labels(labels, objective, weight, tmp_path):
    pd.DataFrame({"a": np.arange(300) % 7, "y": labels}).to_csv(tmp_path / "rows.csv", index=False)
    study = written(tmp_path / "rows.csv")
    assert study.objective == objective
    assert study.training.class_weight == weight
    assert study.training.early_stopping.monitor == objective


def test_whole_numbers_that_may_be_numbers_to_predict_are_pointed_out(tmp_path):
    pd.DataFrame({"a": np.arange(300) % 7, "y": np.arange(300) % 20}).to_csv(tmp_path / "rows.csv", index=False)
    written(tmp_path / "rows.csv")
    assert '20 classes; if they are numbers to predict, add task = "regression"' in (tmp_path / "rows.toml").read_text()


@pytest.mark.parametrize("n", [300, 9_000, 90_000])
def test_the_more_rows_the_larger_the_nets_and_the_fewer_the_epochs(n, tmp_path):
    rng = np.random.default_rng(0)
    pd.DataFrame({"a": rng.normal(size=n), "y": rng.integers(0, 2, n)}).to_csv(tmp_path / "rows.csv", index=False)
    study = written(tmp_path / "rows.csv")
    widths, epochs = {300: (256, 100), 9_000: (512, 60), 90_000: (1024, 25)}[n]
    assert (study.space.units.high, study.training.max_epochs) == (widths, epochs)


def test_names_that_would_act_as_markup_of_a_study_file_stand_in_it_as_they_are(tmp_path):
    strange = 'a"\n[space]\nb'
    frame = pd.DataFrame({"a\x7f": np.arange(300) % 7, strange: [f"t{i}" for i in range(300)], "y": np.arange(300) % 2})
    frame.to_csv(tmp_path / "rows.csv", index=False)
    assert written(tmp_path / "rows.csv").data.drop == (strange,)


@pytest.mark.parametrize(
    ("given", "name"),
    [("Customer Churn (2024).csv.gz", "customer-churn-2024"), ("größe.csv", "gr-e"), ("日本.csv", "table"), ("a" * 99 + ".csv", "a" * 64)],
)  # fmt: skip
def test_a_study_is_named_after_its_table_in_letters_that_its_name_may_have(given, name):
    assert to_study_name(Path(given)) == name


def refusal(path, capsys, *options, label="y"):
    exit_code = init(path, *options, label=label)
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    return exit_code, err


def test_what_cannot_become_a_study_is_one_line_and_leaves_nothing(tmp_path, capsys):
    mixed().to_csv(tmp_path / "rows.csv", index=False)
    (tmp_path / "text.txt").write_text("a,y\n1,2\n")
    before = {path.name for path in tmp_path.iterdir()}
    for path, options, label, said in (
        ("rows.csv", (), "Y", "data.label = 'Y' is not one of its columns"),
        ("gone.csv", (), "y", "gone.csv: no such file"),
        ("text.txt", (), "y", "wanted a table, such as a .csv"),
        ("rows.csv", ("--out", str(tmp_path.parent / "x.toml")), "y", "wanted a file in the folder of the table"),
    ):
        assert said in refusal(tmp_path / path, capsys, *options, label=label)[1]
    assert {path.name for path in tmp_path.iterdir()} == before


def test_a_study_file_that_is_there_is_never_replaced(tmp_path, capsys):
    mixed().to_csv(tmp_path / "rows.csv", index=False)
    (tmp_path / "rows.toml").write_text("mine")
    assert "is there; name another file with --out" in refusal(tmp_path / "rows.csv", capsys)[1]
    assert (tmp_path / "rows.toml").read_text() == "mine"
    assert init(tmp_path / "rows.csv", "--out", str(tmp_path / "other.toml")) == 0


# As their packages ship them, or as they lie in `hard_inputs`: table and label.
TABLES = {
    "text and a regression": (PUBLIC / "tips.csv.gz", "tip"),
    "names of countries": (PUBLIC / "gapminder.csv.gz", "lifeExp"),
    "flowers": (PUBLIC / "iris.csv.gz", "species"),
    "a date": (PUBLIC / "stocks.csv.gz", "GOOG"),
    "few rows and a name each": (PUBLIC / "election.csv.gz", "winner"),
    "categories": (PUBLIC / "experiment.csv.gz", "group"),
    "1 % positives": (INPUTS / "fraud.csv", "cls"),
    "blanks": (INPUTS / "missing.csv", "y"),
    "an index": (INPUTS / "noise_sorted_index.csv", "y"),
    "an id and blank cells": (INPUTS / "telco.csv", "Churn"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", TABLES)
def test_a_table_goes_from_its_file_to_predictions_with_nothing_prepared_by_hand(kind, tmp_path, capsys):
    source, label = TABLES[kind]
    suffix = "".join(source.suffixes)
    table = tmp_path / f"rows{suffix}"
    table.write_bytes(source.read_bytes())
    runs = tmp_path / "mlruns"
    assert init(table, label=label) == 0
    short = ["--trials", "2", "--workers", "1"]
    assert main(["run", str(tmp_path / "rows.toml"), "--runs-dir", str(runs), *short]) == 0
    capsys.readouterr()
    assert main(["predict", str(runs / "exports" / "rows"), str(table)]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    text = gzip.decompress(source.read_bytes()) if suffix.endswith(".gz") else source.read_bytes()
    assert len(lines) == len(text.strip().splitlines()) - 1
    assert head in ("row,value", "row,class,certainty")


def test_what_was_found_is_read_no_second_time_to_write_the_study(tmp_path, caplog):
    caplog.set_level(logging.INFO, "sweep")
    mixed().to_csv(tmp_path / "rows.csv", index=False)
    found = look(tmp_path / "rows.csv", "y")
    (tmp_path / "rows.csv").unlink()
    assert 'source = "rows.csv"' in write_study(found, "rows")
