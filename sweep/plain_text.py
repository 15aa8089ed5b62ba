"""Show text that came with the data, such as names of classes and files, as it is: in no place does it act as markup.

Jinja escapes HTML by itself, and `cli/tables.py` turns off the markup of terminal tables; matplotlib is in `train/figure.py`.
"""

import csv
import html
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

MAX_LABEL = 24  # columns of a label in a picture
_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # Unicode categories: controls, formats, lone surrogates, line separators
_FORMULA = re.compile(r"(?s)\s*[=+\-@＝＋－＠].")  # as a spreadsheet takes it; `-` alone is text
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)
_JOINERS = "\u200c\u200d"  # formats that scripts and emoji are written with


def to_line(text: str) -> str:
    r"""Return `text` as one line without hidden characters: `\n` for a line break, `\x1b` for the start of a terminal code."""
    return text if text.isprintable() else "".join(map(_show, text))


def _show(char: str) -> str:
    is_hidden = unicodedata.category(char) in _HIDDEN and char not in _JOINERS
    return char.encode("unicode_escape").decode("ascii") if is_hidden else char


def to_code(text: str) -> str:
    """Return Markdown that shows `text` as code, which no character of it can end. In a table, `|` needs a backslash too."""
    line = to_line(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    # One space at either end belongs to the fence, where both ends have one. A code of nothing does not exist.
    pad = " " if not line.strip() or line[0] in "` " or line[-1] in "` " else ""
    return f"{fence}{pad}{line}{pad}{fence}" if line else '""'


def to_plotly(text: str) -> str:
    """Return `text` for a label of Plotly, which reads some HTML. TeX is turned off for whole figures, see `report/page.py`."""
    return html.escape(to_line(text), quote=False)


def to_csv(rows: Iterable[Sequence[object]]) -> str:
    """Return `rows` as CSV that UTF-8 can hold, a `\\n` after each; a cell that holds a line break of any kind is quoted.

    A text that a spreadsheet would compute, such as `=HYPERLINK(...)`, stands behind an apostrophe, which says that it is text
    (OWASP, CSV Injection).
    """
    text = "".join(map(_to_csv_row, rows))
    return text.encode("utf-8", "backslashreplace").decode("utf-8")  # a lone surrogate stands as its escape


def _to_csv_row(cells: Sequence[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(
        map(_to_cell, cells)
    )  # it quotes the characters of its own line end alone
    return text.getvalue().removesuffix("\r\n") + "\n"


def _to_cell(value: object) -> object:
    is_formula = isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value)
    return f"'{value}" if is_formula else value


def label_classes(names: Sequence[str], is_drawable: Callable[[str], bool] = lambda label: True) -> list[str]:
    """Return a label of each class for a picture: its name, shortened in the middle, or else its number, such as `#3`.

    A number, counted from 0 as a model's outputs are, stands for a name that is blank, that `is_drawable` says no to, that
    looks like another's once shortened, or that looks like a number of a class itself. Labels differ from each other.
    """
    shown = [shorten(to_line(name)) for name in names]
    looks = [" ".join(unicodedata.normalize("NFC", label).split()) for label in shown]
    n_alike = Counter(looks)

    def is_clear(label: str, look: str) -> bool:
        return n_alike[look] == 1 and look != "" and not re.fullmatch(r"#\d+", look) and is_drawable(label)

    return [
        label if is_clear(label, look) else f"#{n}" for n, (label, look) in enumerate(zip(shown, looks, strict=True))
    ]


def shorten(text: str, columns: int = MAX_LABEL) -> str:
    """Return `text` in `columns` at most, its middle left out where it is longer: names often differ at an end."""
    if measure(text) <= columns:
        return text
    tail = _cut(text[::-1], (columns - 1) * 2 // 5)[::-1]
    return f"{_cut(text, columns - 1 - measure(tail))}…{tail}"


def measure(text: str) -> int:
    """Return the columns that `text` takes: two for a wide character, as those of Chinese, none for a mark above another."""
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.category(char) in ("Mn", "Me") for char in text)


def _cut(text: str, columns: int) -> str:
    """Return the longest start of `text` that takes `columns` at most."""
    end = min(len(text), columns * 2)
    while measure(text[:end]) > columns:
        end -= 1
    return text[:end]
