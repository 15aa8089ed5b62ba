"""Attempts to get out, in, or at all memory by files that someone handed over: each ends in one line, soon, in little memory."""

import io
import json
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
import zipfile
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import onnx
import pyarrow as pa
import pytest
from onnx import TensorProto, helper
from pyarrow import parquet

from sweep.cli.commands import main
from sweep.data.files import read
from sweep.data.prepared import prepare
from sweep.errors import DamagedResultError, InvalidStudyError, StorageError
from sweep.record import results
from sweep.report.conclusion import conclude
from sweep.study.schema import Data
from sweep.track.names import FACTS_FILE, STUDY_FILE
from sweep.track.runs import read_study
from sweep.train.weights import UNREADABLE, read_config
from tests.bundles import convert_by_hand, seal, sweep_by_hand
from tests.studies import FILES, STUDY, copied, fake_sweep, tiny_table, write_tiny_data

pytestmark = pytest.mark.faults

SECONDS, BYTES = 20, 2**31  # that an attempt may take; more of either fails the test
DIGITS = "9" * 6000


@contextmanager
def bounded():
    """Fail what takes long, or much memory."""

    def late(number, frame):
        pytest.fail(f"not done within {SECONDS} s")

    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS), signal.signal(signal.SIGALRM, late)
    resource.setrlimit(resource.RLIMIT_AS, (in_use + BYTES, before[0][1]))
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before[1])
        resource.setrlimit(resource.RLIMIT_AS, before[0])


def refused(capsys, exit_code, *command):
    """Run a command, which must fail so; return its line."""
    with bounded():
        assert main([*map(str, command)]) == exit_code
    out, said = capsys.readouterr()
    assert out == ""
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert said[:-1].isprintable()
    return said


# What is in place of a file: it may have no end, or never begin.
NO_FILES = {
    "a pipe": os.mkfifo,
    "zeros without end": lambda path: path.symlink_to("/dev/zero"),
    "chance without end": lambda path: path.symlink_to("/dev/urandom"),
    "a terabyte of nothing": lambda path: path.touch() or os.truncate(path, 2**40),
}


@pytest.mark.parametrize("kind", NO_FILES)
@pytest.mark.parametrize("command", ["run", "report", "doctor"])
def test_a_study_file_is_a_file(kind, command, tmp_path, capsys):
    NO_FILES[kind](tmp_path / "study.toml")
    said = refused(capsys, 2, command, tmp_path / "study.toml", "--runs-dir", tmp_path / "mlruns")
    assert f"{tmp_path / 'study.toml'}: cannot be read (" in said


BASELINE = '[[baselines]]\nname = "by hand"'
STUDIES = {
    "a deep key": ("seed = 7", f"{'a.' * 40000}a = 1", "a key of more than 50 parts"),
    "a deep heading": ("[search]", f"[{'a.' * 40000}a]\n[search]", "a key of more than 50 parts"),
    "a deep key within a line": ("seed = 7", f"x = {{{'a.' * 40000}a = 1}}", "a key of more than 50 parts"),
    "a deep key in quotes": ("seed = 7", '"a" . ' * 40000 + "a = 1", "a key of more than 50 parts"),
    "a list in a list in a list": ("seed = 7", f"seed = {'[' * 9000}{']' * 9000}", "not TOML"),
    "a number of 6,000 digits": ("seed = 7", f"seed = {DIGITS}", "not TOML"),
    "a number of 6,000 digits to base 16": ("seed = 7", f"seed = 0x{'f' * 6000}", "seed = "),
    "a float of 6,000 digits": ("dropout = 0.5", f"dropout = {DIGITS}.0", "dropout"),
    "a reference that is no number": ("test_accuracy = 0.5", "test_accuracy = nan", "reference"),
    "a study outside": ('"tiny"', '"../../tiny"', "name = '../../tiny'"),
    "a study that is hidden": ('"tiny"', '".tiny"', "name = '.tiny'"),
    **{
        f"a baseline called {what}": (BASELINE, BASELINE.replace("by hand", name), "baselines.0.name")
        for what, name in {
            "by two lines": "a\\n# b",
            "in backquotes": "`a`",
            "in HTML": "<img src=x>",
            "as a formula": "=HYPERLINK(1)",
            "as a code of terminals": "\\u001b[2J",
            "from right to left": "a\\u202eb",
            "in Rich's markup": "[red]a[/red]",
            "as a cell": "a|b",
        }.items()
    },
}


