"""`predict`: what a bundle's model says of rows, and what it refuses."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from sweep.champion.verify import SUMS
from sweep.cli.commands import main
from tests.bundles import WEIGHTS, seal, write_onnx
from tests.studies import ROOT

SUMMARY = {
    "input": {"name": "rows", "dtype": "float32", "features": 64, "shape": [8, 8], "rows_dtype": "uint8"},
    "classes": ["0", "1", "the, third"],
    "test": None,
}
ROWS = np.random.default_rng(1).integers(0, 256, (5, 8, 8)).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    """A bundle as small as one can be."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    write_onnx(folder / "model.onnx")
    write_summary(folder, SUMMARY)
    return folder


def write_summary(folder, summary):
    (folder / "summary.json").write_text(json.dumps(summary))
    seal(folder)


def numbers(folder):
    """The bundle as one of a model that standardizes."""
    write_summary(folder, {**SUMMARY, "input": {**SUMMARY["input"], "rows_dtype": "float32"}})


def predict(folder, tmp_path, capsys, **arrays):
    """Exit code, standard output and standard error."""
    np.savez(tmp_path / "images.npz", **arrays)
    code = main(["predict", str(folder), str(tmp_path / "images.npz")])
    return code, *capsys.readouterr()


def expected(rows):
    z = np.exp(rows.reshape(len(rows), 64).astype(np.float32) @ WEIGHTS)
    return z / z.sum(axis=1, keepdims=True)


def test_each_row_has_its_class_and_certainty(folder, tmp_path, capsys):
    code, out, err = predict(folder, tmp_path, capsys, x=ROWS)
    assert (code, err) == (0, "")
    head, *lines = csv.reader(out.splitlines())
    assert head == ["row", "class", "certainty"]
    said = expected(ROWS)
    assert [line[:2] for line in lines] == [[str(i), SUMMARY["classes"][k]] for i, k in enumerate(said.argmax(axis=1))]
    assert [float(line[2]) for line in lines] == pytest.approx(said.max(axis=1), abs=2e-6)


def test_a_class_that_a_spreadsheet_would_compute_is_told_to_be_text(folder, tmp_path, capsys):
    names = ['=HYPERLINK("http://x")', "@SUM(A1)", "+A1"]
    write_summary(folder, {**SUMMARY, "classes": names})
    _, out, _ = predict(folder, tmp_path, capsys, x=ROWS)
    shown = [row["class"] for row in csv.DictReader(out.splitlines())]
    assert shown == [f"'{names[k]}" for k in expected(ROWS).argmax(axis=1)]


def test_it_answers_without_tensorflow_mlflow_or_optuna_and_writes_a_file(folder, tmp_path):
    np.savez(tmp_path / "images.npz", x=ROWS)
    heavy = ("tensorflow", "keras", "mlflow", "optuna", "onnx", "pandas")
    command = ["predict", str(folder), str(tmp_path / "images.npz"), "--out", str(tmp_path / "said.csv")]
    code = f"import sys; from sweep.cli.commands import main; print(main({command!r}), [m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("0 []\n", "")
    assert (tmp_path / "said.csv").read_text().count("\n") == 6


