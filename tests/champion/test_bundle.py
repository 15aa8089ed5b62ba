"""The bundle of a champion: whole or not there, and checked by what lies in it alone."""

import csv
import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from sweep.champion import bundle, verify
from sweep.champion.export import export
from sweep.durable.files import name_draft
from sweep.errors import ConversionError, DamagedResultError
from sweep.layout import RunsDir
from sweep.report.conclusion import conclude
from sweep.report.files import find_stale, publish
from sweep.report.upload import upload
from sweep.study.toml_text import to_toml
from sweep.track.runs import read_study
from tests.bundles import WEIGHTS, convert_by_hand, seal, sweep_by_hand, write_onnx
from tests.studies import ROOT, STUDY, tiny_table, write_tiny_data

FILES = {
    "model.keras", "model.onnx", "README.md", "summary.json", "curves.png", "confusion.png", "confusion.csv",
    "predictions.npz", "study.toml", "verify.py", "given_rows.py", "onnx_operators.py", "SHA256SUMS",
}  # fmt: skip


@pytest.fixture(scope="module")
def swept(migrated, tmp_path_factory):
    """A finished study on real data, exported."""
    folder = tmp_path_factory.mktemp("bundle")
    shutil.copytree(migrated.root, folder / "mlruns")
    write_tiny_data(folder)
    runs = RunsDir(folder / "mlruns")
    sweep_by_hand(runs, tiny_table(), folder)
    export(conclude(read_study(runs, "tiny")), convert_by_hand, STUDY)
    return runs


@pytest.fixture
def copy(swept, tmp_path):
    """The bundle, to spoil."""
    return shutil.copytree(swept.exports("tiny"), tmp_path / "copy")


def data_of(runs):
    return runs.root.parent / "tiny.npz"


def refused(folder, data):
    with pytest.raises(verify.BundleError) as told:
        verify.verify(folder, data)
    return str(told.value)


def test_a_bundle_holds_every_file_under_its_sha256(swept):
    folder = swept.exports("tiny")
    assert {path.name for path in folder.iterdir()} == FILES
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=folder, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.count(": OK\n")) == (0, len(FILES) - 1), done.stderr
    assert {path.name for path in swept.all_exports.iterdir()} == {"tiny", ".lock"}


def bare_environment(folder):
    """Of a Python that has numpy and onnxruntime, and nothing else that is installed here."""
    packages = Path(np.__file__).parents[1]
    for name in ("numpy", "numpy.libs", "onnxruntime"):
        (folder / name).symlink_to(packages / name)
    return {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}


def test_verify_runs_in_a_bare_environment_and_reproduces_the_test_accuracy(swept, tmp_path):
    environment = bare_environment(tmp_path)
    folder = swept.exports("tiny")
    summary = json.loads((folder / "summary.json").read_text())
    alone = [sys.executable, "-S", str(folder / "verify.py"), str(data_of(swept))]
    done = subprocess.run(alone, cwd=tmp_path, env=environment, capture_output=True, text=True)
    accuracy = summary["metrics_of_this_model"]["test_accuracy"]
    assert summary["test"]["accuracy"] == accuracy
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "verified: 12 files are what SHA256SUMS says; 100 of 100 test rows are classified as recorded, "
        f"test accuracy {accuracy!r}\n"
    )
    (tmp_path / "not.npz").write_bytes(b"PK")
    done = subprocess.run([*alone[:-1], "not.npz"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("not verified: not.npz: not a readable .npz of plain arrays")
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize("name", sorted(FILES - {"SHA256SUMS"}))
def test_a_flipped_byte_in_any_file_is_named(swept, copy, name):
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    assert refused(copy, data_of(swept)) == f"{copy / name}: not what was exported (sha256)"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "does not name model.onnx, summary.json"),
        ("0" * 64 + "  ../model.onnx\n", "holds a line that is not"),
        ("0" * 64 + "  model.onnx\n" + "0" * 64 + "  summary.json\n", "not what was exported"),
    ],
)
def test_checksums_that_are_none_are_refused(swept, copy, line, said):
    (copy / "SHA256SUMS").write_text(line)
    assert said in refused(copy, data_of(swept))


