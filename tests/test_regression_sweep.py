"""A regression through the command line, from labels that look like numbers to predict to a bundle that predicts them."""

import json
import subprocess
import sys

import numpy as np
import pytest

from sweep.cli.commands import main
from sweep.layout import RunsDir
from sweep.report.conclusion import conclude
from sweep.report.notes import find_floor
from sweep.study.toml_text import to_toml
from sweep.track.runs import read_study
from tests.regressions import draw_values, values_table, write_values

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(new_runs, tmp_path_factory):
    """The runs of a finished study and its folder, and what was said."""
    runs, folder = new_runs(), tmp_path_factory.mktemp("values")
    write_values(folder)
    (folder / "values.toml").write_text(to_toml(values_table()))
    command = [sys.executable, "-m", "sweep", "run", str(folder / "values.toml"), "--runs-dir", str(runs.root)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return runs, folder, done


def test_it_says_that_it_is_a_regression_and_reports_errors_in_the_unit_of_the_label(finished):
    _, _, done = finished
    assert (
        "values.npz: its labels are a number to predict (600 values in 600 rows), so this is a regression"
        in done.stderr
    )
    assert "Traceback" not in done.stderr
    assert "val_rmse " in done.stderr
    assert "Test RMSE, 95 % interval" in done.stdout
    assert "Validation RMSE, last epochs, when selected" in done.stdout
    assert "accuracy" not in done.stdout


def test_the_champion_has_the_least_error_and_the_verdicts_are_of_squared_errors(finished):
    runs, _, _ = finished
    conclusion = conclude(read_study(runs, "values"))
    assert conclusion.tracked.study.objective == "val_rmse"
    errors = {column.finalist.name: column.summaries["val_rmse"].mean for column in conclusion.columns}
    assert errors[conclusion.champion.finalist.name] == min(errors.values())
    test = conclusion.champion.summaries["test_rmse"]
    assert test.interval[0] < test.mean < test.interval[1]
    first, second = (next(c for c in conclusion.columns if c.finalist.name in v) for v in _names(conclusion)[0])
    difference = first.summaries["test_r2"].mean - second.summaries["test_r2"].mean
    assert conclusion.verdicts[0].comparison.difference == pytest.approx(difference)


def test_the_mean_of_the_training_rows_is_the_floor(finished):
    runs, folder, done = finished
    conclusion = conclude(read_study(runs, "values"))
    labels = next(iter(conclusion.tracked.valued.values())).labels
    dummy = np.sqrt(np.square(labels - conclusion.tracked.facts.target.center).mean())
    assert dummy == pytest.approx(np.load(folder / "values.npz")["y_train"].std(), rel=0.2)
    assert find_floor(conclusion, "test_rmse").value == pytest.approx(dummy)
    assert "Test RMSE of a dummy" in done.stdout
    assert "no better" not in done.stdout
    assert (
        "The dummy is the floor, no model at all: always answering "
        in (runs.reports("values") / "conclusion.md").read_text()
    )


def _names(conclusion):
    return [(v.first.removeprefix("baseline "), v.second.removeprefix("baseline ")) for v in conclusion.verdicts]


def test_the_page_shows_predictions_against_labels_and_no_confusion(finished):
    runs, _, _ = finished
    page = (runs.reports("values") / "report.html").read_text()
    assert "How far off the champion is" in page
    assert "Error against cost" in page
    assert "What the champion gets wrong" not in page
    found = json.loads((runs.reports("values") / "conclusion.json").read_text())
    assert found["verdicts"][0]["metric"] == "test_r2"
    assert found["data"]["target"]["spread"] > 100


def test_its_bundle_predicts_verifies_and_shows_a_picture(finished, tmp_path, capsys):
    runs, folder, _ = finished
    bundle = runs.exports("values")
    assert {"values.png", "predictions.npz", "model.onnx"} <= {path.name for path in bundle.iterdir()}
    assert not (bundle / "confusion.csv").exists()
    command = [sys.executable, str(bundle / "verify.py"), str(folder / "values.npz")]
    checked = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "120 of 120 test rows are predicted as recorded, test RMSE" in checked.stdout
    x, y = draw_values(50, 9)
    np.savez(tmp_path / "rows.npz", x=x)
    assert main(["predict", str(bundle), str(tmp_path / "rows.npz")]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head == "row,value"
    said = np.array([float(line.split(",")[1]) for line in lines])
    rmse = json.loads((bundle / "summary.json").read_text())["test"]["rmse"]
    assert np.sqrt(np.mean((said - y) ** 2)) == pytest.approx(rmse, rel=0.5)
    card = (bundle / "README.md").read_text()
    assert "the number to predict, shape (n, 1), float64, in its own unit" in card
    assert "class" not in card.replace("Classes", "")


def test_a_changed_prediction_or_label_is_found(finished, tmp_path):
    from sweep.champion import verify

    runs, folder, _ = finished
    source = dict(np.load(folder / "values.npz"))
    np.savez(tmp_path / "other.npz", **source | {"y_train": source["y_train"] + 1e-9 * source["y_train"]})
    with pytest.raises(verify.BundleError, match="its labels differ"):
        verify.verify(runs.exports("values"), tmp_path / "other.npz")
    np.savez(tmp_path / "other.npz", **source | {"x_train": source["x_train"] + 0.1})
    with pytest.raises(verify.BundleError, match="120 test rows are not predicted as recorded"):
        verify.verify(runs.exports("values"), tmp_path / "other.npz")


def test_doctor_finds_nothing_the_report_repeats_and_a_run_replays(finished, capsys):
    runs, folder, _ = finished
    options = ["--runs-dir", str(runs.root)]
    assert main(["doctor", str(folder / "values.toml"), *options]) == 0
    assert main(["report", str(folder / "values.toml"), "--check", *options]) == 0
    run_id = read_study(RunsDir(runs.root), "values").replicates[0].run_id
    assert main(["replay", run_id, "--data-dir", str(folder), *options]) == 0
    assert "is bit-equal" in capsys.readouterr().out
    assert main(["run", str(folder / "values.toml"), *options]) == 0, "nothing is missing"