def test_rows_are_found_by_name_and_may_be_flat(folder, tmp_path, capsys):
    flat = ROWS.reshape(5, 64)
    whole = predict(folder, tmp_path, capsys, x=ROWS)
    assert predict(folder, tmp_path, capsys, x=flat, other=np.zeros(3)) == whole
    assert predict(folder, tmp_path, capsys, x_test=flat, y_test=np.zeros(5)) == whole
    assert predict(folder, tmp_path, capsys, images=ROWS) == whole
    code, _, err = predict(folder, tmp_path, capsys, a=ROWS, b=ROWS)
    assert (code, err.count("\n")) == (1, 1)
    assert "holds a, b; wanted rows as `x`, as `x_test`, or as its only array" in err


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (ROWS / 255, "holds float64, wanted uint8 from 0 to 255; the model divides by 255 itself"),
        (ROWS.astype(np.int64), "holds int64, wanted uint8"),
        (ROWS[0], "has shape (8, 8), wanted (n, 64) or (n, 8, 8)"),
        (ROWS[:, :4], "has shape (5, 4, 8), wanted (n, 64) or (n, 8, 8)"),
        (ROWS[:0], "has shape (0, 8, 8)"),
        (np.uint8(3), "has shape ()"),
        (np.full((2, 64), None), "not a readable .npz of plain arrays"),
    ],
)
def test_rows_that_a_model_of_pixels_was_not_trained_on_are_refused(folder, tmp_path, capsys, rows, said):
    code, out, err = predict(folder, tmp_path, capsys, x=rows)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert said in err
    assert err.startswith(f"error: {tmp_path / 'images.npz'}: ")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (ROWS, "holds uint8, wanted numbers as in the data"),
        (np.full((2, 64), np.nan), "NaN, infinite, or too large"),
        (np.full((2, 64), 1e300), "NaN, infinite, or too large"),
        (np.full((2, 64), "1"), "holds <U1, wanted numbers"),
        (np.full((2, 64), 1j), "holds complex128, wanted numbers"),
    ],
)
def test_rows_that_a_model_of_numbers_was_not_trained_on_are_refused(folder, tmp_path, capsys, rows, said):
    numbers(folder)
    code, out, err = predict(folder, tmp_path, capsys, x=rows)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert said in err


def test_numbers_of_any_kind_are_taken_by_a_model_of_numbers(folder, tmp_path, capsys):
    numbers(folder)
    as_float = predict(folder, tmp_path, capsys, x=ROWS.astype(float))
    assert as_float[0] == 0
    assert predict(folder, tmp_path, capsys, x=ROWS.astype(np.int16)) == as_float


def test_files_that_hold_no_rows_are_one_line(folder, tmp_path, capsys):
    for name, content, said in (
        ("gone.npz", None, "no such file"),
        ("text.npz", b"hello", "not a readable .npz"),
        ("cut.npz", b"PK\x03\x04", "not a readable .npz"),
    ):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        assert main(["predict", str(folder), str(tmp_path / name)]) == 1
        err = capsys.readouterr().err
        assert err.startswith(f"error: {tmp_path / name}: ")
        assert (said in err, err.count("\n")) == (True, 1)
    assert main(["predict", str(tmp_path / "nowhere"), str(tmp_path / "text.npz")]) == 1
    assert "no such folder; wanted a bundle" in capsys.readouterr().err


def test_a_file_that_unpacks_to_more_than_the_memory_is_not_read(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sweep.data.unpacked.os.sysconf", lambda name: 10)
    code, _, err = predict(folder, tmp_path, capsys, x=ROWS)
    assert code == 1
    assert "more than half of this machine's memory" in err


def reads_outside(folder):
    """The weights in a file beside the model, which is there."""
    proto = onnx.load(folder / "model.onnx")
    [tensor] = proto.graph.initializer
    (folder / "weights.bin").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "weights.bin"), ("offset", "0"), ("length", str(64 * 3 * 4))):
        tensor.external_data.add(key=key, value=value)
    (folder / "model.onnx").write_bytes(proto.SerializeToString())


def gives_other_than_classes(folder):
    write_onnx(folder / "model.onnx", WEIGHTS[:, :2])


def gives_nan(folder):
    write_onnx(folder / "model.onnx", WEIGHTS * np.float32("nan"))


def runs_what_nobody_knows(folder):
    proto = onnx.load(folder / "model.onnx")
    proto.graph.node.append(helper.make_node("Open", ["rows"], ["file"], domain="evil"))
    (folder / "model.onnx").write_bytes(proto.SerializeToString())


def loops(folder):
    proto = onnx.load(folder / "model.onnx")
    proto.graph.node.append(helper.make_node("Loop", [], ["on"], body=helper.make_graph([], "body", [], [])))
    (folder / "model.onnx").write_bytes(proto.SerializeToString())


def other_shape(folder):
    summary = {**SUMMARY, "input": {**SUMMARY["input"], "shape": [8, 9]}}
    (folder / "summary.json").write_text(json.dumps(summary))


