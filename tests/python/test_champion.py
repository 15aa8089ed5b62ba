"""The champion predicts as an estimator of scikit-learn does."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from sweep.data.columns import Column
from sweep.errors import DamagedResultError, InvalidDataError
from sweep.python.champion import Champion
from tests.bundles import WEIGHTS, seal, write_onnx

ROWS = np.random.default_rng(1).integers(0, 256, (50, 8, 8)).astype(np.uint8)
SUMMARY = {
    "input": {"features": 64, "shape": [8, 8], "rows_dtype": "uint8"},
    "classes": ["2", "5", "11"],
    "test": None,
}
COLUMNS = (
    Column("age", "number", low=0.0, high=90.0),
    Column("city", "category", values=("Bonn", "Ulm"), has_rare=True),
)


def write_bundle(folder, summary, *arguments):
    """Write a bundle as small as one can be."""
    folder.mkdir()
    write_onnx(folder / "model.onnx", *arguments)
    (folder / "summary.json").write_text(json.dumps(summary))
    seal(folder)
    return folder


@pytest.fixture
def of_images(tmp_path):
    """A champion on images, of three classes that are whole numbers."""
    return Champion(write_bundle(tmp_path / "images", SUMMARY), np.array([2, 5, 11]))


@pytest.fixture
def of_table(tmp_path):
    """A champion on a table of two columns."""
    listed = [{**vars(column), "values": list(column.values)} for column in COLUMNS]
    rows = {"features": 4, "shape": [4], "rows_dtype": "float64"}
    rows |= {"columns": listed, "label": "member", "missing": [], "separator": None}
    weights = np.array([[0.01, 0.0], [0.0, 3.0], [9.0, 0.0], [0.0, 1.0]], np.float32)
    summary = {"input": rows, "classes": ["False", "True"], "test": None}
    return Champion(write_bundle(tmp_path / "table", summary, weights, COLUMNS), np.array([False, True]))


def test_it_answers_with_labels_of_the_type_that_the_data_have_and_probabilities_in_their_order(of_images):
    z = ROWS.reshape(50, 64).astype(np.float32) @ WEIGHTS
    np.testing.assert_array_equal(of_images.predict(ROWS), np.array([2, 5, 11])[z.argmax(axis=1)])
    assert of_images.predict(ROWS).dtype.kind == "i"
    shares = of_images.predict_proba(ROWS.reshape(50, 64))
    assert shares.shape == (50, 3)
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(of_images.classes_[shares.argmax(axis=1)], of_images.predict(ROWS))


def test_a_frame_is_read_by_the_names_of_its_columns_whatever_their_order_and_index(of_table):
    frame = pd.DataFrame(
        {"city": pd.Categorical(["Ulm", "Bonn", "Rome"]), "id": [7, 8, 9], "age": [1, 90, 1]}, [5, 5, 1]
    )
    answers = of_table.predict(frame)
    assert (answers.dtype.kind, answers.tolist()) == ("b", [False, True, True])
    assert of_table.predict(frame[["age", "city"]].iloc[::-1]).tolist() == [True, True, False]


def test_rows_that_the_model_cannot_be_asked_about_are_told_in_one_line(of_images, of_table):
    for champion, rows, said in (
        (of_images, ROWS[:, :4], r"X: has shape \(50, 4, 8\)"),
        (of_images, ROWS / 255, "X: holds float64, wanted uint8"),
        (of_table, np.zeros((3, 2)), "X: wanted a DataFrame, .* got ndarray"),
        (of_table, pd.DataFrame({"age": [1]}), "X: has no column 'city', which the model takes"),
        (of_table, pd.DataFrame({"age": [1, "old"], "city": "Ulm"}), r"X: column 'age' has 'old' \(row 2\)"),
        (of_table, pd.DataFrame({"age": [], "city": []}), "X: has no rows"),
    ):
        with pytest.raises(InvalidDataError, match=said) as refused:
            champion.predict(rows)
        assert "\n" not in str(refused.value)


def test_a_regression_answers_with_numbers_and_has_no_probabilities(of_images):
    champion = Champion(of_images.folder, np.array([]))
    with pytest.raises(InvalidDataError, match="predict_proba: the champion predicts a number"):
        champion.predict_proba(ROWS)


def test_a_bundle_that_is_not_what_was_exported_is_not_asked(of_images, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(of_images.folder, folder)
    (folder / "model.onnx").write_bytes(b"another")
    with pytest.raises(DamagedResultError, match="not what was exported"):
        Champion(folder, of_images.classes_).predict(ROWS)
