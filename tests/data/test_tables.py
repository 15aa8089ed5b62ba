"""Tables are read as they are written, and what cannot be read so is refused with the place and the way out."""

import gzip
import logging
import os
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sweep.data.files import check_rows, read
from sweep.errors import InvalidDataError
from sweep.study.schema import Data

ROWS = [(0.5, 10, "no"), (-1.5, 20, "yes"), (2.25, 15, "no"), (1e-3, 7, "yes")]


def table(separator=",", header=("a", "b", "y"), rows=ROWS, end="\n"):
    return end.join(separator.join(map(str, row)) for row in [header, *rows]) + end


def read_file(path, *, label="y", **keys):
    return read(Data(source=path.name, label=label, validation_rows=0, **keys), path.parent)


def read_text(folder, text, *, name="rows.csv", **keys):
    path = folder / name
    content = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(gzip.compress(content) if name.lower().endswith(".gz") else content)
    return read_file(path, **keys)


def refusal(folder, text, **keys):
    with pytest.raises(InvalidDataError) as told:
        read_text(folder, text, **keys)
    assert str(folder) in str(told.value)
    return str(told.value).split(f"{folder}/")[1]


GOOD = {
    "commas": (table(), {}),
    "a suffix in capitals": (table(), {"name": "rows.CSV"}),
    "tabs": (table("\t"), {"name": "rows.tsv"}),
    "commas under another name": (table(), {"name": "rows.tsv"}),
    "packed": (table(), {"name": "rows.csv.gz"}),
    "packed tabs in capitals": (table("\t"), {"name": "ROWS.TSV.GZ"}),
    "semicolons": (table(";"), {}),
    "tabs in a .csv": (table("\t"), {}),
    "bars": (table("|"), {}),
    "bars that are asked for": (table("|"), {"separator": "|"}),
    "spaces that are asked for": (table(" "), {"separator": " "}),
    "colons that are asked for": (table(":"), {"separator": ":"}),
    "commas in names between semicolons": (table(";", ("a, in m", "b, in s", "y")), {}),
    "a byte order mark": ("\ufeff" + table(header=("y", "a", "b"), rows=[(y, a, b) for a, b, y in ROWS]), {}),
    "lines of Windows": (table(end="\r\n"), {}),
    "lines of the old Macintosh": (table(end="\r"), {}),
    "blank lines": ("\n" + table(end="\n  \n\n"), {}),
    "quotes": (table(rows=[(f'"{a}"', b, f'"{y}"') for a, b, y in ROWS]), {}),
    "no last line end": (table()[:-1], {}),
    "an index that is left out": (
        table(header=("", "a", "b", "y"), rows=[(i, *row) for i, row in enumerate(ROWS)]),
        {"drop": [""]},
    ),
    "an index by pandas' name": (
        table(header=("", "a", "b", "y"), rows=[(i, *row) for i, row in enumerate(ROWS)]),
        {"drop": ["Unnamed: 0"]},
    ),
    "an index that was written twice": (
        table(header=("", "Unnamed: 0", "a", "b", "y"), rows=[(i, i, *row) for i, row in enumerate(ROWS)]),
        {"drop": ["", "Unnamed: 0"]},
    ),
    "a separator at the end of each line": (table(header=("a", "b", "y", ""), rows=[(*r, "") for r in ROWS]), {"drop": [""]}),
    "a column of text that is left out": (
        table(header=("who", "a", "b", "y"), rows=[("Ada, née B.".replace(",", ""), *row) for row in ROWS]),
        {"drop": ["who"]},
    ),
    "numbered columns": (table(header=(0, 1, "y")), {}),
    "names that float() takes": (table(header=("inf", "nan", "y")), {}),
    "years for names": (table(header=(1990, 1991, "y")), {}),
}  # fmt: skip


@pytest.mark.parametrize("kind", GOOD)
def test_a_table_is_read_in_every_form_that_people_write_it(kind, tmp_path):
    text, keys = GOOD[kind]
    data = read_text(tmp_path, text, **keys)
    assert data.x_train.tolist() == np.array([row[:2] for row in ROWS], data.x_train.dtype).tolist()
    assert data.y_train.tolist() == [row[2] for row in ROWS]
    assert data.sha256() == read_text(tmp_path, table()).sha256()


