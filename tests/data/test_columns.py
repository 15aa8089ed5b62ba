"""Columns of any kind: what each is taken for, how it is coded, and that only training rows decide how."""

import json
import logging
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder

from sweep.data.coding import MAX_VALUES, RawColumn, draw_rows, fit_columns, place_levels
from sweep.data.columns import Column, code, read_columns, to_rows
from sweep.data.facts import DataFacts
from sweep.data.files import read
from sweep.data.prepared import open_test_split, open_training_split, prepare
from sweep.study.schema import Data

N = 400


def mixed(n=N, seed=0):
    """A table with a column of each kind, and cells missing from most."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 90, n).astype(float),
            "city": rng.choice(["Ulm", "Bonn", "Köln"], n),
            "zip": rng.choice([f"{i:05d}" for i in range(40)], n),
            "member": rng.choice([True, False], n),
            "since": pd.date_range("2019-12-30", periods=n, freq="7h"),
        }
    )
    frame.loc[rng.random(n) < 0.2, "age"] = np.nan
    frame.loc[rng.random(n) < 0.1, "city"] = None
    return frame.assign(y=np.where((frame["city"] == "Ulm") ^ (frame["age"] > 50), "yes", "no"))


def spec(source, **keys):
    return Data(source=source, label="y", **{"validation_rows": 60, "test_rows": 60, **keys})


def read_frame(frame, folder, name="rows.csv", **keys):
    (frame.to_csv if name.endswith("csv") else frame.to_parquet)(folder / name, index=False)
    return read(spec(name, **keys), folder)


def prepared(frame, folder, **keys):
    data = read_frame(frame, folder, **keys)
    return prepare(data, spec(data.name, **keys), 1, folder / "cache")


def kinds(data):
    return {column.name: column.kind for column in data.columns}


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet"])
def test_each_column_is_taken_for_what_it_looks_like(name, tmp_path):
    data = read_frame(mixed().assign(zip=lambda f: "D-" + f["zip"]), tmp_path, name)
    expected = {"age": "number", "city": "category", "zip": "category", "member": "boolean", "since": "date"}
    assert kinds(data) == expected


def test_a_parquet_table_and_the_same_table_of_text_are_the_same_data(tmp_path):
    frame = mixed().assign(zip=lambda f: "D-" + f["zip"])
    assert read_frame(frame, tmp_path).sha256() == read_frame(frame, tmp_path, "rows.parquet").sha256()


def test_a_kind_that_is_set_counts_and_leaves_codes_as_they_are_written(tmp_path):
    keys = {"columns": {"zip": "category", "member": "category"}}
    assert kinds(read_frame(mixed(), tmp_path))["zip"] == "number"
    data = read_frame(mixed(), tmp_path, **keys)
    levels = {column.name: column.levels for column in data.columns}
    assert levels["zip"][:2] == ("00000", "00001")
    assert levels["member"] == ("False", "True")


def test_words_for_yes_and_no_are_truth_values_where_that_is_set(tmp_path):
    frame = pd.DataFrame({"a": ["Yes", "no", None, "T"] * 5, "y": [0, 1] * 10})
    data = read_frame(frame, tmp_path, columns={"a": "boolean"})
    assert data.x_train[:4, 0].tolist()[:2] == [1, 0]
    assert np.isnan(data.x_train[2, 0])
    assert data.x_train[3, 0] == 1


def test_what_the_columns_were_taken_for_is_said_once(tmp_path, caplog):
    caplog.set_level(logging.INFO, "sweep")
    prepared(mixed(), tmp_path)
    prepared(mixed(), tmp_path)
    n_age, n_city = mixed()[["age", "city"]].isna().sum()
    assert caplog.messages == [
        f"rows.csv: numbers age ({n_age} missing), zip; booleans member; categories city (3 values, {n_city} missing); "
        "dates since; data.columns sets other kinds"
    ]


def test_columns_are_coded_as_scikit_learn_codes_them(tmp_path):
    found = prepared(mixed().drop(columns="since"), tmp_path, columns={"zip": "category"})
    rows = np.load(found.folder / "test" / "row_numbers.npy")
    frame = pd.read_csv(tmp_path / "rows.csv", dtype={"zip": str}).drop(columns="y")
    frame["city"] = frame["city"].fillna("")
    train = np.setdiff1d(np.arange(N), rows)
    # Which rows are validated on is not on the disk: their ages are what training rows do not have.
    assert found.facts.n_train + found.facts.n_validation == len(train)
    one_hot = OneHotEncoder(
        min_frequency=5, max_categories=MAX_VALUES + 1, handle_unknown="infrequent_if_exist", sparse_output=False
    )
    reference = ColumnTransformer(
        [("age", SimpleImputer(strategy="median", add_indicator=True), ["age"]), ("city", one_hot, ["city"])]
    )
    raw = [RawColumn("age", "number"), RawColumn("city", "category", tuple(sorted(set(frame["city"]))))]
    cells = np.column_stack([frame["age"], frame["city"].map(raw[1].levels.index)]).astype(float)
    fitted = fit_columns(raw, cells[train])
    coded = code(place_levels(cells[rows], raw, fitted), fitted)
    reference.fit(frame.iloc[train])
    np.testing.assert_array_equal(coded, reference.transform(frame.iloc[rows]))


def test_rare_and_unknown_values_share_a_feature_and_missing_ones_have_their_own():
    raw = [RawColumn("c", "category", ("", "a", "b", "once", "twice", "unseen"))]
    train = np.repeat([0.0, 1, 2, 3, 4], [40, 30, 30, 1, 2])[:, np.newaxis]
    [column] = fit_columns(raw, train)
    assert column.values == ("", "a", "b")
    assert column.features == ("c is missing", "c = a", "c = b", "c is another")
    levels = np.arange(6.0)[:, np.newaxis]
    assert code(place_levels(levels, raw, [column]), [column]).argmax(axis=1).tolist() == [0, 1, 2, 3, 3, 3]
    frame = pd.DataFrame({"c": [None, "a", "b", "once", "never"]})
    assert code(to_rows(frame, [column], ()), [column]).argmax(axis=1).tolist() == [0, 1, 2, 3, 3]


def test_an_unknown_value_where_none_was_rare_is_no_value_at_all():
    raw = [RawColumn("c", "category", ("a", "b"))]
    [column] = fit_columns(raw, np.repeat([0.0, 1], 20)[:, np.newaxis])
    assert code(np.array([[-1.0]]), [column]).tolist() == [[0, 0]]


def test_a_category_of_many_values_has_features_for_the_most_frequent():
    n_levels = MAX_VALUES + 50
    raw = [RawColumn("c", "category", tuple(f"{i:03d}" for i in range(n_levels)))]
    train = np.repeat(np.arange(n_levels, dtype=float), np.arange(n_levels) + 5)[:, np.newaxis]
    [column] = fit_columns(raw, train)
    assert len(column.features) == MAX_VALUES + 1
    assert column.values[0] == "050"


def test_a_date_is_a_point_in_time_and_of_the_year_the_week_and_the_day():
    raw = [RawColumn("d", "date")]
    days = np.array([[0.0], [7.0], [7 + 365.2425], [0.25]])
    [column] = fit_columns(raw, days)
    assert column.has_time
    assert len(column.features) == 7
    coded = code(days, [column])
    np.testing.assert_allclose(coded[0], [0, 0, 1, 0, 1, 0, 1], atol=1e-12)
    np.testing.assert_allclose(coded[1, 3:5], [0, 1], atol=1e-12)  # the same day of the week
    np.testing.assert_allclose(coded[2, 1:3], coded[1, 1:3], atol=1e-9)  # a year later
    np.testing.assert_allclose(coded[3, 5:7], [1, 0], atol=1e-12)  # six in the morning
    assert not fit_columns(raw, days[:2])[0].has_time


def test_dates_are_days_in_utc_however_they_are_told(tmp_path):
    frame = pd.DataFrame({"d": ["1970-01-02", "1970-01-01T12:00", "1970-01-01 12:00:00+02:00", None]})
    [column] = fit_columns([RawColumn("d", "date")], np.array([[0.5]]))
    np.testing.assert_allclose(to_rows(frame, [column], ())[:, 0], [1, 0.5, 10 / 24, np.nan])
    typed = frame.assign(d=pd.to_datetime(frame["d"].iloc[:2], format="ISO8601"))
    np.testing.assert_allclose(to_rows(typed, [column], ())[:2, 0], [1, 0.5])


def test_nothing_but_training_rows_decides_how_columns_are_coded_and_scaled(tmp_path):
    frame = mixed()
    (tmp_path / "a").mkdir()
    found = prepared(frame, tmp_path / "a")
    test = np.load(found.folder / "test" / "row_numbers.npy")
    changed = frame.astype({"since": str})
    changed.loc[test, "age"] = 1e9
    changed.loc[test, "city"] = "Atlantis"
    changed.loc[test, "since"] = "2900-01-01"
    (tmp_path / "b").mkdir()
    again = prepared(changed, tmp_path / "b")
    assert np.array_equal(np.load(again.folder / "test" / "row_numbers.npy"), test)
    assert again.facts.columns == found.facts.columns
    for part in ("train", "validation"):
        ours, theirs = open_training_split(found, part), open_training_split(again, part)
        assert np.array_equal(ours.x, theirs.x)
        assert np.array_equal(ours.y, theirs.y)
    assert open_test_split(again).x[:, 0].max() == 1e9


def test_a_column_that_is_the_label_in_test_rows_alone_changes_nothing_that_is_trained_on(tmp_path):
    frame = mixed().assign(leak=0)
    (tmp_path / "a").mkdir()
    found = prepared(frame, tmp_path / "a")
    test = np.load(found.folder / "test" / "row_numbers.npy")
    frame.loc[test, "leak"] = (frame.loc[test, "y"] == "yes").astype(int)
    (tmp_path / "b").mkdir()
    again = prepared(frame, tmp_path / "b")
    for part in ("train", "validation"):
        assert np.array_equal(open_training_split(found, part).x, open_training_split(again, part).x)


def test_the_facts_of_columns_survive_being_stored_and_are_checked(tmp_path):
    facts = prepared(mixed(), tmp_path).facts
    assert DataFacts.from_dict(json.loads(json.dumps(facts.to_dict()))) == facts
    with pytest.raises(ValueError, match="its columns are not its features"):
        DataFacts.from_dict(json.loads(json.dumps(replace(facts, n_features=3, feature_shape=(3,)).to_dict())))


@pytest.mark.parametrize(
    "changes",
    [{"kind": "text"}, {"fill": float("inf")}, {"low": None}, {"values": ("a", "a")}, {"has_rare": 1}, {"name": 3}],
)
def test_a_column_that_nobody_fitted_is_refused(changes):
    column = asdict(Column("a", "number", low=0.0, high=1.0)) | changes
    with pytest.raises((ValueError, TypeError)):
        read_columns([column])


def test_another_name_or_kind_of_a_column_is_another_prepared_folder(tmp_path):
    frame = mixed()[["age", "zip", "y"]]
    folders = {
        prepared(frame, tmp_path).folder,
        prepared(frame.rename(columns={"age": "AGE"}), tmp_path).folder,
        prepared(frame, tmp_path, columns={"zip": "category"}).folder,
    }
    assert len(folders) == 3


def test_other_names_of_values_are_other_data(tmp_path):
    frame = mixed()
    renamed = frame.assign(city=frame["city"].replace("Ulm", "Ulm II"))
    assert read_frame(frame, tmp_path).sha256() != read_frame(renamed, tmp_path).sha256()


def test_numbers_alone_are_the_data_that_they_were_before_columns_had_kinds(tmp_path):
    frame = pd.DataFrame({"a": [1.5, 2, 3, 4], "b": [1, 0, 1, 1], "y": [0, 1, 0, 1]})
    data = read_frame(frame, tmp_path)
    assert replace(data, columns=()).sha256() == data.sha256()


def test_rows_that_are_drawn_lie_around_the_training_rows():
    columns = (
        Column("a", "number", low=0.0, high=4.0, fill=1.0, has_missing=True),
        Column("c", "category", values=("x", "y")),
        Column("b", "boolean", low=0.0, high=1.0),
    )
    rows = draw_rows(columns, 500, np.random.default_rng(0))
    assert np.nanmin(rows[:, 0]) >= -1
    assert np.nanmax(rows[:, 0]) <= 5
    assert np.isnan(rows[:, 0]).any()
    assert set(rows[:, 1]) == {-1, 0, 1}
    assert set(rows[~np.isnan(rows[:, 2]), 2]) == {0, 1}


def test_a_class_that_groups_leave_out_of_a_part_is_named(tmp_path, caplog):
    frame = mixed().drop(columns="since").assign(patient=np.arange(N) // 40)
    frame["y"] = np.where(frame["patient"] == 3, "rare", frame["y"])
    caplog.set_level(logging.WARNING, "sweep")
    prepared(frame, tmp_path, group="patient")
    told = [message for message in caplog.messages if "without class" in message]
    assert len(told) == 2
    assert all(
        "rows.csv: data.group = 'patient' leaves the " in line and line.endswith("rows without class 'rare'")
        for line in told
    )
    caplog.clear()
    prepared(frame.drop(columns="patient"), tmp_path)
    assert caplog.messages == []