def test_a_file_that_was_not_exported_is_named_but_for_the_data(swept, copy):
    shutil.copy(data_of(swept), copy / "data.npz")
    assert verify.verify(copy, copy / "data.npz").startswith("verified: ")
    (copy / "planted.txt").touch()
    assert refused(copy, copy / "data.npz").startswith(f"{copy / 'planted.txt'}: not named by SHA256SUMS")


@pytest.mark.parametrize("module", ["numpy", "argparse", "json", "onnxruntime", "pathlib"])
def test_a_module_planted_in_a_bundle_is_not_run(swept, copy, tmp_path, module):
    (copy / f"{module}.py").write_text(f"open({str(tmp_path / 'run')!r}, 'w')")
    for options in ([], ["-I"], ["-P"]):
        check = [sys.executable, *options, str(copy / "verify.py"), str(data_of(swept))]
        done = subprocess.run(check, cwd=tmp_path, capture_output=True, text=True)
        assert done.stdout.startswith(f"not verified: {copy / module}.py: not named by SHA256SUMS"), done.stderr
    assert not (tmp_path / "run").exists()


def test_a_file_of_a_bundle_that_is_a_link_is_named(swept, copy, tmp_path):
    (copy / "model.onnx").rename(tmp_path / "elsewhere")
    (copy / "model.onnx").symlink_to(tmp_path / "elsewhere")
    assert refused(copy, data_of(swept)) == f"{copy / 'model.onnx'}: a link, wanted the file itself"


def test_verify_sees_one_row_that_is_classified_otherwise(swept, copy):
    arrays = dict(np.load(copy / "predictions.npz"))
    arrays["predicted"][17] = (arrays["predicted"][17] + 1) % 3
    np.savez(copy / "predictions.npz", **arrays)
    seal(copy)
    assert refused(copy, data_of(swept)) == ("1 of 100 test rows are not classified as recorded, the first is row 17")


def test_verify_sees_another_model_other_data_and_another_accuracy(swept, copy, tmp_path):
    write_onnx(copy / "model.onnx", -WEIGHTS)
    seal(copy)
    assert "test rows are not classified as recorded" in refused(copy, data_of(swept))
    write_onnx(copy / "model.onnx")
    summary = json.loads((copy / "summary.json").read_text())
    right = summary["test"]["accuracy"]
    summary["test"]["accuracy"] = right + 0.01
    (copy / "summary.json").write_text(json.dumps(summary))
    seal(copy)
    assert refused(copy, data_of(swept)) == f"test accuracy is {right!r}, recorded is {right + 0.01!r}"
    arrays = dict(np.load(data_of(swept)))
    np.savez(tmp_path / "other.npz", **{**arrays, "y_test": arrays["y_test"][::-1]})
    assert "not the data that the model was scored on" in refused(copy, tmp_path / "other.npz")
    np.savez(tmp_path / "short.npz", x_test=arrays["x_test"])
    assert "has no array y_test" in refused(copy, tmp_path / "short.npz")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda arrays: {"labels": arrays["labels"]},
        lambda arrays: {**arrays, "predicted": arrays["predicted"][:-1]},
        lambda arrays: {**arrays, "predicted": arrays["predicted"] + 3},
        lambda arrays: {**arrays, "predicted": arrays["predicted"].astype(float)},
        lambda arrays: {**arrays, "labels": arrays["labels"].astype(int) - 3},
        lambda arrays: {name: np.empty(100, object) for name in arrays},
    ],
)
def test_recorded_predictions_that_are_none_are_refused(swept, copy, spoil):
    np.savez(copy / "predictions.npz", **spoil(dict(np.load(copy / "predictions.npz"))))
    seal(copy)
    assert refused(copy, data_of(swept)).startswith(str(copy / "predictions.npz"))


