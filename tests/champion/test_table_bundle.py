"""The bundle of a table's model: it takes columns by their names, whatever else the file holds, and checks itself."""

import csv
import shutil
import subprocess
import sys

import numpy as np
import onnxruntime
import pandas as pd
import pytest

from sweep.champion.export import export
from sweep.cli.commands import main
from sweep.data.columns import code, to_rows
from sweep.layout import RunsDir
from sweep.report.conclusion import conclude
from sweep.track.runs import read_study
from tests.bundles import convert_by_hand, seal, sweep_by_hand
from tests.data.test_columns import mixed
from tests.studies import tiny_table


def weigh(data):
    """Weights of a softmax that no feature saturates, though none is scaled."""
    features = [feature for column in data.facts.columns for feature in column.features]
    weights = np.random.default_rng(3).normal(0, 0.5, (len(features), 2)).astype(np.float32)
    weights[features.index("since")] /= 1e5
    return weights


def tame(frame):
    return frame.assign(age=frame["age"] / 100, zip="D-" + frame["zip"], since=frame["since"].dt.strftime("%Y-%m-%d"))


@pytest.fixture(scope="module")
def bundle(migrated, tmp_path_factory):
    """The folder of the data and the exported bundle, its columns, and the weights of its model."""
    folder = tmp_path_factory.mktemp("table")
    shutil.copytree(migrated.root, folder / "mlruns")
    tame(mixed()).to_csv(folder / "rows.csv", index=False)
    runs = RunsDir(folder / "mlruns")
    table = tiny_table(data={"source": "rows.csv", "label": "y", "validation_rows": 60, "test_rows": 60})
    data = sweep_by_hand(runs, table, folder, weigh)
    conclusion = conclude(read_study(runs, "tiny"))
    exported = export(conclusion, lambda *given: convert_by_hand(*given, weights=weigh(data))).folder
    return folder, exported, data.facts.columns, weigh(data)


def expected(frame, columns, weights):
    z = np.exp(code(to_rows(frame, columns, ()), columns).astype(np.float32) @ weights)
    return z / z.sum(axis=1, keepdims=True)


def predict(exported, path, capsys, *options):
    exit_code = main(["predict", str(exported), str(path), *options])
    out, err = capsys.readouterr()
    return exit_code, list(csv.DictReader(out.splitlines())), err


NEW = tame(mixed(200, seed=9)).drop(columns="y")
FORMS = {
    "as in the training": NEW,
    "another order": NEW[NEW.columns[::-1]],
    "with columns that nobody knows": NEW.assign(extra="?", more=1),
    "with the label": NEW.assign(y="?"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".npz"])
def test_rows_of_a_table_are_predicted_by_the_names_of_their_columns(form, suffix, bundle, tmp_path, capsys):
    _, exported, columns, weights = bundle
    path = tmp_path / f"new{suffix}"
    match suffix:
        case ".parquet":
            FORMS[form].to_parquet(path)
        case ".npz":
            filled = FORMS[form].fillna({"city": ""})
            np.savez(path, **{name: np.array(filled[name].tolist()) for name in filled})
        case _:
            FORMS[form].to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
    exit_code, said, err = predict(exported, path, capsys)
    assert ("takes no column 'extra', 'more'; left aside" in err) == ("extra" in FORMS[form])
    wanted = expected(NEW, columns, weights)
    assert exit_code == 0
    assert [row["class"] for row in said] == [("no", "yes")[k] for k in wanted.argmax(axis=1)]
    np.testing.assert_allclose([float(row["certainty"]) for row in said], wanted.max(axis=1), atol=1e-6)
    assert len({row["certainty"] for row in said}) > 150


def test_values_that_no_training_row_has_are_taken(bundle, tmp_path, capsys):
    _, exported, columns, weights = bundle
    strange = NEW.assign(city="Atlantis", zip="?", age=np.nan)
    strange.to_csv(tmp_path / "new.csv", index=False)
    exit_code, said, _ = predict(exported, tmp_path / "new.csv", capsys)
    assert exit_code == 0
    wanted = expected(strange, columns, weights).max(axis=1)
    np.testing.assert_allclose([float(row["certainty"]) for row in said], wanted, atol=1e-6)


def test_a_column_may_name_the_rows(bundle, tmp_path, capsys):
    _, exported, _, _ = bundle
    NEW.assign(who=[f"00{i}" for i in range(len(NEW))]).to_csv(tmp_path / "new.csv", index=False)
    exit_code, said, _ = predict(exported, tmp_path / "new.csv", capsys, "--id", "who")
    assert exit_code == 0
    assert list(said[1]) == ["who", "class", "certainty"]
    assert [row["who"] for row in said[:3]] == ["000", "001", "002"]


