"""Labels as people have them mean the same classes, in the data and to the check of a bundle."""

import logging

import numpy as np
import pytest

from sweep.champion.given_rows import class_names
from sweep.data.files import read
from sweep.errors import InvalidDataError
from sweep.study.schema import Data

Y = np.array([2, 0, 1, 1, 0, 2, 0, 0])
WORDS = np.array(["ja", "nein", "größe"])[Y]
FORMS = {
    "whole numbers": (Y, Y),
    "bytes": (Y.astype(np.uint8), Y),
    "floats": (Y.astype(float), Y),
    "half floats": (Y.astype(np.float16), Y),
    "a column": (Y[:, None], Y),
    "a column of floats": (Y[:, None].astype(np.float32), Y),
    "one-hot": (np.eye(3, dtype=int)[Y], Y),
    "one-hot floats": (np.eye(3)[Y], Y),
    "one-hot truth values": (np.eye(3, dtype=bool)[Y], Y),
    "one-hot of a class that nobody has": (np.eye(4)[Y], Y),
    "truth values": (Y > 0, Y > 0),
    "a column of truth values": (Y[:, None] > 0, Y > 0),
    "text": (WORDS, WORDS),
    "a column of text": (WORDS[:, None], WORDS),
    "text in bytes": (np.char.encode(WORDS, "utf-8"), WORDS),
    "a column of text in bytes": (np.char.encode(WORDS, "utf-8")[:, None], WORDS),
}


def read_labels(folder, y_train, y_test=Y[:4], task=None):
    n_train, n_test = len(y_train), len(y_test)
    x_train, x_test = np.ones((max(n_train, 8), 2)), np.ones((n_test, 2))
    np.savez(folder / "rows.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    return read(Data(source="rows.npz", validation_rows=0, task=task), folder)


@pytest.mark.parametrize("form", FORMS)
def test_labels_are_taken_as_people_have_them(form, tmp_path):
    given, meant = FORMS[form]
    data = read_labels(tmp_path, given, given[:4])
    assert data.y_train.tolist() == meant.tolist()
    assert data.y_test.tolist() == meant[:4].tolist()
    assert data.y_train.dtype.kind == ("u" if given.dtype == np.uint8 else meant.dtype.kind)


@pytest.mark.parametrize("form", FORMS)
def test_a_bundle_is_checked_against_the_same_names_of_classes(form, tmp_path):
    given, _ = FORMS[form]
    assert class_names(given) == [str(label) for label in read_labels(tmp_path, given, given[:4]).y_train.tolist()]


@pytest.mark.parametrize(
    "odd", [np.ones((3, 2, 2)), np.array([[b"\xff"]]), np.array([np.nan, np.inf, 0.5]), np.empty((0, 3))]
)
def test_labels_of_other_data_have_names_too(odd):
    assert not set(class_names(odd)) & {"0", "1", "2"}


@pytest.mark.parametrize("form", ["floats", "a column", "one-hot floats"])
def test_training_and_test_labels_may_have_two_forms(form, tmp_path):
    given, _ = FORMS[form]
    assert read_labels(tmp_path, given).y_test.tolist() == Y[:4].tolist()
    assert read_labels(tmp_path, Y, given[:4]).y_test.tolist() == Y[:4].tolist()


def test_one_hot_labels_are_said(tmp_path, caplog):
    caplog.set_level(logging.INFO, "sweep")
    read_labels(tmp_path, np.eye(3)[Y])
    assert caplog.messages == ["rows.npz: y_train is one-hot: its classes are named 0 to 2"]


@pytest.mark.parametrize(
    ("y", "said"),
    [
        (np.eye(3)[Y] * 2, r"y_train is float64 \(8, 3\), wanted one label a row, or one-hot rows of a single 1"),
        (np.eye(3)[Y] * np.nan, "wanted one label a row, or one-hot"),
        (np.ones((8, 0)), "wanted one label a row, or one-hot"),
        (WORDS.reshape(4, 2).repeat(2, axis=0), "wanted one label a row, or one-hot"),
        (Y * 1e300, r"y_train holds 4 numbers beyond 1e\+150; rescale them"),
        (np.where(Y == 1, np.inf, Y), "y_train holds 2 numbers beyond"),
        (np.where(Y == 1, np.nan, Y), r"y_train has 2 rows without a label \(NaN\)"),
        (Y.astype("datetime64[D]"), r"y_train is datetime64\[D\] \(8,\), wanted one whole number or text"),
        (Y[:7], "y_train has 7 labels for 8 rows"),
        (Y.astype(object), "not a readable .npz"),
    ],
)  # fmt: skip
def test_labels_that_are_no_classes_are_refused(y, said, tmp_path):
    with pytest.raises(InvalidDataError, match=said):
        read_labels(tmp_path, y)


NUMBERS = {
    "with fractions": np.arange(20) / 4,
    "whole ones that stand alone": np.arange(20) * 7,
    "whole floats that stand alone": np.arange(20) * 7.0,
    "a column": (np.arange(20) / 4)[:, None],
    "many, few of which stand alone": np.r_[np.repeat(np.arange(60), 20), 99],
}


@pytest.mark.parametrize("form", NUMBERS)
def test_labels_that_look_like_numbers_to_predict_are_taken_so_and_it_is_said(form, tmp_path, caplog):
    caplog.set_level(logging.INFO, "sweep")
    y = NUMBERS[form]
    data = read_labels(tmp_path, y, y[:4])
    assert (data.task, data.y_train.dtype, data.y_test.dtype) == ("regression", np.float64, np.float64)
    assert data.y_train.tolist() == y.ravel().tolist()
    [said] = caplog.messages
    assert said.startswith(
        f"rows.npz: its labels are a number to predict ({len(np.unique(y))} values in {len(y)} rows)"
    )


def test_a_study_says_that_whole_numbers_are_to_predict(tmp_path, caplog):
    caplog.set_level(logging.INFO, "sweep")
    data = read_labels(tmp_path, Y, task="regression")
    assert (data.task, data.y_train.dtype, data.y_test.tolist()) == ("regression", np.float64, Y[:4].tolist())
    assert not caplog.messages
    assert read_labels(tmp_path, Y).task == "classification"


@pytest.mark.parametrize(
    ("y", "task", "said"),
    [
        (
            Y + 0.25,
            "classification",
            "is a number to predict, such as 2.25, which is no class; data.task = 'regression'",
        ),
        (WORDS, "regression", "y_train is text, wanted one number a row"),
        (Y > 0, "regression", r"y_train is bool \(8,\), wanted one number a row"),
        (np.eye(3)[Y], "regression", r"y_train is float64 \(8, 3\), wanted one number a row"),
        (Y * 0, "regression", "y_train has one value only"),
    ],
)
def test_labels_of_the_other_task_are_refused(y, task, said, tmp_path):
    with pytest.raises(InvalidDataError, match=said):
        read_labels(tmp_path, y, y[:4], task)


def test_numbers_to_test_classes_on_are_refused(tmp_path):
    with pytest.raises(InvalidDataError, match="y_test is a number to predict"):
        read_labels(tmp_path, Y, Y[:4] + 0.5)