@pytest.mark.parametrize("kind", STUDIES)
def test_a_study_file_is_refused(kind, tmp_path, capsys):
    old, new, named = STUDIES[kind]
    assert STUDY.count(old) == 1
    (tmp_path / "study.toml").write_text(STUDY.replace(old, new))
    said = refused(capsys, 2, "run", tmp_path / "study.toml", "--runs-dir", tmp_path / "mlruns")
    assert named in said


def repeated(text, n):
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), [text])


def written(**columns):
    """A writer of a table that says little of how much it is."""
    return lambda path: parquet.write_table(pa.table(columns), path, compression="zstd", store_schema=False)


def many_rows(path):
    """A table of 335 million numbers that are all 0, in 100 KB."""
    table = pa.table({"a": np.zeros(2**23), "y": np.zeros(2**23)})
    with parquet.ParquetWriter(path, table.schema, compression="zstd") as writer:
        for _ in range(20):
            writer.write_table(table, row_group_size=2**23)


def header(text, version=1):
    size = struct.pack("<H" if version == 1 else "<I", len(text))
    return lambda path: zipped(
        path, {"x_train.npy": b"\x93NUMPY" + bytes([version, 0]) + size + text.encode() + bytes(48)}
    )


def zipped(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def says_a_petabyte(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x_train.npy", bytes(2**20))
        archive.infolist()[0].file_size = 2**50


N_TEXTS = 300_000
DATA = {
    "numbers without end": (".parquet", many_rows, "unpacks to"),
    "a long text, often": (".parquet", written(a=np.zeros(N_TEXTS), y=repeated("x" * 200_000, N_TEXTS)), "unpacks to"),
    "a long text in lists, often": (
        ".parquet",
        written(
            y=np.zeros(3),
            a=pa.ListArray.from_arrays(pa.array([0, 0, 0, N_TEXTS], pa.int32()), repeated("x" * 200_000, N_TEXTS)),
        ),
        "unpacks to",
    ),
    "a header without an end": (".npz", header("{'descr': '<f8', 'shape': (3"), "not a readable .npz"),
    "a header without an end, of version 2": (".npz", header("{'''", 2), "not a readable .npz"),
    "a header without a type": (".npz", header("{'fortran_order': False, 'shape': (3,)}"), "not a readable .npz"),
    "a header that cannot be hashed": (".npz", header("{[]: 1}"), "not a readable .npz"),
    "a header of 5,000 brackets": (".npz", header("(" * 5000), "not a readable .npz"),
    "a shape of 6,000 digits": (
        ".npz",
        header(f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({DIGITS},), }}"),
        "not a readable .npz",
    ),
    "a shape of a petabyte": (
        ".npz",
        header(f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({2**47},), }}"),
        "not a readable .npz",
    ),
    "an archive of a petabyte": (".npz", says_a_petabyte, "more than half of this machine's memory"),
    "objects": (".npz", lambda path: np.savez(path, x_train=np.array([{}])), "not a readable .npz"),
    "a number of 6,000 digits": (".csv", lambda path: path.write_text(f"a,y\n{DIGITS},0\n1,1\n"), "too large"),
    "zero bytes": (".csv", lambda path: path.write_bytes(b"a,y\n" + bytes(1000)), "zero byte"),
    "a quote without an end": (".csv", lambda path: path.write_text('a,y\n"1' + ",1\n" * 10**6), "rows.csv"),
}
DATA |= {f"{kind} for {end}": (end, NO_FILES[kind], "no such file") for kind in list(NO_FILES)[:3] for end in (".csv", ".npz", ".parquet", ".csv.gz")}  # fmt: skip