def test_test_rows_that_were_drawn_are_found_by_number(migrated, tmp_path):
    shutil.copytree(migrated.root, tmp_path / "mlruns")
    runs, table = (
        RunsDir(tmp_path / "mlruns"),
        tiny_table(data={"source": "all.npz", "validation_rows": 100, "test_rows": 90}),
    )
    arrays = np.load(write_tiny_data(tmp_path))
    np.savez(tmp_path / "all.npz", x_train=arrays["x_train"], y_train=arrays["y_train"])
    data = sweep_by_hand(runs, table, tmp_path)
    conclusion = conclude(read_study(runs, "tiny"))
    folder = export(conclusion, convert_by_hand).folder
    assert "90 of 90 test rows are classified as recorded" in verify.verify(folder, tmp_path / "all.npz")
    shutil.rmtree(data.folder)  # from here on the data is not at hand
    export(conclusion, convert_by_hand)
    assert refused(folder, tmp_path / "all.npz").startswith(
        "which rows of the data were the test split is not recorded"
    )
    assert "Export it again where the data is" in (folder / "README.md").read_text()


def test_a_study_without_test_rows_has_a_bundle_without_them(migrated, tmp_path):
    shutil.copytree(migrated.root, tmp_path / "mlruns")
    runs, table = RunsDir(tmp_path / "mlruns"), tiny_table(data={"source": "all.npz", "validation_rows": 100})
    arrays = np.load(write_tiny_data(tmp_path))
    np.savez(tmp_path / "all.npz", x_train=arrays["x_train"], y_train=arrays["y_train"])
    sweep_by_hand(runs, table, tmp_path)
    folder = export(conclude(read_study(runs, "tiny")), convert_by_hand).folder
    assert {path.name for path in folder.iterdir()} == FILES - {"predictions.npz", "confusion.csv", "confusion.png"}
    assert verify.verify(folder, None).endswith("no test rows, so there is no test accuracy to reproduce")


def test_the_confusion_matrix_counts_every_test_row_once(swept):
    recorded = np.load(swept.exports("tiny") / "predictions.npz")
    head, *rows = (line.split(",") for line in (swept.exports("tiny") / "confusion.csv").read_text().splitlines())
    assert head[1:] == [row[0] for row in rows] == ["0", "1", "2"]
    for true, row in enumerate(rows):
        said = recorded["predicted"][recorded["labels"] == true]
        assert [int(n) for n in row[1:]] == np.bincount(said, minlength=3).tolist()


def test_the_study_file_is_as_typed_while_it_says_what_was_run(swept):
    conclusion = conclude(read_study(swept, "tiny"))
    path = swept.exports("tiny") / "study.toml"
    assert path.read_text() == STUDY
    export(conclusion, convert_by_hand, STUDY.replace("trials = 4", "trials = 9"))
    assert tomllib.loads(path.read_text()) == conclusion.tracked.table
    export(conclusion, convert_by_hand, STUDY)
    assert path.read_text() == STUDY


@pytest.mark.parametrize(
    "text",
    [*((ROOT / "studies" / name).read_text() for name in ("mnist.toml", "notebook.toml", "quick.toml")), STUDY,
     'a = "\\u007f \\" \\\\ \\n é \\U0001F600"\n"b c" = [1e-7, true, [], {}]\n[d]\n'],
)  # fmt: skip
def test_a_table_is_written_as_a_study_file_that_reads_back_the_same(text):
    table = tomllib.loads(text)
    assert tomllib.loads(to_toml(table)) == table


def test_a_model_is_converted_once_and_another_again(swept):
    conclusion, asked = conclude(read_study(swept, "tiny")), []

    def convert(*arguments):
        asked.append(arguments)
        return convert_by_hand(*arguments)

    export(conclusion, convert, STUDY)
    assert asked == []
    (swept.exports("tiny") / "model.onnx").write_bytes(b"not what was exported")
    export(conclusion, convert, STUDY)
    assert len(asked) == 1