LABELS = {
    "whole numbers": (["7", "0", "7", "0"], [7, 0, 7, 0]),
    "whole numbers with a point": (["7.0", "0.0", "7.0", "-0.0"], [7, 0, 7, 0]),
    "truth values": (["True", "False", "True", "False"], [True, False, True, False]),
    "words for nothing": (["None", "NA", "null", "NaN"], ["None", "NA", "null", "NaN"]),
    "one word for nothing": (["None", "Apnea", "None", "Apnea"], ["None", "Apnea", "None", "Apnea"]),
    "numbers and words": (["1", "1.0", "01", "x"], ["1", "1.0", "01", "x"]),
    "quotes and scripts": (['"a,b"', '"c ""d"""', "größe", "日本"], ["a,b", 'c "d"', "größe", "日本"]),
}


@pytest.mark.parametrize("kind", LABELS)
def test_a_label_is_a_whole_number_a_truth_value_or_the_text_that_stands_there(kind, tmp_path):
    cells, labels = LABELS[kind]
    data = read_text(tmp_path, table(header=("a", "y"), rows=zip([3, 1, 4, 1], cells, strict=True)))
    assert data.y_train.tolist() == labels
    assert data.y_train.dtype == np.array(labels).dtype


def test_words_for_nothing_are_labels_of_a_class_whatever_counts_as_missing_elsewhere(tmp_path):
    text = table(rows=[*ROWS[:3], (1, 2, "?")])
    assert read_text(tmp_path, text, missing=["?"]).y_train.tolist() == ["no", "yes", "no", "?"]


def test_truth_values_and_whole_numbers_of_any_length_are_numbers(tmp_path):
    text = "a,b,y\nTrue,99999999999999999999999,0\nFalse,12345678901234567890,1\n"
    assert read_text(tmp_path, text).x_train.tolist() == np.float64([[1, 1e23], [0, 12345678901234567890]]).tolist()


