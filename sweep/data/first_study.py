"""A first study of a table: what to leave out, how to split, and a search of a size that suits it."""

import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sweep.data.coding import word_kinds
from sweep.data.files import DataSet, read
from sweep.data.text_table import MISSING
from sweep.data.wording import to_toml
from sweep.errors import UnfitColumnsError
from sweep.study.schema import Data

MAX_SIGNS = 3  # different cells among the numbers of a table that may stand for missing values
RARE = 0.2  # share of the smallest of two classes below which accuracy says little
MANY_CLASSES = 10  # of whole numbers, which may be numbers to predict
SHARE = 0.2  # of the rows that are validated on, and of those that are tested on


@dataclass(frozen=True)
class FirstLook:
    """What a table holds, and how it can be read."""

    data: DataSet
    spec: Data
    dropped: dict[str, str]  # by column, why
    signs: tuple[str, ...]  # cells that were taken for missing values, beside the usual ones


def look(path: Path, label: str) -> FirstLook:
    """Read a table as far as it can be: leave out the columns that are no features. Raises InvalidDataError."""
    dropped: dict[str, str] = {}
    signs: tuple[str, ...] = ()
    while True:
        missing = (*MISSING, *signs) if signs else None
        spec = Data(
            source=path.name, label=label, drop=tuple(dropped), missing=missing, validation_rows=SHARE, test_rows=SHARE
        )
        try:
            return FirstLook(read(spec, path.parent), spec, dropped, signs)
        except UnfitColumnsError as error:
            if error.cells and not signs and len(error.cells) <= MAX_SIGNS:
                signs = tuple(sorted(error.cells))
            else:
                dropped |= error.columns


def write_study(look: FirstLook, name: str) -> str:
    """Write the text of a study of what was found, every key with its reason."""
    data = look.data
    n_train = round(len(data.x_train) * (1 - 2 * SHARE))
    objective, because = _choose_objective(data)
    has_rare_class = data.task == "classification" and because != ""
    kinds = word_kinds(data.columns, data.x_train)
    return f"""# A first study of {data.name}: {len(data.x_train):,} rows, {len(data.columns)} columns beside the label.
# {_to_comment(kinds)}

name = {_quote(name)}
seed = 1
objective = {_quote(objective)}{because}

[data]
source = {_quote(data.name)}
label = {_quote(str(look.spec.label))}            # {_describe_label(data)}
{_drop_lines(look)}validation_rows = {SHARE}       # share of the rows to select by
test_rows = {SHARE}             # share of the rows that stay sealed until the end
# group = "patient"         # a column whose rows belong together, so that no one is on both sides of a split
# order = "date"            # or a column of dates: then the last rows are tested on
# columns = {{zip = "category"}}   # kinds of columns that are not what they look like: number, boolean, category or date

{_space_lines(n_train, data)}
[training]
max_epochs = {_choose_epochs(n_train)}
{'class_weight = "balanced"   # rare classes count as much as frequent ones' + chr(10) if has_rare_class else ""}early_stopping = {{monitor = {_quote(objective)}, patience = {_choose_epochs(n_train) // 4}}}

[search]
trials = 60                 # configs to try; most of them for an epoch only
epochs = {12 * _choose_epochs(n_train)}
coverage = "free"           # depths share the epochs by how well they do

[confirmation]
replicates = 5              # fresh seeds of the best net of each depth, scored once on the test rows
"""


def to_study_name(path: Path) -> str:
    """Return a name for the study of a table: that of its file, in the letters that a study's name may have."""
    stem = path.name.lower().removesuffix(".gz").rpartition(".")[0]
    return re.sub(r"[^a-z0-9._-]+", "-", stem).strip("-._")[:64] or "table"


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _to_comment(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)


def _choose_objective(data: DataSet) -> tuple[str, str]:
    """Return the metric to select by, and a comment that says why where it is no usual one."""
    if data.task == "regression":
        return "val_rmse", ""
    sizes = sorted(Counter(data.y_train.tolist()).values())
    if len(sizes) == 2 and sizes[0] < RARE * sum(sizes):
        return (
            "val_roc_auc",
            f"  # {sizes[0] / sum(sizes):.2g} of the rows are of the rare class, so accuracy says little",
        )
    if sizes[0] * len(sizes) < RARE * sum(sizes):
        return "val_balanced_accuracy", "  # the classes are of very different sizes; this counts each alike"
    return "val_accuracy", ""


def _describe_label(data: DataSet) -> str:
    if data.task == "regression":
        return f"a number to predict, from {data.y_train.min():.6g} to {data.y_train.max():.6g}"
    n_classes = len(np.unique(data.y_train))
    may_be_number = data.y_train.dtype.kind in "iu" and n_classes > MANY_CLASSES
    return f"{n_classes} classes" + may_be_number * '; if they are numbers to predict, add task = "regression"'


def _drop_lines(look: FirstLook) -> str:
    lines = ""
    if look.dropped:
        why = "; ".join(f"{name or 'the first'}: {reason}" for name, reason in look.dropped.items())
        lines += f"drop = {to_toml(look.dropped)}   # {_to_comment(why)}\n"
    if look.signs:
        lines += f"missing = {to_toml(look.spec.missing or ())}   # cells that stand for a missing value, beside empty ones\n"
    return lines


def _space_lines(n_train: int, data: DataSet) -> str:
    """Return the space to search: the fewer the rows, the smaller the nets and their batches."""
    low, high = (16, 256) if n_train < 2_000 else (64, 512) if n_train < 50_000 else (128, 1024)
    batches = [16, 32, 64] if n_train < 2_000 else [64, 128, 256] if n_train < 50_000 else [256, 512]
    smoothing = "" if data.task == "regression" else "\nlabel_smoothing = {float = [0.0, 0.1]}"
    return f"""[space]                     # a fixed value, {{int = [low, high]}}, {{float = [low, high]}} or {{choice = [...]}}
hidden_layers = {{choice = [1, 2, 3]}}
units = {{int = [{low}, {high}], log = true}}
activation = {{choice = ["relu", "silu"]}}
dropout = {{float = [0.0, 0.5]}}
batch_size = {{choice = {batches}}}
learning_rate = {{float = [1e-3, 2e-2], log = true}}
schedule = "cosine"
weight_decay = {{float = [0.0, 0.1]}}{smoothing}
"""


def _choose_epochs(n_train: int) -> int:
    """Return how long to train: about as many steps, whatever the number of rows."""
    return 100 if n_train < 2_000 else 60 if n_train < 10_000 else 40 if n_train < 50_000 else 25