@pytest.mark.parametrize("kind", DATA)
def test_a_data_file_is_refused(kind, tmp_path, capsys):
    end, write, named = DATA[kind]
    write(tmp_path / f"rows{end}")
    label = "" if end == ".npz" else 'label = "y"\n'
    head = 'name = "few"\nseed = 1\nbaselines = [{name = "one", units = [4]}]\ntraining.max_epochs = 1\n'
    (tmp_path / "few.toml").write_text(f'{head}[data]\nsource = "rows{end}"\nvalidation_rows = 10\n{label}')
    said = refused(capsys, 1, "run", tmp_path / "few.toml", "--runs-dir", tmp_path / "mlruns")
    assert named in said
    assert not (tmp_path / "mlruns").exists()


# Models


def archive_of(change, config=b"{}"):
    """A .keras file with weights that `change` writes."""
    file = io.BytesIO()
    with h5py.File(file, "w") as weights:
        change(weights)
    return {"metadata.json": b"{}", "config.json": config, "model.weights.h5": file.getvalue()}


def keep_outside(weights):
    weights.create_dataset("kernel", (4,), "f4", external=[("/etc/passwd", 0, 16)])


def keep_in_another(weights):
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("/etc/other.h5", "kernel", (4,))
    weights.create_virtual_dataset("kernel", layout)


def link(target):
    return lambda weights: weights.create_group("layers").__setitem__("kernel", target)


MODELS = {
    "a link to another file": (archive_of(link(h5py.ExternalLink("/etc/other.h5", "kernel"))), "leads elsewhere"),
    "a link within": (archive_of(link(h5py.SoftLink("/layers"))), "leads elsewhere"),
    "numbers in another file": (archive_of(keep_outside), "not in the file"),
    "numbers of another file": (archive_of(keep_in_another), "not in the file"),
    "a terabyte of weights": (archive_of(lambda w: w.create_dataset("k", (2**38,), "f4", chunks=(1024,))), "bytes"),
    "texts for weights": (archive_of(lambda w: w.create_dataset("k", data=["a"])), "no array of numbers"),
    "nothing for weights": (archive_of(lambda w: w.create_dataset("k", data=h5py.Empty("f4"))), "no array of numbers"),
    "a config of 100,000 brackets": (archive_of(lambda w: None, b"[" * 100_000), ""),
    "a config of 6,000 digits": (archive_of(lambda w: None, DIGITS.encode()), ""),
    "a config of 50 MB": (archive_of(lambda w: None, b" " * 50_000_000), "unpacks to"),
    "another member": (archive_of(lambda w: None) | {"../../evil.py": b""}, "it has, or lacks, ../../evil.py"),
    "no HDF5": (archive_of(lambda w: None) | {"model.weights.h5": b"\x89HDF\r\n\x1a\n" * 9}, ""),
}


@pytest.mark.parametrize("kind", MODELS)
def test_a_model_is_not_loaded(kind, tmp_path):
    members, named = MODELS[kind]
    zipped(tmp_path / "model.keras", members)
    with bounded(), pytest.raises(UNREADABLE) as told:
        read_config(tmp_path / "model.keras")
    assert named in str(told.value)


# Bundles


@pytest.fixture(scope="module")
def exported(new_runs, tmp_path_factory):
    """A finished study on real data, exported; the folder of its data."""
    from sweep.champion.export import export

    runs, folder = new_runs(), tmp_path_factory.mktemp("data")
    write_tiny_data(folder)
    sweep_by_hand(runs, tiny_table(), folder)
    return export(conclude(read_study(runs, "tiny")), convert_by_hand, STUDY).folder, folder / "tiny.npz"


def put(name, kind):
    def spoil(folder):
        (folder / name).unlink()
        NO_FILES[kind](folder / name)

    return spoil


def with_node(node):
    """Put a node at the end of the model."""

    def spoil(folder):
        model = onnx.load(folder / "model.onnx")
        model.graph.node.append(node)
        (folder / "model.onnx").write_bytes(model.SerializeToString())
        seal(folder)

    return spoil


