"""How tables are split: by share, by group, by time. `test_prepared.py` holds the draws of single rows."""

import numpy as np
import pandas as pd
import pytest

from sweep.data.files import check_rows, read
from sweep.data.prepared import open_test_split, open_training_split, prepare
from sweep.data.splits import count_rows, draw_rows
from sweep.errors import InvalidDataError, InvalidStudyError
from sweep.study.file import parse_study
from sweep.study.schema import Data
from tests.studies import tiny_table

N = 200
RNG = np.random.default_rng(0)
LABELS = RNG.permutation(np.repeat([0, 1], [160, 40]))
PATIENTS = RNG.integers(30, size=N)


def spec(**entries):
    return Data(source="rows.csv", label="y", **{"validation_rows": 40, "test_rows": 20, **entries})


def parts(drawn):
    return drawn.test, drawn.validation, drawn.train


@pytest.fixture
def table(tmp_path):
    """Rows of patients, with the day of each."""

    def write(**columns):
        frame = pd.DataFrame({"x": np.arange(N) * 1.5 + 7, "y": LABELS, **columns})
        frame.to_csv(tmp_path / "rows.csv", index=False)
        return tmp_path

    return write


def prepared(folder, **entries):
    given = spec(**entries)
    rows = read(given, folder)
    check_rows(rows, given)
    return prepare(rows, given, 1, folder / "cache")


def numbers(of, frame):
    """Row numbers of the test, validation and training rows, known by their first feature."""
    scaled = {part: open_training_split(of, part).x[:, 0] for part in ("validation", "train")}
    test = np.searchsorted(frame["x"], open_test_split(of).x[:, 0])
    rest = np.setdiff1d(np.arange(N), test)
    order = np.argsort(np.concatenate([scaled["validation"], scaled["train"]]), kind="stable")
    of_validation = np.sort(rest[np.flatnonzero(order < len(scaled["validation"]))])
    return test, of_validation, np.setdiff1d(rest, of_validation)


def test_a_share_of_the_rows_is_as_many_rows():
    assert [count_rows(asked, 200) for asked in (0.25, 0.001, 40, 0, None)] == [50, 0, 40, 0, 0]
    by_share = draw_rows(LABELS, None, spec(validation_rows=0.2, test_rows=0.1), 3, has_test=False)
    by_count = draw_rows(LABELS, None, spec(), 3, has_test=False)
    assert all(np.array_equal(a, b) for a, b in zip(parts(by_share), parts(by_count), strict=True))


@pytest.mark.parametrize("seed", range(20))
def test_no_group_lies_in_two_parts_and_every_row_lies_in_one(seed):
    drawn = draw_rows(LABELS, PATIENTS, spec(group="patient"), seed, has_test=False)
    held = [set(PATIENTS[rows]) for rows in parts(drawn)]
    assert sum(map(len, held)) == len(set.union(*held))
    assert sorted(np.concatenate(parts(drawn))) == list(range(N))
    largest = np.bincount(PATIENTS).max()
    assert abs(len(drawn.test) - 20) <= largest
    assert abs(len(drawn.validation) - 40) <= largest


def test_which_groups_are_held_out_follows_from_the_seed():
    def held_out(seed):
        return draw_rows(LABELS, PATIENTS, spec(group="patient"), seed, has_test=False).test.tolist()

    assert held_out(1) == held_out(1)
    assert len({tuple(held_out(seed)) for seed in range(10)}) > 5


def test_a_part_has_a_group_at_least_and_leaves_one():
    two = np.repeat([0, 1], [199, 1])
    drawn = draw_rows(LABELS, two, spec(group="patient", validation_rows=0), 0, has_test=False)
    assert {len(drawn.test), len(drawn.train)} == {1, 199}


def test_by_time_the_test_rows_are_the_last_and_the_validation_rows_those_before():
    times = np.arange(N) // 2  # two rows of each time
    drawn = draw_rows(LABELS, times, spec(order="day"), 5, has_test=False)
    assert drawn.test.tolist() == list(range(180, 200))
    assert drawn.validation.tolist() == list(range(140, 180))
    assert drawn.train.tolist() == list(range(140))