COUNTED = [(i, i % 3, "yn"[i % 2]) for i in range(12)]
ODD = "not all numbers: column 'b' has "
BAD = {
    "a header shorter than the rows": (
        "178,13,class_0,class_1,class_2\n" + "14.23,1.71,2.43,15.6,127,2.8,3.06,.28,2.29,5.64,1.04,3.92,1065,0\n" * 2,
        {}, "rows.csv: the header names 5 columns, line 2 has 14 values",
    ),
    "a short row after blank lines and one of two lines": ('a,b,y\n\n1,2,"x\nz"\n\n1,2\n', {}, "the header names 3 columns, line 6 has 2 values"),
    "a quote that is not closed": ('a,b,y\n1,2,x\n1,"2,x\n1,2,x\n', {}, "the header names 3 columns, line 3 has 2 values; is a quote not closed?"),
    "a quote that is not closed for long": ('a,b,y\n1,2,x\n1,"2,x\n' + "1,2,x\n" * 30_000, {}, "line 3: field larger than field limit (131072); is a quote not closed?"),
    "zero bytes": ("a,y\n1,x\n\0,x\n", {}, "line 3 holds a zero byte, so it is not UTF-8 text; save it as UTF-8"),
    "UTF-16": (table().encode("utf-16"), {}, "not UTF-8 text: byte 0xff on line 1; save it as UTF-8"),
    "Latin-1 far down": (table().encode() * 5000 + "1,2,é\n".encode("latin-1"), {}, "not UTF-8 text: byte 0xe9 on line 25001;"),
    "text cut within a letter": (table().encode() + "1,2,é".encode()[:-1], {}, "not UTF-8 text: byte 0xc3 on line 6;"),
    "one name for two columns": (table(header=("a", "a", "y")), {}, "has several columns named 'a'; give each its own name"),
    "one name for label and feature": (table(header=("y", "a", "y")), {}, "has several columns named 'y'"),
    "no header": (table(header=ROWS[0]), {}, "line 1 looks like data (0.5, 10, no); put a line of column names above it"),
    "no header and whole numbers": (table(header=(5, 10, "no")), {}, "line 1 looks like data (5, 10, no)"),
    "no header and a single feature": ("7,no\n8,yes\n", {}, "line 1 looks like data (7, no)"),
    "a first column without a name": (
        table(header=("", "a", "b", "y"), rows=[(9, *row) for row in ROWS]), {},
        'has a column without a name: an index, most often; leave it out with data.drop = [""], or name it',
    ),
    "an index that was read and written": (
        table(header=("Unnamed: 0", "a", "b", "y"), rows=[(9, *row) for row in ROWS]), {},
        "has a column without a name, 'Unnamed: 0': an index, most often; leave it out with data.drop = [\"Unnamed: 0\"]",
    ),
    "the row number from 0": (
        table(header=("id", "b", "y"), rows=COUNTED), {},
        "column 'id' is the row number, from which a net learns the order of the file; leave it out with data.drop = [\"id\"]",
    ),
    "the row number from 1 with a point": (table(header=("b", "nr", "y"), rows=[(b, i + 1.0, y) for i, b, y in COUNTED]), {}, "column 'nr' is the row number"),
    "a column to leave out that is not there": (table(), {"drop": ["A"]}, "data.drop names 'A', not one of its columns: 'a', 'b', 'y'"),
    "a column to leave out that is nearly there": (table(header=("age", "b", "y")), {"drop": ["ages"]}, "data.drop names 'ages', not one of its columns, nearest is 'age'"),
    "the label to leave out": (table(), {"drop": ["y"]}, "data.drop names the label column 'y'; leave it out"),
    "all to leave out": (table(), {"drop": ["a", "b"]}, "wanted at least one column beside 'y' that data.drop leaves"),
    "another label": (table(), {"label": "Y"}, "data.label = 'Y' is not one of its columns"),
    "a label with a space": (table(header=("a", " b", " label")), {"label": "label"}, "nearest is ' label'"),
    "columns that a space separates": (table(" "), {}, "data.label = 'y' is not one of its columns: it has one, 'a b y'; data.separator says"),
    "text": (table(rows=[*ROWS[:2], (1, "?", "no"), (1, " ", "no")]), {}, ODD + "'?' (2 of 4 cells, the first on line 4): say in data.missing which cells are missing values, or in data.columns that it is a category"),
    "blanks": (table(rows=[*ROWS, (1, "  ", "no")]), {}, ODD + "'  ' (line 6)"),
    "digits in groups": (table(rows=[*ROWS, (1, "1_000", "no")]), {}, ODD + "'1_000' (line 6)"),
    "words for a missing value": (table(rows=[(a, w, "no") for a, w in enumerate(["", "NA", "null", "None", "NaN", "nan", "N/A", "NULL"])]), {}, "no values: column 'b' (8 of 8 cells, the first on line 2): it tells nothing; or leave the columns out with data.drop = [\"b\"]"),
    "words that are none": (table(rows=[*ROWS, (1, "NA", "no")]), {"missing": []}, ODD + "'NA' (line 6)"),
    "infinity": (table(rows=[*ROWS, (1, "inf", "no"), ("1e400", 1, "no")]), {}, "infinite or too large: column 'a' (line 7), column 'b' (line 6): mend these cells"),
    "decimal commas": (table(";", rows=[("0,5", 1, "no"), ("-1,25", 2, "yes"), ("3", 4, "no")]), {}, "decimal commas: column 'a' has '0,5' (2 of 3 cells, the first on line 2): write these numbers with a point"),
    "decimal commas and more": (table(";", rows=[("0,5", 1, "no"), ("x", 2, "yes")]), {}, "not all numbers: column 'a' has '0,5' (2 of 2 cells"),
    "many columns": (
        table(header=[*"abcdefgh", "y"], rows=[[*"???????", "", 0], [*"1111111", "", 1]]), {},
        "column 'd' has '?' (line 2), column 'e' has '?' (line 2) and 2 more: say in data.missing which cells are missing values, or in "
        "data.columns that it is a category; no values: column 'h' (2 of 2 cells, the first on line 2): it tells nothing; or leave the "
        'columns out with data.drop = ["a", "b", "c", "d", "e", ...]',
    ),
    "text that never repeats": (table(rows=[(1, f"No. {i}", "yn"[i % 2]) for i in range(10)]), {}, "free text: column 'b' has 10 different values (10 of 10 cells, the first on line 2): it says little of another row; if it is a category, data.columns says so"),
    "text that hardly repeats": (table(rows=[(1, f"No. {i % 30}", "yn"[i % 2]) for i in range(40)]), {}, "free text: column 'b' has 30 different values"),
    "another kind": (table(rows=[*ROWS, (1, "x", "no")]), {"columns": {"b": "number"}}, "not of its kind: column 'b' has 'x', which is no number (line 6): mend these cells, or set another kind in data.columns"),
    "no truth values": (table(), {"columns": {"b": "boolean"}}, "column 'b' has np.int64(10), which is no boolean (4 of 4 cells"),
    "no dates": (table(rows=[(1, "3.5.2020", "no"), (2, "4.5.2020", "yes")]), {"columns": {"b": "date"}}, "column 'b' has '3.5.2020', which is no date (2 of 2 cells"),
    "a kind of a column that is not there": (table(), {"columns": {"B": "category"}}, "data.columns names 'B', which is no feature: 'a', 'b', 'y'"),
    "a kind of the label": (table(), {"columns": {"y": "category"}}, "data.columns names 'y', which is no feature; it is the label, dropped, or how the table is split"),
    "rows without a label": (table(rows=[*ROWS, (1, 2, ""), (1, 2, '""')]), {}, "column 'y' has 2 rows without a label, the first on line 6; leave these rows out"),
    "numbers to predict": (table(rows=[(1, 2, 0.5), (1, 3, 2)]), {"task": "classification"}, "column 'y' is a number to predict, such as 0.5, which is no class; data.task = 'regression' predicts it"),
    "no table": ("a,y\n1,0\n", {"name": "rows.parquet"}, "rows.parquet: not a readable .parquet table"),
    "a separator of a .parquet": ("", {"name": "rows.parquet", "separator": ","}, "data.separator is for tables (.csv, .tsv, .csv.gz, .tsv.gz); leave it out"),
    "signs for missing values of a .parquet": ("", {"name": "rows.parquet", "missing": []}, "data.missing is for tables (.csv"),
    "packed something": ("", {"name": "rows.gz"}, "rows.gz: cannot read .gz; wanted .npz, .csv, .tsv, .csv.gz, .tsv.gz, .parquet"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_a_table_that_would_have_to_be_guessed_at_is_refused_with_the_way_out(kind, tmp_path):
    text, keys, said = BAD[kind]
    assert said in refusal(tmp_path, text, **keys)


@pytest.mark.parametrize(
    "content",
    [b"no gzip", gzip.compress(table().encode())[:-9], gzip.compress(b"a,y\n1,2\n")[:12] + b"\xff" * 20],
    ids=["not packed", "cut off", "damaged"],
)
def test_a_file_that_is_packed_otherwise_is_refused(content, tmp_path):
    (tmp_path / "rows.csv.gz").write_bytes(content)
    with pytest.raises(InvalidDataError, match=r"rows.csv.gz: not a readable .csv.gz table: "):
        read_file(tmp_path / "rows.csv.gz")


def test_a_packed_file_is_not_unpacked_beyond_half_of_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 1, "SC_PAGE_SIZE": 2**22}.get)
    (tmp_path / "rows.csv.gz").write_bytes(gzip.compress(bytes(2**26)))
    with pytest.raises(
        InvalidDataError, match=r"rows.csv.gz: unpacks to 0.0 GiB or more, more than half of this machine"
    ):
        read_file(tmp_path / "rows.csv.gz")