def test_an_export_that_fails_leaves_the_bundle_before(swept):
    def fail(*arguments):
        raise ConversionError("differs")

    folder = swept.exports("tiny")
    (folder / "SHA256SUMS").write_text("")  # so that it is converted anew
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    conclusion = conclude(read_study(swept, "tiny"))
    with pytest.raises(ConversionError):
        export(conclusion, fail, STUDY)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    export(conclusion, convert_by_hand, STUDY)
    assert {path.name for path in swept.all_exports.iterdir()} == {"tiny", ".lock"}


def test_a_bundle_that_was_renamed_away_when_the_writer_died_stands_again(tmp_path):
    def write(draft):
        raise OSError("no space")

    old = tmp_path / "exports" / ".tiny.old"
    old.mkdir(parents=True)
    (old / "model.onnx").write_bytes(b"model")
    with pytest.raises(OSError, match="no space"):
        bundle.write_bundle(tmp_path / "exports" / "tiny", write)
    assert (tmp_path / "exports" / "tiny" / "model.onnx").read_bytes() == b"model"


def test_a_bundle_is_synced_before_it_has_its_name(tmp_path, disk_calls):
    folder = tmp_path / "exports" / "tiny"
    bundle.write_bundle(folder, lambda draft: (draft / "model.onnx").write_bytes(b"model"))
    draft = name_draft(folder)
    assert disk_calls[-5:] == [
        ("sync", draft / "SHA256SUMS"),
        ("sync", draft / "model.onnx"),
        ("sync", draft),
        ("rename", draft),
        ("sync", folder.parent),
    ]


def test_a_folder_that_is_no_bundle_says_so(tmp_path):
    with pytest.raises(DamagedResultError, match="SHA256SUMS: cannot be read: No such file"):
        bundle.read_bundle(tmp_path)


NAMES = ["a|b `c` <script>x</script>\ud800", "\x1b[31m中文\n# 🎉", "$0-$" + "9" * 300]


def test_names_of_files_and_classes_are_text_in_a_card_and_the_bundle_verifies(migrated, tmp_path):
    shutil.copytree(migrated.root, tmp_path / "mlruns")
    runs, file = RunsDir(tmp_path / "mlruns"), "we[i]rd `$x$`\n<b>|%s.npz"
    arrays = dict(np.load(write_tiny_data(tmp_path)))
    names = {f"y_{part}": np.array(sorted(NAMES))[arrays[f"y_{part}"]] for part in ("train", "test")}
    np.savez(tmp_path / file, **{**arrays, **names})
    sweep_by_hand(runs, tiny_table(data={"source": file, "validation_rows": 100}), tmp_path)
    conclusion = conclude(read_study(runs, "tiny"))
    publish(conclusion)
    upload(conclusion)
    folder = export(conclusion, convert_by_hand).folder
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert r"An MLP for ``we[i]rd `$x$`\n<b>|%s.npz``:" in card
    assert r"`\x1b[31m中文\n# 🎉`, `$0-$999" in card
    assert r"- `#0` is `\x1b[31m中文\n# 🎉`" in card
    assert f"- `$0-$9999999999…999999999` is `$0-${'9' * 300}`" in card
    assert r"``a|b `c` <script>x</script>\ud800``" in card
    assert "\x1b" not in card
    with (folder / "confusion.csv").open(encoding="utf-8", newline="") as lines:
        assert next(csv.reader(lines))[1:] == [name.replace("\ud800", r"\ud800") for name in sorted(NAMES)]
    assert json.loads((folder / "summary.json").read_text(encoding="utf-8"))["classes"] == sorted(NAMES)
    assert "100 of 100 test rows" in verify.verify(folder, tmp_path / file)
    assert find_stale(conclusion) == []
