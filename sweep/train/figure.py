"""Figures of matplotlib, whose texts are shown as they are: no `$` is a formula, no character a box."""

import re
import textwrap
from functools import cache
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from matplotlib.text import Text

from sweep.plain_text import to_line

DPI, TITLE_SIZE, TITLE_COLUMNS = 100, 10, 12  # dots and characters of a title per inch, and its size in points
FONT = "DejaVu Sans"  # comes with matplotlib: Latin, Greek, Cyrillic, Arabic, Hebrew
# Fonts for what it lacks, taken where they are installed. None is shipped: one for Chinese has 15 MB.
OTHER_FONTS = (
    "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans CJK KR", "Noto Sans SC", "Noto Sans JP", "Noto Sans KR",
    "WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "Droid Sans Fallback", "IPAexGothic", "NanumGothic",
    "Noto Sans Devanagari", "Noto Sans Bengali", "Noto Sans Tamil", "Noto Sans Telugu", "Noto Sans Thai",
    "Arial Unicode MS", "Hiragino Sans", "PingFang SC", "Apple SD Gothic Neo", "Kohinoor Devanagari", "Thonburi",
    "Microsoft YaHei", "Yu Gothic", "MS Gothic", "Malgun Gothic", "Nirmala UI", "Leelawadee UI",
)  # fmt: skip


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, its size in inches, that spaces its parts by itself."""
    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def save_figure(figure: Figure, title: str, path: Path) -> None:
    """Write `figure` below its title to `path`. Its texts must be such that `can_draw`; of the title, the rest is left out."""
    line = re.sub(".", lambda char: char[0] if can_draw(char[0]) else "\0", to_line(title))
    wrapped = textwrap.fill(re.sub("\0+", "…", line), int(figure.get_figwidth() * TITLE_COLUMNS))
    heading = figure.suptitle(wrapped, fontsize=TITLE_SIZE)
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        # Each text, not rcParams: those belong to the whole process, which may be a user's notebook.
        text.set_parse_math(False)
        text.set_usetex(False)
        text.set_fontfamily([FONT, *_list_other_fonts()])
    width = heading.get_window_extent().width  # capitals and Chinese are wider than most
    heading.set_fontsize(TITLE_SIZE * min(1, 0.97 * figure.bbox.width / max(width, 1)))
    figure.savefig(path)


def can_draw(line: str) -> bool:
    """Return whether a font of this machine has every character of `line`."""
    return _characters(FONT).issuperset(map(ord, line)) or all(
        any(ord(char) in _characters(font) for font in (FONT, *_list_other_fonts())) for char in line
    )


@cache
def _characters(font: str) -> frozenset[int]:
    path = findfont(FontProperties(family=[font]), fallback_to_default=False)
    return frozenset(get_font(path).get_charmap())


@cache
def _list_other_fonts() -> tuple[str, ...]:
    installed = {font.name for font in fontManager.ttflist}
    return tuple(font for font in OTHER_FONTS if font in installed)