BODY = helper.make_graph(
    [helper.make_node("Identity", ["go"], ["on"])],
    "body",
    [helper.make_tensor_value_info("n", TensorProto.INT64, []), helper.make_tensor_value_info("go", TensorProto.BOOL, [])],
    [helper.make_tensor_value_info("on", TensorProto.BOOL, [])],
)  # fmt: skip


def with_function(folder):
    model = onnx.load(folder / "model.onnx")
    node, opset = helper.make_node("Relu", ["x"], ["y"]), helper.make_opsetid("", 15)
    model.functions.append(helper.make_function("own", "Add", ["x"], ["y"], [node], [opset]))
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    seal(folder)


def with_content(name, content):
    def spoil(folder):
        (folder / name).write_bytes(content if isinstance(content, bytes) else content(folder))
        seal(folder)

    return spoil


def summary_with(**changes):
    return lambda folder: json.dumps(json.loads((folder / "summary.json").read_bytes()) | changes).encode()


BUNDLES = {
    **{
        f"{kind} for {name}": (put(name, kind), "no file" if kind == "a pipe" else name)
        for name in ("SHA256SUMS", "summary.json", "model.onnx", "README.md")
        for kind in NO_FILES
    },
    "a loop without end": (with_node(helper.make_node("Loop", [], ["z2"], body=BODY)), "it holds Loop"),
    "a scan": (with_node(helper.make_node("Scan", [], ["z2"], body=BODY, num_scan_inputs=0)), "it holds Scan"),
    "a branch": (with_node(helper.make_node("If", ["z"], ["z2"], then_branch=BODY, else_branch=BODY)), "it holds If"),
    "a tensor of any size": (with_node(helper.make_node("ConstantOfShape", ["z"], ["z2"])), "it holds ConstantOfShape"),
    "an operator of another": (with_node(helper.make_node("Add", ["z"], ["z2"], domain="evil")), "it holds evil.Add"),
    "a function": (with_function, "a function of its own"),
    "a model of another format": (with_content("model.onnx", b"\x18\0\0\0ORTM" + bytes(64)), "not a model"),
    "a model without an end": (with_content("model.onnx", b"\x3a\xff\xff\xff\xff\x7f"), "not a model"),
    "a number of 6,000 digits": (with_content("summary.json", f'{{"test": {DIGITS}}}'.encode()), "not a summary"),
    "100,000 brackets": (with_content("summary.json", b"[" * 100_000), "not a summary"),
    "classes that are a table": (with_content("summary.json", summary_with(classes={"0": "a"})), "not a summary"),
    "classes that are numbers": (with_content("summary.json", summary_with(classes=[1, 2, 3])), "not a summary"),
}


@pytest.mark.parametrize("kind", BUNDLES)
def test_a_bundle_is_not_used(kind, exported, tmp_path, capsys):
    spoil, named = BUNDLES[kind]
    folder = shutil.copytree(exported[0], tmp_path / "bundle")
    spoil(folder)
    np.savez(tmp_path / "rows.npz", x=np.zeros((3, 8, 8), np.uint8))
    assert named in refused(capsys, 4, "predict", folder, tmp_path / "rows.npz")
    command = [sys.executable, str(folder / "verify.py"), str(exported[1])]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (checked.returncode, checked.stderr) == (1, "")
    assert checked.stdout.startswith("not verified: ")
    assert checked.stdout.count("\n") == 1


@pytest.mark.parametrize("kind", list(NO_FILES)[:3])
@pytest.mark.parametrize("what", ["rows", "data"])
def test_rows_for_a_bundle_are_a_file(kind, what, exported, tmp_path, capsys):
    NO_FILES[kind](tmp_path / "rows.npz")
    if what == "rows":
        assert "no such file" in refused(capsys, 1, "predict", exported[0], tmp_path / "rows.npz")
    else:
        command = [sys.executable, str(exported[0] / "verify.py"), str(tmp_path / "rows.npz")]
        checked = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert (checked.returncode, checked.stderr) == (1, "")
        assert "rows.npz: no file" in checked.stdout