def without(*path):
    def spoil(folder):
        summary = json.loads(json.dumps(SUMMARY))
        inner = summary
        for name in path[:-1]:
            inner = inner[name]
        del inner[path[-1]]
        (folder / "summary.json").write_text(json.dumps(summary))

    return spoil


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:300]), "not a model"),
        (lambda folder: (folder / "model.onnx").write_bytes(b""), "not a model that can be run"),
        (reads_outside, "External data path does not exist"),
        (gives_other_than_classes, "wanted numbers (n, 64) -> (n, 3)"),
        (gives_nan, "does not give a probability of each class"),
        (runs_what_nobody_knows, "not a model that can be run: it holds evil.Open, as no model of this program does"),
        (loops, "not a model that can be run: it holds Loop"),
        (without("classes"), "not a summary of a bundle"),
        (without("input"), "not a summary of a bundle"),
        (without("input", "features"), "not a summary of a bundle"),
        (without("input", "rows_dtype"), "not a summary of a bundle"),
        (other_shape, "not a summary of a bundle"),
        (without("test"), "not a summary of a bundle"),
        (lambda folder: (folder / "summary.json").write_text("[" * 100_000), "not a summary of a bundle"),
        (lambda folder: (folder / "summary.json").write_text('"input"'), "not a summary of a bundle"),
        (lambda folder: (folder / "summary.json").write_bytes(b"\xff\xfe"), "not text"),
        (lambda folder: (folder / "summary.json").write_bytes(bytes(2**22 + 1)), "wanted 4194304 at most"),
    ],
)
def test_a_bundle_that_somebody_made_up_is_one_line_and_exit_code_4(folder, tmp_path, capsys, spoil, said):
    spoil(folder)
    seal(folder)
    code, out, err = predict(folder, tmp_path, capsys, x=ROWS)
    assert (code, out, err.count("\n")) == (4, "", 1), err
    assert said in err
    assert str(folder) in err


def test_a_bundle_that_is_not_what_was_exported_is_not_run(folder, tmp_path, capsys):
    write_onnx(folder / "model.onnx", -WEIGHTS)
    assert f"{folder / 'model.onnx'}: not what was exported (sha256)" in predict(folder, tmp_path, capsys, x=ROWS)[2]
    (folder / SUMS).unlink()
    code, _, err = predict(folder, tmp_path, capsys, x=ROWS)
    assert (code, f"{SUMS}: cannot be read: No such file" in err) == (4, True)


def test_a_checksum_file_reaches_nothing_outside_its_folder(folder, tmp_path, capsys):
    shutil.copy(folder / "model.onnx", tmp_path / "model.onnx")
    (folder / SUMS).write_text((folder / SUMS).read_text().replace("  model.onnx", "  ../model.onnx"))
    code, _, err = predict(folder, tmp_path, capsys, x=ROWS)
    assert (code, "holds a line that is not" in err) == (4, True)


def test_out_writes_a_file_or_standard_output_and_nothing_else(folder, tmp_path, capsys):
    np.savez(tmp_path / "images.npz", x=ROWS)
    command = ["predict", str(folder), str(tmp_path / "images.npz"), "--out"]
    assert main([*command, "-"]) == 0
    table = capsys.readouterr().out
    assert table.startswith("row,class,certainty\n")
    (tmp_path / "file.csv").write_text("old")
    assert main([*command, str(tmp_path / "file.csv")]) == 0
    assert (tmp_path / "file.csv").read_text() == table
    (tmp_path / "link").symlink_to(tmp_path / "file.csv")
    os.mkfifo(tmp_path / "pipe")
    before = sorted(tmp_path.iterdir())
    for path in (tmp_path / "link", tmp_path / "pipe", folder, Path("/dev/null"), Path("/dev/full")):
        kind = path.lstat().st_mode
        assert main([*command, str(path)]) == 2
        assert capsys.readouterr() == (
            "", f"error: --out {path}: is there and no regular file; name a file, or - for standard output\n",
        )  # fmt: skip
        assert path.lstat().st_mode == kind
    assert sorted(tmp_path.iterdir()) == before
