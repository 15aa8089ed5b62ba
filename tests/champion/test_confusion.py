"""The picture of a confusion matrix, whatever its classes are called. A warning of matplotlib is an error here."""

import numpy as np
import pytest
from PIL import Image

from sweep.champion.confusion import MAX_NAMED, draw_confusion, list_labels
from sweep.plain_text import MAX_LABEL
from tests.names import BLANK, FOREIGN, HIDDEN, MARKUP


def draw(path, classes, title="tiny: 90 of 100 test rows right"):
    counts = np.random.default_rng(0).integers(0, 90, (len(classes), len(classes)))
    draw_confusion(counts, classes, title, path)
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("L"))
    assert (pixels[[0, -1]] == 255).all(), "something is cut off above or below"
    assert (pixels[:, [0, -1]] == 255).all(), "something is cut off at a side"
    return pixels


@pytest.mark.slow
@pytest.mark.parametrize(
    "classes",
    [
        MARKUP,
        tuple(HIDDEN),
        (*BLANK, "a"),
        FOREIGN,
        ("x" * 300, "y" * 300),
        tuple("W" * 299 + letter for letter in "ABCDEFGH"),
        tuple(f"{'W' * 30}{n}" for n in range(MAX_NAMED)),
        tuple(str(n) for n in range(MAX_NAMED + 1)),
        ("only",),
    ],
    ids=["markup", "hidden", "blank", "foreign", "two long", "long", "many long", "too many", "one"],
)
def test_any_names_of_classes_can_be_drawn(classes, tmp_path):
    draw(tmp_path / "a.png", classes)


def test_cells_keep_their_size_beside_long_names(tmp_path):
    """The matrix is the largest rectangle that is framed in black."""
    sides = []
    for names in (["a", "b", "c", "d"], [letter * 300 for letter in "abcd"]):
        dark = draw(tmp_path / "a.png", names) < 60
        sides.append(int(dark.sum(axis=1).max()))
    assert sides[1] > 0.9 * sides[0]


def test_labels_are_names_as_they_are_while_a_font_has_them_and_they_are_short():
    assert list_labels(["$0-$10", "größe", "x" * 300, "🎉"])[:2] == ["$0-$10", "größe"]
    assert len(list_labels(["x" * 300])[0]) == MAX_LABEL


def test_more_classes_than_can_be_named_have_no_labels():
    assert list_labels([str(n) for n in range(MAX_NAMED + 1)]) == []