# Records


@pytest.fixture(scope="module")
def swept(new_runs):
    runs = new_runs()
    fake_sweep(runs, files=FILES)
    return runs


RESULTS = {
    "a history that is a text": {"history": "abc"},
    "a history of texts": {"history": ["abc"], "epoch_ended_at": [1.0]},
    "logs that are texts": {"history": [{"loss": "a", "accuracy": "b"}], "epoch_ended_at": [1.0], "best_epoch": 1},
    "a best epoch that is none": {"best_epoch": 10**9},
    "a best epoch below 1": {"best_epoch": -1},
    "a best epoch that is a text": {"best_epoch": "../.."},
    "as many times as it likes": {"epoch_ended_at": [1.0] * 1000},
    "metrics that are a list": {"metrics": ["val_accuracy"]},
    "a count that is none": {"params_count": 0.5},
    "a number that no float holds": {"params_count": 10**400},
    "a state that is none": {"state": "won"},
    "provenance that is a number": {"provenance": {"git_commit": 7}},
    "files that are a list": {"files": ["model.keras"]},
    "a file outside": {"files": {"../../../.bashrc": "0" * 64}},
    "another field": {"evil": 1},
}


@pytest.mark.parametrize("kind", RESULTS)
def test_a_result_is_damaged(kind, swept, tmp_path):
    folder = copied(swept, tmp_path).results("tiny") / "trial-00000"
    content = json.loads((folder / results.RESULT).read_text())["content"] | RESULTS[kind]
    (folder / results.RESULT).write_text(results._seal(content))
    with bounded(), pytest.raises(DamagedResultError, match="cannot be read"):
        results.load(folder)


@pytest.mark.parametrize("kind", NO_FILES)
@pytest.mark.parametrize("name", [results.RESULT, results.HISTORY])
def test_a_file_of_a_result_is_a_file(kind, name, swept, tmp_path):
    folder = copied(swept, tmp_path).results("tiny") / "trial-00000"
    (folder / name).unlink()
    NO_FILES[kind](folder / name)
    with bounded(), pytest.raises(DamagedResultError, match="cannot be read"):
        results.load(folder)


def packed(**changes):
    """Predictions with other arrays in place of some; None leaves one out."""
    arrays = {
        "labels": np.zeros(100, np.uint16),
        "predicted": np.zeros(100, np.uint16),
        "mistakes": np.zeros(0, np.int32),
        "certainty": np.zeros(0, np.float32),
        "rows": np.zeros((0, 64), np.uint8),
    }
    file = io.BytesIO()
    np.savez_compressed(file, **{name: array for name, array in {**arrays, **changes}.items() if array is not None})
    return file.getvalue()


def packed_header(text):
    file = io.BytesIO()
    header(text)(file)
    return file.getvalue()


PREDICTIONS = {
    "fewer rows": packed(labels=np.zeros(9, np.uint16), predicted=np.zeros(9, np.uint16)),
    "a class that is none": packed(predicted=np.full(100, 60_000, np.uint16)),
    "a class below 0": packed(labels=np.full(100, -1, np.int16)),
    "classes that are texts": packed(labels=np.array(["0"] * 100)),
    "classes of two axes": packed(labels=np.zeros((100, 2), np.uint16)),
    "a mistake in a row that is none": packed(
        mistakes=np.array([10**6]), certainty=np.zeros(1, np.float32), rows=np.zeros((1, 64), np.uint8)
    ),
    "rows of another width": packed(
        mistakes=np.array([1]), certainty=np.zeros(1, np.float32), rows=np.zeros((1, 9), np.uint8)
    ),
    "more mistakes than rows of them": packed(mistakes=np.array([1])),
    "an array too few": packed(rows=None),
    "an array too many": packed(evil=np.zeros(1)),
    "a header without an end": packed_header("{'''"),
    "no archive": b"PK",
}


def parent_artifacts(runs):
    return next(runs.artifacts("tiny").glob(f"*/artifacts/{FACTS_FILE}")).parent