@pytest.mark.parametrize(("separator", "word"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_a_separator_that_was_found_out_is_said(separator, word, tmp_path, caplog):
    caplog.set_level(logging.INFO, "sweep")
    read_text(tmp_path, table(separator))
    assert caplog.messages == [f"rows.csv: its columns are separated by {word}; data.separator sets another"]
    read_text(tmp_path, table(separator), separator=separator)
    read_text(tmp_path, table())
    assert len(caplog.messages) == 1


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([*"aabbbcdefghijkl"], "class c has a single row"),
        ([0, 0, 0, 0, 1, 1, 1, 1, 2], "class 2 has a single row, which cannot be split; wanted two; if it is a number to predict, set data.task = 'regression'"),
    ],
)  # fmt: skip
def test_a_class_of_one_row_is_refused(labels, said, tmp_path):
    data = read_text(tmp_path, table(rows=[(0.5, 1, y) for y in labels]))
    with pytest.raises(InvalidDataError, match=re.escape(said)):
        check_rows(data, Data(source="rows.csv", label="y", validation_rows=0))


# Parquet


def parquet(folder, frame, **keys):
    frame.to_parquet(folder / "rows.parquet")
    return read_file(folder / "rows.parquet", **keys)


FRAME = pd.DataFrame(ROWS, columns=["a", "b", "y"])
SAME = {
    "as it is": (FRAME, {}),
    "labels as categories": (FRAME.astype({"y": "category"}), {}),
    "labels as bytes": (FRAME.assign(y=[y.encode() for y in FRAME.y]), {}),
    "numbers as columns": (FRAME.set_axis([0, 1, 2], axis=1), {"label": "2"}),
    "numbers that may be missing": (FRAME.astype({"a": "Float64", "b": "Int64"}), {}),
    "rows that were chosen": (pd.concat([FRAME, FRAME])[::2].iloc[[0, 2, 1, 3]].set_axis([7, 3, 9, 1]).assign(**FRAME.to_dict("list")), {}),
    "an index of names": (FRAME.set_axis(pd.Index([*"pqrs"], name="who")), {}),
    "an index without a name": (FRAME.set_axis([*"pqrs"]), {}),
    "a column of text that is left out": (FRAME.assign(who=[*"pqrs"]), {"drop": ["who"]}),
}  # fmt: skip