REFUSED = {
    "a column that is not there": (NEW.drop(columns=["zip", "age"]), "has no column 'age', 'zip', which the model takes; it has 'city'"),
    "a cell of another kind": (NEW.assign(age=["?", *NEW["age"][1:]]), "column 'age' has '?' (line 2), which is no number; leave the cell empty if it is missing"),
    "a date that is none": (NEW.assign(since=["soon", *NEW["since"][1:]]), "column 'since' has 'soon' (line 2), which is no date"),
    "no rows": (NEW[:0], "has no rows"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_a_table_that_the_model_cannot_be_asked_about_is_one_line(kind, bundle, tmp_path, capsys):
    _, exported, _, _ = bundle
    frame, said = REFUSED[kind]
    frame.to_csv(tmp_path / "new.csv", index=False)
    exit_code, rows, err = predict(exported, tmp_path / "new.csv", capsys)
    assert (exit_code, rows, err.count("\n")) == (1, [], 1)
    assert said in err


def test_an_array_without_names_is_refused(bundle, tmp_path, capsys):
    _, exported, columns, _ = bundle
    np.savez(tmp_path / "new.npz", x=np.zeros((3, len(columns))))
    exit_code, _, err = predict(exported, tmp_path / "new.npz", capsys)
    assert exit_code == 1
    assert "wanted an array for each column, by its name, all of one length" in err


def test_onnxruntime_alone_gives_the_same_answers_by_the_code_in_the_card(bundle, tmp_path, monkeypatch):
    _, exported, columns, weights = bundle
    text = (exported / "README.md").read_text(encoding="utf-8")
    [start] = [i for i in range(len(text)) if text.startswith("```python\nimport numpy, onnxruntime, pandas", i)]
    shown = text[start : text.index("```", start + 3)].removeprefix("```python\n")
    NEW.drop(columns="since").assign(since=to_rows(NEW, columns, ())[:, -1]).to_csv(tmp_path / "rows.csv", index=False)
    shutil.copy(exported / "model.onnx", tmp_path)
    monkeypatch.chdir(tmp_path)
    found = {}
    exec(shown, found)
    np.testing.assert_allclose(found["probabilities"], expected(NEW, columns, weights), atol=1e-6)


def test_the_card_and_the_summary_say_what_each_column_holds(bundle):
    _, exported, _, _ = bundle
    text = (exported / "README.md").read_text(encoding="utf-8")
    assert "| `city` | category | `Bonn`, `Köln`, `Ulm`, some missing |" in text
    assert "| `age` | number | 0.18 to 0.89, some missing |" in text
    assert "| `since` | date | 2019-12-30 to 2020-04-" in text
    model = onnxruntime.InferenceSession(exported / "model.onnx")
    assert [(i.name, i.type) for i in model.get_inputs()][:2] == [("age", "tensor(double)"), ("city", "tensor(string)")]


def verify(exported, path):
    command = [sys.executable, "-S", str(exported / "verify.py"), str(path)]
    paths = [p for p in sys.path if p.endswith("site-packages")]
    done = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": ":".join(paths)})
    return done.returncode, done.stdout


def test_the_check_of_a_bundle_reads_the_table_and_finds_a_changed_one(bundle, tmp_path):
    folder, exported, _, _ = bundle
    frame = pd.read_csv(folder / "rows.csv")
    for changed, said in (
        (frame.assign(y=np.roll(frame["y"], 1)), "its labels differ"),
        (frame[:50], "the test rows go up to"),
        (frame.drop(columns="age"), "wanted a table of text with the columns y, age"),
        (frame.assign(age="?"), "not the table that the model was scored on: could not convert"),
    ):
        changed.to_csv(tmp_path / "rows.csv", index=False)
        exit_code, out = verify(exported, tmp_path / "rows.csv")
        assert (exit_code, out.count("\n")) == (1, 1)
        assert said in out


@pytest.mark.parametrize("n", [1, 2])
def test_a_model_that_chains_what_makes_much_of_little_is_not_run(n, bundle, tmp_path, capsys):
    import onnx

    _, exported, _, _ = bundle
    copy = shutil.copytree(exported, tmp_path / "copy")
    model = onnx.load(copy / "model.onnx")
    name = model.graph.node[-1].output[0]
    for i in range(n - 1):
        model.graph.node.append(onnx.helper.make_node("Concat", [name, name], [f"much{i}"], axis=1))
    onnx.save(model, copy / "model.onnx")
    seal(copy)
    NEW.to_csv(tmp_path / "new.csv", index=False)
    exit_code, _, err = predict(copy, tmp_path / "new.csv", capsys)
    assert exit_code == (0 if n == 1 else 4)
    assert ("it holds several Concat" in err) == (n > 1)
