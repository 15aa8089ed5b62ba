"""Small inputs of `hard_inputs/`, each of a kind that once went wrong without a word: it is read right, or refused in a line.

The right value of each stands here; where one was scaled or mended, the same table mended by hand is its control.
"""

import json
import logging
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sklearn

from sweep.cli.commands import main
from sweep.data.files import check_rows, read
from sweep.data.prepared import open_training_split, prepare, read_sample
from sweep.errors import InvalidDataError
from sweep.study.schema import Data
from tests.studies import ROOT

INPUTS = Path(__file__).parent / "hard_inputs"
PUBLIC = Path(sklearn.__file__).parent / "datasets" / "data"  # tables that come with scikit-learn


def spec(source, **keys):
    label = {} if source.endswith(".npz") else {"label": "y"}
    return Data(source=source, validation_rows=20, test_rows=20, **{**label, **keys})


@pytest.mark.parametrize("source", ["semicolon.csv", "tabs.tsv", "upper.CSV", "float_labels.csv"])
def test_every_form_of_one_table_is_read_alike(source):
    data = read(spec(source), INPUTS)
    plain = pd.read_csv(INPUTS / "upper.CSV")
    assert np.array_equal(data.x_train, plain[["a", "b", "c"]])
    assert np.array_equal(data.y_train, plain["y"])


def test_bytes_are_labels_of_text():
    assert np.unique(read(spec("bytes_labels.npz"), INPUTS).y_train).tolist() == ["no", "yes"]


def test_none_is_a_class():
    data = read(spec("none_label.csv", label="disorder"), INPUTS)
    assert np.unique(data.y_train).tolist() == ["Insomnia", "None"]
    assert len(data.y_train) == 120


REFUSED = {
    "questionmarks.csv": r"not all numbers: column 'ca' has '\?' \(line 9\): .*data\.missing",
    "telco.csv": r"not all numbers: column 'TotalCharges' has ' ' \(2 of 120 cells, the first on line 5\)",
    "noise_sorted_index.csv": r"has a column without a name: .*data\.drop = \[\"\"\]",
}


def test_missing_numbers_are_imputed_by_the_median_of_the_training_rows_and_marked(tmp_path):
    data = prepare(read(spec("missing.csv"), INPUTS), spec("missing.csv"), 0, tmp_path)
    n_missing = pd.read_csv(INPUTS / "missing.csv")[["a", "b", "c"]].isna().sum().tolist()
    assert n_missing == [6, 8, 4]
    assert data.facts.n_features == 6
    train, validation = open_training_split(data, "train").x, open_training_split(data, "validation").x
    for i, column in enumerate(data.facts.columns):
        is_missing = train[:, 2 * i + 1] > 0
        assert 0 < is_missing.sum() <= n_missing[i]
        assert np.abs(train[is_missing, 2 * i]).max() < 1e-6  # the median is what robust scaling takes away
        assert column.fill == pytest.approx(np.median(read_sample(data)[~is_missing, i]))
    assert np.isfinite(validation).all()


@pytest.mark.parametrize(("source", "n_values"), [("regression_float.csv", 120), ("regression_int.csv", 103)])
def test_a_number_to_predict_is_found_out_and_said(source, n_values, caplog):
    caplog.set_level(logging.INFO, "sweep")
    data = read(spec(source), INPUTS)
    check_rows(data, spec(source))
    assert data.task == "regression"
    assert f"its labels are a number to predict ({n_values} values in 120 rows), so this is a regression" in caplog.text


@pytest.mark.parametrize("source", REFUSED)
def test_what_cannot_be_trained_on_is_named_with_the_way_out(source):
    label = {"telco.csv": "Churn"}.get(source, "y")
    with pytest.raises(InvalidDataError, match=REFUSED[source]) as told:
        check_rows(read(spec(source, label=label), INPUTS), spec(source, label=label))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(("table", "counts"), [("wine_data.csv", (5, 14)), ("breast_cancer.csv", (4, 31))])
def test_a_public_table_whose_header_is_shorter_than_its_rows_is_refused(table, counts):
    names = (PUBLIC / table).read_text().splitlines()[0].split(",")
    with pytest.raises(InvalidDataError, match="the header names {} columns, line 2 has {} values".format(*counts)):
        read(spec(table, label=names[-1]), PUBLIC)


def test_a_study_of_such_a_table_ends_before_anything_is_written(tmp_path, capsys):
    shutil.copy(INPUTS / "sk-wine.toml", tmp_path)
    shutil.copy(PUBLIC / "wine_data.csv", tmp_path)
    assert main(["run", str(tmp_path / "sk-wine.toml"), "--runs-dir", str(tmp_path / "mlruns")]) == 1
    assert "the header names 5 columns, line 2 has 14 values" in capsys.readouterr().err
    assert not (tmp_path / "mlruns").exists()


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(INPUTS, tmp_path / "inputs")
    shutil.copy(PUBLIC / "iris.csv", tmp_path / "inputs")
    return tmp_path / "inputs"