@pytest.mark.parametrize("kind", SAME)
def test_a_parquet_table_holds_what_the_same_table_of_text_does(kind, tmp_path):
    frame, keys = SAME[kind]
    assert parquet(tmp_path, frame, **keys).sha256() == read_text(tmp_path, table()).sha256()


def test_labels_in_a_parquet_table_keep_their_type(tmp_path):
    for labels in ([1, 0, 1, 0], [True, False, True, False], pd.Categorical([3, 5, 3, 5])):
        assert parquet(tmp_path, FRAME.assign(y=labels)).y_train.tolist() == list(labels)
    assert parquet(tmp_path, FRAME.assign(y=[1.0, 0.0, 1.0, 2.0])).y_train.tolist() == [1, 0, 1, 2]


def test_an_index_of_a_parquet_table_is_put_away_and_said(tmp_path, caplog):
    caplog.set_level(logging.INFO, "sweep")
    parquet(tmp_path, FRAME.set_axis(pd.Index([*"pqrs"], name="who")))
    assert caplog.messages == [
        "rows.parquet: its index, 'who', is no feature; reset_index() before writing makes it one"
    ]


DAYS = pd.to_datetime(["2019-06-01"] * 4)
UNFIT = {
    "its index for a label": (FRAME.set_index("y"), "data.label = 'y' is its index; write it as a column (reset_index())"),
    "the row number": (pd.DataFrame({"id": range(1, 13), "y": [0, 1] * 6, "b": 2}), "column 'id' is the row number"),
    "an index that became a column": (FRAME.assign(__index_level_0__=5), "has a column without a name, '__index_level_0__'"),
    "one name for two columns": (FRAME.set_axis(["y", "1", "y"], axis=1), "not a readable .parquet table: Multiple matches for FieldRef.Name(y)"),
    "lists": (FRAME.assign(lists=[[1]] * 4), "not of its kind: column 'lists' holds lists or other objects (4 of 4 cells, the first on row 1)"),
    "text that never repeats": (pd.concat([FRAME] * 3).assign(who=[f"no. {i}" for i in range(12)]), "free text: column 'who' has 12 different values"),
    "labels with holes": (FRAME.assign(y=["a", None, "b", "a"]), "column 'y' has 1 rows without a label, the first on row 2"),
    "days for labels": (FRAME.assign(y=DAYS), "column 'y' is datetime64"),
    "nothing": (FRAME[:0], "has no rows"),
}  # fmt: skip


@pytest.mark.parametrize("kind", UNFIT)
def test_a_parquet_table_that_cannot_be_trained_on_is_refused(kind, tmp_path):
    frame, said = UNFIT[kind]
    if not frame.columns.is_unique:
        import pyarrow as pa
        from pyarrow import parquet as pq

        pq.write_table(
            pa.Table.from_arrays([pa.array(frame.iloc[:, i]) for i in range(3)], names=list(frame)),
            tmp_path / "rows.parquet",
        )
    else:
        frame.to_parquet(tmp_path / "rows.parquet")
    with pytest.raises(InvalidDataError, match=re.escape(said)):
        read_file(tmp_path / "rows.parquet")


# Round trips

numbers = st.floats(allow_nan=False, allow_infinity=False, width=32)
# Without a lone carriage return: pandas writes it without quotes, as if it ended the line.
words = st.text(st.characters(codec="utf-8", exclude_characters="\0\r", exclude_categories=["Cs"]), min_size=1)
names = st.text(st.characters(codec="utf-8", exclude_characters="\0\r", exclude_categories=["Cs", "N"]), min_size=1)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), separator=st.sampled_from(",;\t|"), label=names, is_said=st.booleans())
def test_a_table_that_pandas_wrote_is_read_back_equal(data, separator, label, is_said, tmp_path):
    columns = data.draw(
        st.lists(
            names.filter(lambda n: n != label and not n.startswith("Unnamed")), min_size=1, max_size=4, unique=True
        )
    )
    n = data.draw(st.integers(2, 9))
    x = np.array([[data.draw(numbers) for _ in columns] for _ in range(n)], np.float32)
    y = [
        *data.draw(st.lists(words.filter(lambda w: not w.strip().isdigit()), min_size=n - 2, max_size=n - 2)),
        "p",
        "q",
    ]
    frame = pd.DataFrame(x.astype(float), columns=columns).assign(**{label: y})
    frame.to_csv(tmp_path / "rows.csv", index=False, sep=separator)
    found = read_file(tmp_path / "rows.csv", label=label, separator=separator if is_said else None)
    assert found.x_train.tolist() == x.tolist()
    assert found.y_train.tolist() == y
