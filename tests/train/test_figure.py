"""Texts of pictures are drawn as they are, by the fonts of this machine. A warning of matplotlib is an error here."""

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.font_manager import fontManager
from PIL import Image

from sweep.train import figure
from sweep.train.figure import can_draw, new_figure, save_figure
from sweep.train.pictures import draw_curves
from tests.names import FOREIGN, HIDDEN, MARKUP

HISTORY = [{"loss": 1.0, "accuracy": 0.5}, {"loss": 0.5, "accuracy": 0.7}]


@pytest.fixture
def fonts(monkeypatch):
    """Set the fonts of this machine to those of matplotlib, and whatever the test installs."""
    monkeypatch.setattr(fontManager, "ttflist", [f for f in fontManager.ttflist if f.name not in figure.OTHER_FONTS])
    forget()
    yield
    forget()


def forget():
    figure._characters.cache_clear()
    figure._list_other_fonts.cache_clear()


def install_font(path, family, character):
    """Write and install a font with one glyph, a square."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for point in ((0, 1000), (1000, 1000), (1000, 0)):
        pen.lineTo(point)
    pen.closePath()
    font = FontBuilder(1000)
    font.setupGlyphOrder([".notdef", "square"])
    font.setupCharacterMap({ord(character): "square"})
    font.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "square": pen.glyph()})
    font.setupHorizontalMetrics({".notdef": (1000, 0), "square": (1000, 0)})
    font.setupHorizontalHeader(ascent=1000, descent=0)
    font.setupNameTable({"familyName": family, "styleName": "Regular"})
    font.setupOS2()
    font.setupPost()
    font.save(path)
    fontManager.addfont(path)


def draw(path, text, title=""):
    """Draw one text, and return the pixels."""
    drawn = new_figure(6, 1)
    axes = drawn.subplots()
    axes.axis("off")
    axes.text(0, 0, text)
    save_figure(drawn, title, path)
    return read(path)


def read(path):
    """Read the brightness of each pixel."""
    with Image.open(path) as picture:
        return np.asarray(picture.convert("L"))


@pytest.mark.parametrize("name", [*MARKUP, *HIDDEN.values()])
def test_a_text_is_drawn_whatever_it_means_elsewhere(name, tmp_path):
    assert can_draw(name)
    assert draw(tmp_path / "a.png", name, title=name).min() < 100


def test_dollars_are_drawn(tmp_path):
    """Each has the width of a dollar, which a formula would not have."""
    ink = [np.count_nonzero(draw(tmp_path / "a.png", text) < 128) for text in ("x", "$x$")]
    assert ink[1] > 2.5 * ink[0]


def test_a_character_that_no_font_has_cannot_be_drawn(fonts):
    assert [can_draw(name) for name in FOREIGN] == [False] * len(FOREIGN)
    assert can_draw("")


def test_a_font_that_is_installed_draws_what_the_first_one_lacks(fonts, tmp_path):
    install_font(tmp_path / "a.ttf", "Noto Sans CJK SC", "中")
    forget()
    assert can_draw("a中")
    assert not can_draw("中文")
    ink = [np.count_nonzero(draw(tmp_path / "a.png", text) < 128) for text in ("a", "a中")]
    assert ink[1] > ink[0] + 100


@pytest.mark.parametrize("title", ["12 · 中文 · 16-8", "名" * 80, "a\nb $x$ \\frac{", "64-" * 100, "", "<b> & [m|s]"])
def test_curves_have_any_title(fonts, title, tmp_path):
    draw_curves(HISTORY, title, 1, tmp_path / "a.png")
    assert read(tmp_path / "a.png").shape == (320, 800)


def test_of_a_title_what_cannot_be_drawn_is_left_out(fonts, tmp_path):
    drawn = new_figure(6, 1)
    save_figure(drawn, "12 · 中文 · 16-8 · 🎉", tmp_path / "a.png")
    assert drawn.get_suptitle() == "12 · … · 16-8 · …"


@pytest.mark.parametrize("word", ["a-study-with-a-name-as-long-as-it-may-be ", "W"])
def test_a_long_title_lies_inside_the_picture(word, tmp_path):
    drawn = new_figure(3.4, 2)
    save_figure(drawn, word * (100 // len(word)), tmp_path / "a.png")
    pixels = read(tmp_path / "a.png")
    assert pixels.min() < 100
    assert (pixels[:, [0, -1]] == 255).all()


def test_a_users_own_settings_of_matplotlib_change_nothing(tmp_path):
    import matplotlib

    before = draw(tmp_path / "a.png", "$x$")
    with matplotlib.rc_context({"text.usetex": True, "font.family": "monospace", "text.parse_math": True}):
        assert (draw(tmp_path / "a.png", "$x$") == before).all()