def run(folder, study, changes=()):
    """Run a study as a user does; return the figures of its champion, and the text of its report."""
    text = (folder / f"{study}.toml").read_text(encoding="utf-8-sig")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / f"{study}.toml").write_text(text, encoding="utf-8")
    return run_as_it_is(folder, study)


def run_as_it_is(folder, study):
    command = [sys.executable, "-m", "sweep", "run", str(folder / f"{study}.toml"), "--workers", "1"]
    runs = folder.parent / "mlruns"
    done = subprocess.run([*command, "--runs-dir", str(runs)], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    name = re.search(r'^name = "(.*)"', (folder / f"{study}.toml").read_text(encoding="utf-8-sig"), re.M)[1]
    report = runs / "reports" / name
    summaries = json.loads((report / "conclusion.json").read_text(encoding="utf-8"))
    return summaries, (report / "conclusion.md").read_text(encoding="utf-8"), runs


def figures(summaries):
    """Mean validation loss, test loss and test accuracy of the champion."""
    [column] = [column for column in summaries["finalists"] if column["name"] == summaries["champion"]]
    return [column["metrics"][name]["mean"] for name in ("val_loss", "test_loss", "test_accuracy")]


@pytest.mark.slow
def test_dates_far_from_0_are_told_apart_as_when_their_start_is_taken_away_by_hand(folder):
    loss, test_loss, accuracy = figures(run(folder, "julian")[0])
    table = pd.read_csv(folder / "julian.csv")
    table.assign(jd=table["jd"] - 2459000).to_csv(folder / "julian.csv", index=False)
    by_hand = figures(run(folder, "julian", [('name = "julian"', 'name = "by-hand"')])[0])
    np.testing.assert_allclose([loss, test_loss, accuracy], by_hand, atol=0.02)
    assert accuracy > 0.9


@pytest.mark.slow
def test_a_value_that_no_training_row_has_costs_no_more_than_its_column_dropped(folder):
    loss, test_loss, accuracy = figures(run(folder, "onehot-rare2")[0])
    dropped = [('name = "onehot-rare2"', 'name = "dropped"'), ('label = "y"', 'label = "y"\ndrop = ["city_Z"]')]
    by_hand = figures(run(folder, "onehot-rare2", dropped)[0])
    np.testing.assert_allclose([loss, test_loss, accuracy], by_hand, atol=0.1)
    assert loss < 1


@pytest.mark.slow
def test_noise_without_its_index_is_noise(folder):
    _, _, accuracy = figures(run(folder, "noise-idx", [('label = "y"', 'label = "y"\ndrop = [""]')])[0])
    assert 0.35 < accuracy < 0.65


@pytest.mark.slow
def test_validation_and_test_have_one_loss(folder):
    loss, test_loss, _ = figures(run(folder, "diverge")[0])
    assert loss > 20  # more than any mean of losses that are clipped
    assert 1 / 4 < loss / test_loss < 4


@pytest.mark.slow
def test_the_largest_class_stands_beside_an_accuracy_that_is_no_better(folder):
    summaries, report, _ = run(folder, "fraud")
    assert figures(summaries)[2] <= 0.99
    assert "| Test accuracy of a dummy | 0.9900 |" in report
    assert "Its test accuracy is no better than always answering `ok`, the class of 0.9900 of the test rows." in report


@pytest.mark.slow
def test_names_that_look_like_markup_are_exported_as_they_are(folder):
    runs = run(folder, "markup")[2]
    summary = json.loads((runs / "exports" / "markup" / "summary.json").read_text(encoding="utf-8"))
    assert set(summary["classes"]) == set(pd.read_csv(folder / "markup.csv")["band"])
    assert (runs / "exports" / "markup" / "confusion.png").stat().st_size > 5000


@pytest.mark.slow
def test_a_study_file_with_a_byte_order_mark_runs(folder):
    assert 0 <= figures(run_as_it_is(folder, "bom")[0])[2] <= 1


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["tpe", "grid", "random"])
def test_a_step_that_does_not_divide_its_range_has_the_values_that_it_says(folder, sampler):
    baseline = '\n[[baselines]]\nname = "top"\nunits = [8]\ndropout = 0.45\n'
    changes = [("trials = 4", f'trials = 4\nsampler = "{sampler}"\n[confirmation]\nreplicates = 1\n{baseline}')]
    _, report, runs = run(folder, "step-hang", changes)
    tried = {
        json.loads(path.read_text(encoding="utf-8"))["content"]["key"] for path in runs.glob("results/*/*/result.json")
    }
    assert len(tried) >= 4
    assert "0.45" in report