DAYS = pd.date_range("2026-01-30", periods=N, freq="D")


@pytest.mark.parametrize(
    "days",
    [
        DAYS.strftime("%Y-%m-%d"),
        DAYS.strftime("%Y-%m-%dT%H:%M:%S"),
        np.arange(N) - 50.5,
        np.array([f"{n}" for n in range(N)]),  # 9 before 10, which text is not
    ],
    ids=["days", "times", "numbers", "numbers as text"],
)
def test_a_column_of_times_orders_a_table_and_is_no_feature(table, days):
    order = np.random.default_rng(1).permutation(N)
    folder = table(day=np.asarray(days)[order])
    made = prepared(folder, order="day")
    frame = pd.read_csv(folder / "rows.csv")
    test, validation, train = numbers(made, frame)
    assert made.facts.n_features == 1
    assert sorted(order[test]) == list(range(180, 200))
    assert sorted(order[validation]) == list(range(140, 180))
    assert sorted(order[train]) == list(range(140))


def test_a_column_of_groups_keeps_them_together_and_is_no_feature(table):
    names = np.array([f"patient {n}" for n in PATIENTS])
    folder = table(patient=names)
    made = prepared(folder, group="patient")
    held = [set(names[rows]) for rows in numbers(made, pd.read_csv(folder / "rows.csv"))]
    assert made.facts.n_features == 1
    assert sum(map(len, held)) == len(set.union(*held))


def test_other_groups_are_other_data_and_another_split_another_folder(table):
    first = prepared(table(a=PATIENTS, b=PATIENTS[::-1]), group="a", drop=("b",))
    second = prepared(table(a=PATIENTS, b=PATIENTS[::-1]), group="b", drop=("a",))
    plain = prepared(table(a=PATIENTS, b=PATIENTS[::-1]), drop=("a", "b"))
    assert len({made.facts.sha256 for made in (first, second, plain)}) == 3
    assert len({made.folder for made in (first, second, plain)}) == 3


@pytest.mark.parametrize(
    ("columns", "entries", "said"),
    [
        ({"a": PATIENTS}, {"group": "b"}, "data.group = 'b' is not one of its columns beside the label: 'x', 'a'"),
        ({"a": PATIENTS}, {"group": "y"}, "data.group = 'y' is not one of its columns"),
        ({"a": PATIENTS}, {"order": "a", "drop": ("a",)}, "data.order = 'a' is not one of its columns"),
        ({"a": np.zeros(N)}, {"group": "a"}, "has 1 different values of it, wanted one or more for each of 3 parts"),
        ({"a": ["soon", *DAYS.strftime("%Y-%m-%d")[1:]]}, {"order": "a"}, r"'soon' \(line 2\) is no number and no date like"),
        ({"a": [None, *PATIENTS[1:]]}, {"group": "a"}, r"data.group = 'a': 1 rows have none, the first on line 2"),
    ],
    ids=["unknown", "the label", "dropped", "one group", "no time", "empty"],
)  # fmt: skip
def test_a_column_that_cannot_split_a_table_is_named(table, columns, entries, said):
    with pytest.raises(InvalidDataError, match=said):
        prepared(table(**columns), **entries)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"validation_rows": 1.5}, "wanted a whole number, 0 or more, or a share of the rows between 0 and 1"),
        ({"validation_rows": -1}, "wanted a whole number, 0 or more, or a share of the rows between 0 and 1"),
        ({"validation_rows": True}, "wanted a whole number, 0 or more, or a share of the rows between 0 and 1"),
        ({"test_rows": 0}, "wanted a whole number, 1 or more, or a share of the rows between 0 and 1"),
        ({"test_rows": 1.0}, "wanted a whole number, 1 or more, or a share of the rows between 0 and 1"),
        ({"group": "a", "order": "b"}, "group and order are two ways to split a table: leave one of them out"),
    ],
)
def test_a_wrong_split_is_refused_with_what_was_wanted(entries, said):
    data = {"source": "rows.csv", "label": "y", "validation_rows": 10, **entries}
    with pytest.raises(InvalidStudyError, match=said):
        parse_study(tiny_table(data=data), "tiny.toml")