@pytest.mark.parametrize("kind", PREDICTIONS)
def test_predictions_of_a_run_are_damaged(kind, swept, tmp_path):
    runs = copied(swept, tmp_path)
    next(runs.artifacts("tiny").glob(f"*/artifacts/{results.PREDICTIONS}")).write_bytes(PREDICTIONS[kind])
    with bounded(), pytest.raises(DamagedResultError, match="cannot be read"):
        read_study(runs, "tiny")


FACTS = {
    "classes that are numbers": {"classes": [1, 2, 3]},
    "no classes": {"classes": []},
    "classes that are nothing": {"classes": None},
    "rows below 0": {"n_test": -1},
    "rows that are a text": {"n_test": "100"},
    "a shape that is none": {"feature_shape": [8, 9]},
    "a shape of nothing": {"feature_shape": [None]},
    "counts of other classes": {"class_counts": [1]},
    "a name that is a number": {"name": 7},
    "a scaling that is none": {"scaling": "evil"},
    "a hash that is a command": {"sha256": "`rm -r ~`"},
    "another field": {"evil": 1},
}


@pytest.mark.parametrize("kind", FACTS)
def test_facts_of_a_study_are_damaged(kind, swept, tmp_path):
    runs = copied(swept, tmp_path)
    path = parent_artifacts(runs) / FACTS_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | FACTS[kind]))
    with bounded(), pytest.raises(DamagedResultError, match="cannot be read"):
        read_study(runs, "tiny")


@pytest.mark.parametrize(
    "content", [f'{{"name": {DIGITS}}}', "[" * 100_000, '"text"', "[]"], ids=lambda text: text[:10]
)
@pytest.mark.parametrize("name", [FACTS_FILE, STUDY_FILE])
def test_a_file_of_a_study_is_damaged(name, content, swept, tmp_path):
    runs = copied(swept, tmp_path)
    (parent_artifacts(runs) / name).write_text(content)
    with bounded(), pytest.raises((DamagedResultError, InvalidStudyError), match=r"cannot be read|name: missing"):
        read_study(runs, "tiny")


# Prepared data


def flip(folder):
    path = folder / "test" / "y.npy"
    content = bytearray(path.read_bytes())
    content[-4] ^= 1
    path.write_bytes(content)


def replaced(name, kind):
    def spoil(folder):
        (folder / name).unlink()
        NO_FILES[kind](folder / name)

    return spoil


CACHES = {
    "a flipped label of a test row": flip,
    **{f"{kind} for {name}": replaced(name, kind) for kind in list(NO_FILES)[:2] for name in ("train/x.npy", "facts.json", "sums.json")},
    "rows that are elsewhere": lambda folder: shutil.move(folder / "train", folder.parent / "aside") and (folder / "train").symlink_to(folder.parent / "aside"),
    "sums of a file outside": lambda folder: (folder / "sums.json").write_text(json.dumps({"../../tiny.npz": "0" * 64})),
    "sums that are a list": lambda folder: (folder / "sums.json").write_text("[]"),
    "facts that are a list": lambda folder: (folder / "facts.json").write_text("[]"),
    "facts of 100,000 brackets": lambda folder: (folder / "facts.json").write_text("[" * 100_000),
    "a header without an end": lambda folder: (folder / "train" / "x.npy").write_bytes(b"\x93NUMPY\1\0\4\0{'''"),
}  # fmt: skip


@pytest.mark.parametrize("kind", CACHES)
def test_prepared_data_is_not_used(kind, tmp_path):
    write_tiny_data(tmp_path)
    spec = Data(source="tiny.npz", validation_rows=100)
    data, cache = read(spec, tmp_path), tmp_path / "cache"
    CACHES[kind](prepare(data, spec, 7, cache).folder)
    with bounded(), pytest.raises(StorageError, match="cannot be written or read"):
        prepare(data, spec, 7, cache)


N_ATTEMPTS = sum(map(len, (STUDIES, DATA, MODELS, BUNDLES, RESULTS, PREDICTIONS, FACTS, CACHES)))
