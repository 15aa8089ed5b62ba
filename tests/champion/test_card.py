"""What a card says of its model, and that the check which it names takes every table that can be read."""

import gzip
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from sweep.champion import verify
from sweep.champion.card import describe_training
from sweep.champion.export import _commit, export
from sweep.report.conclusion import conclude
from sweep.study.config import Config
from sweep.track.runs import read_study
from tests.bundles import convert_by_hand, sweep_by_hand
from tests.studies import copied, tiny_table, write_tiny_data


def labelled(labels):
    return lambda frame: frame.assign(y=np.array(labels)[frame.y])


def text(suffix=".csv", change=lambda frame: frame, **options):
    def write(frame, folder):
        content = change(frame).to_csv(None, **{"index": False, **options}).encode()
        path = folder / f"rows{suffix}"
        path.write_bytes(gzip.compress(content) if suffix.lower().endswith(".gz") else content)
        return path

    return write


def parquet(change=lambda frame: frame):
    def write(frame, folder):
        change(frame).to_parquet(folder / "rows.parquet")
        return folder / "rows.parquet"

    return write


def with_text(frame):
    return frame.assign(**{"who's `who`": "x", "größe": 1})


def test_a_card_says_by_what_its_model_was_trained():
    plain = Config(units=(8,), dropout=0.2, batch_size=32, learning_rate=0.002)
    assert describe_training(plain) == "Adam, learning rate 0.002, batch size 32"
    recipe = replace(plain, optimizer="sgd", schedule="cosine", weight_decay=0.05, ema=0.99)
    assert describe_training(recipe) == (
        "SGD with Nesterov momentum of 0.9, learning rate 0.002 (cosine, with warm-up), batch size 32, weight decay 0.05, "
        "average of weights with momentum 0.99"
    )
    distorted = replace(plain, augment_shift=2.5, augment_rotation=15.0)
    assert describe_training(distorted).endswith(
        "batch size 32, images moved by up to (pixels) 2.5, turned by up to (degrees) 15"
    )


TABLES = {
    "commas": (text(), {}),
    "capitals": (text(".CSV"), {}),
    "semicolons": (text(sep=";"), {}),
    "bars that are asked for": (text(sep="|"), {"separator": "|"}),
    "tabs that are asked for": (text(sep="\t"), {"separator": "\t"}),
    "packed tabs": (text(".tsv.gz", sep="\t"), {}),
    "whole floats for labels": (text(change=lambda f: f.assign(y=f.y.astype(float))), {}),
    "truth values among the features": (text(change=lambda f: f.assign(p0=f.p0 > 99)), {}),
    "words for nothing": (text(change=labelled(["None", "NA", "nan"])), {"missing": ["?"]}),
    "an index": (text(index=True), {"drop": [""]}),
    "an index and more": (text(index=True, change=with_text), {"drop": ["Unnamed: 0", "who's `who`", "größe"]}),
    "a label in another script": (text(change=lambda f: f.rename(columns={"y": "größe 'y'"})), {"label": "größe 'y'"}),
    "parquet": (parquet(), {}),
    "parquet with an index": (parquet(lambda f: f.set_axis(pd.Index(range(9, 9 + len(f)), name="who"))), {}),
    "parquet with text": (parquet(with_text), {"drop": ["who's `who`", "größe"]}),
    "parquet of numbers": (parquet(lambda f: f.set_axis(range(65), axis=1)), {"label": "64"}),
    "parquet with categories": (parquet(lambda f: labelled([*"abc"])(f).astype({"y": "category"})), {}),
}  # fmt: skip


@pytest.mark.parametrize("said", ["none", "", "1f; rm -r ~", "1f1f1f1f`", "1f1f1f1f\n", "HEAD", "--help"])
def test_a_commit_that_a_reader_would_type_in_is_one(said):
    assert _commit({"git_commit": said}) == _commit({}) == "unknown"
    assert _commit({"git_commit": "1f" * 20}) == "1f" * 20


@pytest.mark.parametrize("kind", TABLES)
def test_the_check_of_a_bundle_takes_the_table_itself_or_what_the_code_in_its_card_makes_of_it(
    kind, migrated, tmp_path, monkeypatch
):
    write, keys = TABLES[kind]
    arrays = np.load(write_tiny_data(tmp_path))
    frame = pd.DataFrame(arrays["x_train"].reshape(-1, 64), columns=[f"p{i}" for i in range(64)])
    source = write(frame.assign(y=arrays["y_train"]), tmp_path).name
    runs = copied(migrated, tmp_path)
    data = {"source": source, "label": "y", "validation_rows": 100, "test_rows": 90, **keys}
    sweep_by_hand(runs, tiny_table(data=data), tmp_path)
    folder = export(conclude(read_study(runs, "tiny")), convert_by_hand).folder
    text = (folder / "README.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for code in re.findall(r"```python\n(import pandas\n.*?)```", text, re.S):
        exec(code, {})
        source = "data.csv"
    assert "90 of 90 test rows are classified as recorded" in verify.verify(folder, tmp_path / source)
