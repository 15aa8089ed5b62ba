"""Rows from memory become files that hold the same rows, under a name that follows from them."""

import numpy as np
import pandas as pd
import pytest

from sweep.data.files import read
from sweep.errors import InvalidDataError
from sweep.python.given import write_rows
from sweep.study.schema import Data


def mixed():
    """Rows of every kind of column that a table may have."""
    return pd.DataFrame(
        {
            "age": pd.array([31, None, 45, 28], "Int64"),
            "height": np.array([1.7, 1.8, np.nan, 1.6], np.float32),
            "city": pd.Categorical(["Ulm", "Bonn", None, "Ulm"]),
            "member": [True, False, True, True],
            "since": pd.to_datetime(["2020-01-01", "2021-06-01 12:00", None, "2024-02-29"], format="ISO8601"),
            7: ["x", "y", "x", None],
            "y": ["no", "yes", "no", "yes"],
        }
    )


def test_a_frame_is_read_back_with_the_types_of_its_columns(tmp_path):
    frame = mixed()
    keys = write_rows(frame, "y", tmp_path / "rows")
    back = pd.read_parquet(tmp_path / "rows" / keys["source"])
    pd.testing.assert_frame_equal(back, frame.rename(columns=str))
    assert keys["label"] == "y"
    assert sorted(tmp_path.rglob("*.*")) == [tmp_path / "rows" / keys["source"]]


def test_the_name_follows_from_the_rows_alone(tmp_path):
    name = write_rows(mixed(), "y", tmp_path)["source"]
    again = mixed().set_axis([3, 1, 2, 9])  # an index is no feature
    assert write_rows(again, "city", tmp_path)["source"] == name
    others = [
        mixed().assign(y=["no", "yes", "yes", "yes"]),
        mixed().assign(height=mixed()["height"].astype(np.float64)),
        mixed().rename(columns={"age": "years"}),
        mixed().iloc[::-1],
    ]
    names = {write_rows(other, "y", tmp_path)["source"] for other in others}
    assert len(names - {name}) == len(others)


def test_a_file_that_is_there_is_not_written_again(tmp_path):
    path = tmp_path / write_rows(mixed(), "y", tmp_path)["source"]
    before = path.stat()
    write_rows(mixed(), "y", tmp_path)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_arrays_are_read_back_as_they_were(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (40, 4, 4)).astype(np.uint8)
    y = pd.Series(["a", "b"] * 20, dtype=object)
    keys = write_rows((x, y), None, tmp_path)
    data = read(Data(**keys, validation_rows=0.2), tmp_path)
    np.testing.assert_array_equal(data.x_train, x)
    assert data.x_train.dtype == np.uint8
    assert data.y_train.tolist() == y.tolist()
    assert write_rows([x, y.tolist()], None, tmp_path) == keys
    assert write_rows((x, y[::-1]), None, tmp_path) != keys


@pytest.mark.parametrize(
    ("label", "name", "column"), [(None, None, "label"), (None, "price", "price"), ("z", "price", "z")]
)
def test_features_in_a_frame_and_labels_beside_it_are_one_table_row_by_row(tmp_path, label, name, column):
    x = mixed()[["age", "city"]].iloc[::-1]  # with an index that runs backwards
    y = pd.Series([0.5, 1.5, 2.5, 3.5], name=name)
    keys = write_rows((x, y), label, tmp_path)
    assert keys["label"] == column
    back = pd.read_parquet(tmp_path / keys["source"])
    assert back[column].tolist() == y.tolist()
    assert back["city"].tolist()[0] == "Ulm"
    assert back["age"].tolist()[0] == 28


X = np.zeros((3, 2))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("rows.csv", "wanted a DataFrame, or features and labels"),
        (X, "wanted a DataFrame, or features and labels, .* got ndarray"),
        ((X,), "got tuple"),
        ((X, [1, "a", None]), "y holds objects"),
        ((np.array([[1, "a"]], object), [1]), "X holds objects"),
        ((mixed(), [1, 2]), r"wanted a label for each of 4 rows; y has shape \(2,\)"),
        ((mixed(), mixed()["y"]), "X has a column 'y' itself"),
        (pd.DataFrame({"a": [1, "x", {}]}), "cannot be written as a table"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "cannot be written as a table: Duplicate column"),
    ],
    ids=str,
)
def test_what_is_no_rows_is_told_in_one_line(tmp_path, data, said):
    with pytest.raises(InvalidDataError, match=said) as refused:
        write_rows(data, None, tmp_path)
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.iterdir())
