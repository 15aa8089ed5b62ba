"""What names are turned into is one line, hides nothing, and means nothing to the parser that it is for."""

import csv
import io

import pytest

from sweep.plain_text import MAX_LABEL, label_classes, measure, shorten, to_code, to_csv, to_line, to_plotly
from tests.names import BLANK, FOREIGN, HIDDEN, MARKUP


@pytest.mark.parametrize("name", [*MARKUP, *FOREIGN, *BLANK, "نامه\u200cها", "👩\u200d🔬"])
def test_a_name_that_hides_nothing_stays_as_it_is(name):
    assert to_line(name) == name


@pytest.mark.parametrize(("name", "shown"), HIDDEN.items())
def test_a_hidden_character_is_shown_by_its_escape(name, shown):
    assert to_line(name) == shown


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("a b", "`a b`"),
        ("a`b", "``a`b``"),
        ("`c`", "`` `c` ``"),
        ("``", "``` `` ```"),
        (" a", "`  a `"),
        (" ", "`   `"),
        ("", '""'),
        ("a\n\n# b", r"`a\n\n# b`"),
    ],
)
def test_code_of_markdown_ends_where_the_name_does(name, code):
    assert to_code(name) == code


def test_plotly_is_given_no_tag_and_no_entity():
    assert to_plotly("<b>&lt;\n$x$") == r"&lt;b&gt;&amp;lt;\n$x$"


@pytest.mark.parametrize("name", [*MARKUP, *FOREIGN, *BLANK, *(one for one in HIDDEN if one != "a\ud800b")])
def test_csv_reads_back_as_it_was_written(name):
    rows = [["class", name], [name, "1"]]
    assert list(csv.reader(io.StringIO(to_csv(rows), newline=""))) == rows


def test_a_label_is_the_name_while_it_is_short():
    assert label_classes(["no", "yes", "$x$"]) == ["no", "yes", "$x$"]


def test_a_long_label_keeps_both_ends():
    [label] = label_classes(["income of more than 50,000 dollars a year"])
    assert label == "income of more…rs a year"
    assert len(label) == MAX_LABEL


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["the quick brown fox jumps over it", "the quick brown fox leaps over it"], ["#0", "#1"]),
        (["x" * 300, "x" * 301, "y"], ["#0", "#1", "y"]),
        (["cat", "cat ", "dog"], ["#0", "#1", "dog"]),
        (["e\u0301", "\u00e9", "e"], ["#0", "#1", "e"]),
        (["a\n", r"a\n"], ["#0", "#1"]),
        (["a", *BLANK], ["a", "#1", "#2", "#3"]),
        (["#1", "a"], ["#0", "a"]),
        ([], []),
    ],
    ids=str,
)
def test_names_that_look_alike_or_like_nothing_are_shown_by_number(names, labels):
    assert label_classes(names) == labels


def test_a_name_that_cannot_be_drawn_is_shown_by_number():
    assert label_classes(["a", "中文", "b"], is_drawable=str.isascii) == ["a", "#1", "b"]


def test_a_wide_character_takes_two_columns_and_a_mark_none():
    assert (measure("ab"), measure("中文"), measure("e\u0301")) == (2, 4, 1)
    assert measure(shorten("中" * 300)) in (MAX_LABEL, MAX_LABEL - 1)
    assert measure(shorten("e\u0301" * 300)) == MAX_LABEL


FORMULAS = ['=HYPERLINK("http://x")', "+1 to 5", "-a", "@SUM(A1)", "\t=1", "\r=1", "＝1", " =1"]


@pytest.mark.parametrize("name", FORMULAS)
def test_a_spreadsheet_is_told_that_a_formula_is_text(name):
    assert list(csv.reader(io.StringIO(to_csv([[name, "x"]]), newline=""))) == [[f"'{name}", "x"]]


@pytest.mark.parametrize("cell", ["-", "+", "-1", "+.5", "-1e-5", "1-2", "a=b", "", -1, -1.5, None])
def test_a_number_and_a_sign_alone_are_no_formula(cell):
    assert to_csv([[cell, "x"]]) == f"{'' if cell is None else cell},x\n"
