"""Every fault of a study file or its data is reported in one line, before anything is started or written."""

import json
import logging
import multiprocessing
import re
import zipfile

import numpy as np
import pandas as pd
import pytest

from sweep.cli.commands import main
from sweep.study.file import load_study
from tests.studies import STUDY

X, Y = np.arange(120.0).reshape(40, 3), np.arange(40) % 2


@pytest.fixture(autouse=True)
def _logging_as_it_was():
    logger = logging.getLogger("sweep")
    before = logger.handlers, logger.level, logger.propagate
    yield
    logger.handlers, logger.level, logger.propagate = before


@pytest.fixture
def refusal(tmp_path, capsys):
    """Return a function that runs a command, which must fail, and returns its exit code and its line on stderr."""

    def run(study, *options, command="run"):
        runs_dir = tmp_path / "mlruns"
        exit_code = main([command, str(study), "--runs-dir", str(runs_dir), *options])
        out, said = capsys.readouterr()
        assert out == ""
        assert said.startswith("error: ")
        assert said.endswith("\n")
        assert len(said.splitlines()) == 1
        assert "Traceback" not in said
        assert not runs_dir.exists()
        assert not multiprocessing.active_children()
        return exit_code, said

    return run


TWIN = '[[baselines]]\nname = "twin"\nunits = [16, 8]\ndropout = 0.5\nbatch_size = 64'
TWO_LINES = '[[baselines]]\nname = "a\\nb"'

# Slip: text of the tiny study, its replacement, and the words that the error must hold beside the file's name.
SLIPS = {
    "bad TOML": ("seed = 7", "seed = ", "not TOML"),
    "deep nesting": ("seed = 7", f"seed = {'[' * 5000}{']' * 5000}", "not TOML"),
    "an endless number": ("seed = 7", f"seed = {'7' * 5000}", "not TOML"),
    "a huge hexadecimal number": ("dropout = 0.5", f"dropout = 0x{'7' * 5000}", "dropout"),
    "unknown key": ("seed = 7", "seed = 7\nsede = 8", "sede: unknown key"),
    "unknown key of two lines": ("seed = 7", 'seed = 7\n"se\\nde" = 8', "unknown key"),
    "unknown key of an axis": ("[4, 32]}", "[4, 32], stpe = 2}", "space.units", "stpe"),
    "no name": ('name = "tiny"', "", "name: missing"),
    "a name that is a path": ('"tiny"', '"../tiny"', "name = '../tiny'"),
    "text for a number": ("seed = 7", 'seed = "7"', "seed = '7'"),
    "true for a number": ("replicates = 2", "replicates = true", "confirmation.replicates = True"),
    "a fraction of a row": (
        "validation_rows = 100",
        "validation_rows = 1.5",
        "data.validation_rows = 1.5: wanted a whole number, 0 or more, or a share",
    ),
    "seed out of range": ("seed = 7", "seed = 4294967296", "seed = 4294967296"),
    "dropout of one": ("[0.0, 0.5]", "[0.0, 1.0]", "space.dropout"),
    "dropout that is not a number": ("[0.0, 0.5]", "[nan, 0.5]", "space.dropout"),
    "a step that is not a number": ("[0.0, 0.5]}", "[0.0, 0.5], step = nan}", "space.dropout", "step"),
    "a huge step": ("[0.0, 0.5]}", f"[0.0, 0.5], step = 1{'0' * 400}}}", "space.dropout", "step"),
    "log from zero": ("[0.0, 0.5]}", "[0.0, 0.5], log = true}", "space.dropout"),
    "an empty choice": ("[1, 2]}\nunits", "[]}\nunits", "space.hidden_layers"),
    "widths for too few layers": ("{int = [4, 32]}", "[4]", "units names 1 hidden layers, wanted 2"),
    "unknown objective": ("seed = 7", 'seed = 7\nobjective = "accuracy"', "objective = 'accuracy'"),
    "a rung at the last epoch": ("rungs = [1, 2]", "rungs = [1, 5]", "search.pruner.rungs"),
    "falling rungs": ("rungs = [1, 2]", "rungs = [2, 1]", "search.pruner"),
    "grid on a continuous space": ("trials = 4", 'trials = 4\nsampler = "grid"', "search.sampler is 'grid'"),
    "a step too small to count": ("[0.0, 0.5]}", "[0.0, 0.5], step = 5e-324}", "space.dropout", "step"),
    "nothing to select by": ("validation_rows = 100", "validation_rows = 0", "data.validation_rows is 0"),
    "two baselines of one config": ("[[baselines]]", f"{TWIN}\n[[baselines]]", "baselines: two have the same config"),
    "a name of two lines twice": (
        '[[baselines]]\nname = "by hand"',
        f"{TWO_LINES}\nunits = [4]\n{TWO_LINES}",
        "baselines.0.name",
        "wanted up to 80 letters",
    ),
    "a name that is markup": ('name = "by hand"', 'name = "by [/hand]"', "baselines.0.name", "wanted up to 80 letters"),
    "an empty file": (STUDY, "", "name: missing", "seed: missing", "data: missing"),
    "a key that is nearly one": (
        "replicates = 2",
        "replciates = 2",
        "confirmation.replciates: unknown key, nearest is 'replicates'",
        "studies/README.md",
    ),
    "a key that is nearly one in a table of several": (
        "units = [16, 8]",
        "unit = [16, 8]",
        "baselines.0.unit: unknown key, nearest is 'units'; baselines.0.units: missing",
    ),
    "a key like none": ("seed = 7", "seed = 7\nzzz = 1", "zzz: unknown key, known are name, seed, objective,"),
    "three faults": (
        "seed = 7",
        'seed = "7"\nobjective = 1\nsede = 1',
        "sede: unknown key",
        "; seed = '7': wanted a whole number; objective = 1: wanted 'val_accuracy', 'val_loss',",
    ),
    "an entry of a list": ("rungs = [1, 2]", "rungs = [0]", "search.pruner.rungs.0 = 0: wanted 1 or more\n"),
}


def test_a_study_file_with_a_byte_order_mark_is_read(tmp_path):
    path = tmp_path / "bom.toml"
    path.write_text(STUDY, encoding="utf-8-sig")
    assert load_study(path)[0].name == "tiny"


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_in_a_study_file_is_refused(slip, tmp_path, refusal):
    old, new, *named = SLIPS[slip]
    assert STUDY.count(old) == 1
    path = tmp_path / "slip.toml"
    path.write_text(STUDY.replace(old, new))
    exit_code, said = refusal(path)
    assert exit_code == 2
    assert all(name in said for name in [str(path), *named])


# Values that a key cannot take, as TOML.
WRONG_VALUES = {
    "name": ['""', '"Tiny"', '"a b"', '"a/b"', f'"{"a" * 65}"', '".tiny"', "7"],
    "seed": ["-1", "1.5", "true", "[7]", "1979-05-27"],
    "objective": ['""', '"test_accuracy"', "1"],
    "data.source": ["7", "[]"],
    "data.label": ["3"],
    "data.drop": ['"id"', "1", "[1]", "{}"],
    "data.missing": ['"?"', "[-999]", "false"],
    "data.separator": ['""', '";;"', '"\\n"', '"a"', '"."', '"5"', "'\"'", '"é"', "1"],
    "data.validation_rows": ["-1", '"100"', "true", "1e2"],
    "data.train_rows": ["0", "1", "0.5"],
    "data.test_rows": ["0", "-5"],
    "space.hidden_layers": ["0", "21", "1.5", '"2"', "{}", "{int = [1]}", "{int = [3, 1]}", "{float = [1, 2]}", "{choice = [1, 1]}", "{int = [1, 2], log = 1}"],
    "space.units": ["0", "65537", "[]", "{int = [0, 8]}", "{int = [8, 16], step = 0}", "{int = [8, 16], step = 1.5}", "{int = [8, 16], step = 2, log = true}", "[8, {int = [9, 3]}]"],
    "space.dropout": ["1", "-0.1", "true", "inf", "{choice = 0.5}"],
    "space.batch_size": ["0", "1e3", "{int = [32, 64, 128]}"],
    "space.learning_rate": ["0", "11", "-1e-3"],
    "space.batch_norm": ["1", '"yes"', "{choice = [true, 1]}"],
    "space.optimizer": ['"adamw"', "1", "{choice = []}", '{choice = ["adam", "adam"]}', "{int = [1, 2]}"],
    "space.schedule": ['"linear"', "true", '{choice = ["cosine", 1]}'],
    "space.weight_decay": ["-0.1", "1.5", '"none"', "nan", "{float = [0, 0.1], log = true}"],
    "space.label_smoothing": ["1", "-0.1", "false"],
    "space.input_dropout": ["1", "-0.1", '"0.1"'],
    "space.activation": ['"ReLU"', '"tanh"', "0"],
    "space.max_norm": ["-1", "1001", "inf", "true"],
    "space.ema": ["1", "-0.5", "{float = [0.9, 1.0]}"],
    "space.augment_shift": ["-1", "1001", '"a little"'],
    "space.augment_rotation": ["-1", "181"],
    "space.augment_scale": ["1", "-0.1"],
    "space.augment_elastic": ["-1", "nan"],
    "training.max_epochs": ["0", "10001", "1.5"],
    "training.early_stopping": ["3", '{monitor = "test_accuracy"}', "{patience = 0}", "{min_delta = -1}", "{min_delta = inf}", "{min_delta = nan}"],
    "search.trials": ["-1", "1.0"],
    "search.sampler": ['"cmaes"', '"TPE"'],
    "search.coverage": ['"even"', "true"],
    "search.workers": ["0", "10001"],
    "search.pruner": ['"halving"', '{kind = "asha", rungs = [1]}', '{kind = "median"}', '{kind = "median", rungs = [0]}', '{kind = "median", rungs = []}', '{kind = "halving", rungs = [1], reduction_factor = 1}'],
    "confirmation.replicates": ["0", "1001"],
    "confirmation.group_by": ['"units"', '"dropout"'],
    "baselines.0.units": ["[]", "8", "[0]", f"[{', '.join(['8'] * 21)}]"],
    "baselines.0.dropout": ["1", "-0.5", '"none"'],
    "baselines.0.batch_size": ["0", "64.0"],
    "baselines.0.optimizer": ['"adamw"', "1"],
    "baselines.0.schedule": ['"linear"', "true", '{choice = ["cosine", "constant"]}'],
    "baselines.0.weight_decay": ["-0.1", "1.5", "nan"],
    "baselines.0.label_smoothing": ["1", "-0.1"],
    "baselines.0.input_dropout": ["1", "-0.1", '"0.1"'],
    "baselines.0.activation": ['"ReLU"', "0"],
    "baselines.0.max_norm": ["-1", "1001"],
    "baselines.0.ema": ["1", "-0.5"],
    "baselines.0.augment_shift": ["-1", "1001"],
    "baselines.0.augment_rotation": ["-1", "181"],
    "baselines.0.augment_scale": ["1", "-0.1"],
    "baselines.0.augment_elastic": ["-1", "nan"],
    "baselines.0.reference": ["0.98", "{accuracy = 0.98}", '{test_accuracy = "0.98"}', "{test_accuracy = nan}", "{test_loss = inf}", "{test_loss = -0.1}"],
}  # fmt: skip


@pytest.mark.parametrize(("key", "value"), [(key, value) for key in WRONG_VALUES for value in WRONG_VALUES[key]])
def test_a_value_that_its_key_cannot_take_is_refused_under_the_key_s_name(key, value, tmp_path, refusal):
    section, _, name = key.replace("baselines.0", "[baselines]").rpartition(".")
    head, heading, rest = STUDY.rpartition(f"[{section}]\n") if section else ("", "", STUDY)
    kept, end, other = rest.partition("\n[")
    lines = [line for line in kept.splitlines() if not line.startswith(f"{name} =")]
    path = tmp_path / "wrong.toml"
    path.write_text("\n".join([head + heading.rstrip(), f"{name} = {value}", *lines]) + end + other)
    exit_code, said = refusal(path)
    assert exit_code == 2
    assert f"{path}: {key}" in said
    assert re.search("wanted (?!another value)|missing", said), "in our words, not in pydantic's"


@pytest.mark.parametrize("command", ["run", "report", "export"])
def test_a_study_file_that_is_not_there_is_refused_by_every_command(command, tmp_path, refusal):
    exit_code, said = refusal(tmp_path / "missing.toml", command=command)
    assert exit_code == 2
    assert str(tmp_path / "missing.toml") in said


@pytest.mark.parametrize(
    ("write", "named"),
    [
        (lambda path: path.mkdir(), "cannot be read"),
        (lambda path: path.write_bytes(b"name = '\xff'"), "not UTF-8"),
        (lambda path: path.write_bytes(b"\x00" * 100), "not TOML"),
        (lambda path: path.write_bytes(b"#" * (1 << 21)), "wanted 1048576 at most"),
    ],
    ids=["a directory", "not UTF-8", "zeros", "too large"],
)
def test_what_is_no_study_file_is_refused(write, named, tmp_path, refusal):
    write(tmp_path / "odd.toml")
    exit_code, said = refusal(tmp_path / "odd.toml")
    assert exit_code == 2
    assert str(tmp_path / "odd.toml") in said
    assert named in said


BASELINES_ONLY = 'name = "few"\nseed = 1\ndata.validation_rows = 9\ntraining.max_epochs = 1\n'
BASELINES_ONLY += 'data.source = "missing.npz"\nbaselines = [{name = "one", units = [4]}]\n'
NO_BASELINES = "space = {hidden_layers = 1, units = 8}\nsearch.trials = 1\n"


@pytest.mark.parametrize(
    ("study", "options"),
    [
        (STUDY, ["--trials", "-1"]),
        (STUDY, ["--minutes", "0"]),
        (STUDY, ["--minutes", "nan"]),
        (STUDY, ["--minutes", "inf"]),
        (STUDY, ["--workers", "0"]),
        (STUDY, ["--workers", "-2"]),
        (STUDY, ["--workers", "100000"]),  # a study file may ask for up to 10,000
        (BASELINES_ONLY, ["--trials", "3"]),  # there is no space to search
        (BASELINES_ONLY.replace("baselines = ", "#") + NO_BASELINES, ["--trials", "0"]),  # nothing is left to train
    ],
)
def test_an_option_that_the_study_cannot_take_is_refused(study, options, tmp_path, refusal):
    (tmp_path / "study.toml").write_text(study)
    exit_code, said = refusal(tmp_path / "study.toml", *options)
    assert exit_code == 2
    assert options[0].removeprefix("--") in said


@pytest.mark.parametrize(
    ("slip", "named"),
    [
        ({"source": "missing.npz"}, "missing.npz"),
        ({"source": "."}, "no such file"),
        ({"source": "mis\nsing.npz"}, "sing.npz"),
        ({"source": "rows.xlsx"}, "cannot read .xlsx"),
        ({"source": "rows"}, "without a suffix"),
        ({"source": "rows.csv"}, "rows.csv: name its label column with data.label"),
        ({"source": "mnist", "validation_rows": 60_000}, "mnist has 60000 rows"),
        ({"source": "mnist", "test_rows": 100}, "data.test_rows = 100"),
        ({"source": "mnist", "validation_rows": 9}, "data.validation_rows = 9"),
        ({"validation_rows": 39}, "rows.npz has 40 rows"),
        ({"validation_rows": 20, "train_rows": 21}, "rows.npz has 40 rows"),
        ({"validation_rows": 20, "test_rows": 21}, "rows.npz has 40 rows"),
        ({"validation_rows": 1}, "data.validation_rows = 1"),
        ({"test_rows": 1}, "data.test_rows = 1"),
    ],
)
def test_rows_that_the_data_does_not_have_are_refused(slip, named, tmp_path, refusal):
    np.savez(tmp_path / "rows.npz", x_train=X, y_train=Y)
    for name in ("rows", "rows.csv", "rows.xlsx"):
        (tmp_path / name).write_text("nothing")
    exit_code, said = refusal(write_study(tmp_path, **{"source": "rows.npz", **slip}))
    assert exit_code == 1
    assert named in said


@pytest.mark.parametrize(
    ("asked", "key"),
    [
        ("space = {hidden_layers = 1, units = 4, augment_rotation = {float = [0, 10]}}", "space.augment_rotation"),
        ("", "augment_shift of baseline 'one'"),
    ],
)
def test_distortion_of_rows_that_are_no_images_is_refused(asked, key, tmp_path, refusal):
    np.savez(tmp_path / "rows.npz", x_train=X, y_train=Y)
    study = write_study(tmp_path, source="rows.npz")
    more = "" if asked else ", augment_shift = 1.0"
    study.write_text(f"{asked}\n" + study.read_text().replace("units = [4]}", f"units = [4]{more}}}"))
    exit_code, said = refusal(study)
    assert exit_code == 1
    assert f"{key}: rows.npz holds rows of " in said


def write_study(folder, **data):
    """A study of one baseline on `data`."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in {"validation_rows": 10, **data}.items()]
    head = 'name = "few"\nseed = 1\nbaselines = [{name = "one", units = [4]}]\ntraining.max_epochs = 1\n[data]\n'
    (folder / "few.toml").write_text(head + "\n".join(lines))
    return folder / "few.toml"


def arrays(**replaced):
    """A writer of an .npz with some arrays replaced; None leaves one out."""
    whole = {"x_train": X, "y_train": Y, "x_test": X[:4], "y_test": Y[:4], **replaced}
    return lambda path: np.savez(path, **{name: array for name, array in whole.items() if array is not None})


def damaged(at, patch, save=np.savez):
    """A writer of an .npz with bytes overwritten; `at` is a place, or the bytes to find it by."""

    def write(path):
        save(path, x_train=X, y_train=Y)
        whole = bytearray(path.read_bytes())
        start = whole.index(at) + 8 if isinstance(at, bytes) else at
        whole[start : start + len(patch)] = patch
        path.write_bytes(whole)

    return write


def truncated(path):
    np.savez(path, x_train=X, y_train=Y)
    path.write_bytes(path.read_bytes()[:600])


def bare_array(path):
    with path.open("wb") as file:
        np.save(file, X)


def zip_of_text(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x_train.npy", "text")
        file.writestr("y_train.npy", "text")


def endless_array(path):
    header = {"descr": "<f8", "fortran_order": False, "shape": (1 << 50, 3)}
    with zipfile.ZipFile(path, "w") as file, file.open("x_train.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, header)


def zip_bomb(path):
    """A petabyte, says its directory; nobody has to unpack it to find out."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x_train.npy", bytes(2**20))
        [info] = file.infolist()
        info.file_size = 2**50


NAN, SINGLE = np.where(X == 50, np.nan, X), np.where(np.arange(40) == 3, 9, Y)
NPZ = {
    "pickled objects": (arrays(x_train=np.array([[{}], [{}]])), "not a readable .npz"),
    "cut off": (truncated, "not a readable .npz"),
    "empty": (lambda path: path.write_bytes(b""), "not a readable .npz"),
    "a wrong checksum": (damaged(400, b"\xff\xff"), "not a readable .npz"),
    "broken compression": (damaged(80, b"\xff" * 40, np.savez_compressed), "not a readable .npz"),
    "encrypted": (damaged(b"PK\x01\x02", b"\x01"), "not a readable .npz"),
    "an array that is no archive": (bare_array, "not a readable .npz"),
    "an archive without arrays": (zip_of_text, "x_train"),
    "more rows than any memory": (endless_array, "not a readable .npz"),
    "more bytes than any memory": (zip_bomb, "more than half of this machine's memory"),
    "no labels": (arrays(y_train=None), "has no array y_train"),
    "rows and labels differ in number": (arrays(y_train=Y[:39]), "y_train has 39 labels for 40 rows"),
    "NaN in rows": (arrays(x_train=NAN), "x_train holds 1 values that are NaN"),
    "infinity in test rows": (arrays(x_test=X[:4] + np.inf), "x_test holds 12 values"),
    "too large to take differences of": (arrays(x_train=X * 1e300), "x_train holds numbers beyond 1e+290"),
    "text for rows": (arrays(x_train=X.astype(str)), "x_train is <U"),
    "no rows": (arrays(x_train=X[:0], y_train=Y[:0]), "x_train is float64 (0, 3)"),
    "fractional labels of classes": (
        arrays(y_train=Y / 2),
        "y_train is a number to predict, such as 0.5, which is no class; data.task = 'regression'",
        {"task": "classification"},
    ),
    "two labels a row": (
        arrays(y_train=np.ones((40, 2), int)),
        "y_train is int64 (40, 2), wanted one label a row, or one-hot",
    ),
    "labels of three axes": (arrays(y_train=Y.reshape(40, 1, 1)), "y_train is int64 (40, 1, 1), wanted one"),
    "a single label": (arrays(y_train=np.array(1)), "y_train is int64 (), wanted one"),
    "complex labels": (arrays(y_train=Y * 1j), "y_train is complex128 (40,), wanted one"),
    "labels that are missing": (arrays(y_train=np.where(Y, np.nan, 1.0)), "y_train has 20 rows without a label (NaN)"),
    "labels that are infinite": (arrays(y_train=np.where(Y, np.inf, 1.0)), "y_train holds 20 numbers beyond 1e+150"),
    "labels in bytes of another encoding": (
        arrays(y_train=np.array([b"\xe9", b"e"])[Y]),
        "y_train holds bytes that are not UTF-8",
    ),
    "truth values to test on whole numbers": (arrays(y_test=Y[:4] > 0), "y_test holds bool, y_train int64"),
    "a key of tables": (arrays(), "rows.npz: data.drop is for tables (.csv, ", {"drop": ["a"]}),
    "a label column": (arrays(), "rows.npz: data.label is for tables", {"label": "y"}),
    "one class": (arrays(y_train=Y * 0), "y_train has one class only"),
    "a class with a single row": (arrays(y_train=SINGLE), "class 9 has a single row"),
    "test rows without labels": (arrays(y_test=None), "one of x_test and y_test"),
    "test rows of another width": (arrays(x_test=X[:4, :2]), "x_test has rows of float64 (2,)"),
    "an unknown class in the test labels": (arrays(y_test=Y[:4] + 1), "y_test holds a class that y_train does not: 2"),
}


def text(content, encoding="utf-8"):
    return lambda path: path.write_text(content, encoding=encoding)


def table(**columns):
    return lambda path: pd.DataFrame(columns).to_parquet(path)


CSV = {
    "empty": (text(""), "rows.csv: empty; wanted a line of column names"),
    "a heading only": (text("a,y\n"), "rows.csv: has no rows"),
    "labels only": (text("y\n1\n2\n"), "one column beside 'y'"),
    "another label column": (text("a,Y\n1,2\n"), "data.label = 'y'"),
    "another label column beside one of two lines": (text('"a\nb",Y\n1,2\n'), "data.label = 'y'"),
    "a column of free text": (
        text("a,b,y\n" + "".join(f"1,red {i},{i % 2}\n" for i in range(12))),
        "free text: column 'b'",
    ),
    "a column of nothing": (text("a,b,y\n1,,0\n,,1\n"), "no values: column 'b'"),
    "a row without a label": (text("a,y\n1,0\n2,\n"), "column 'y' has 1 rows without a label, the first on line 3"),
    "rows of two lengths": (text("a,y\n1,0\n1,2,3\n"), "the header names 2 columns, line 3 has 3 values"),
    "Latin-1": (text("a,y\n1,caf\xe9\n", "latin-1"), "not UTF-8 text: byte 0xe9 on line 2; save it as UTF-8"),
    "too large to take differences of": (text("a,y\n1e300,0\n2,1\n"), "infinite or too large: column 'a' (line 2)"),
    "a single row of a class of two lines": (text('a,y\n1,"b\nc"\n' + "2,d\n" * 12), "single row"),
}
PARQUET = {
    "text": (text("a,y\n1,0\n"), "not a readable .parquet"),
    "lists in a column": (table(a=[[1.0], [2.0]], y=[0, 1]), "column 'a'"),
    "lists for labels": (table(a=[1.0, 2.0], y=[[0], [1]]), "y"),
    "dates for labels": (table(a=[1.0, 2.0], y=pd.to_datetime(["2019-06-01", "2019-06-02"])), "y"),
}
FILES = {(suffix, what): of[what] for suffix, of in [("npz", NPZ), ("csv", CSV), ("parquet", PARQUET)] for what in of}


@pytest.mark.parametrize(("suffix", "what"), FILES)
def test_a_data_file_that_cannot_be_trained_on_is_refused(suffix, what, tmp_path, refusal):
    write, named, *data = FILES[suffix, what]
    source = f"rows.{suffix}"
    write(tmp_path / source)
    of_tables = {} if suffix == "npz" else {"label": "y"}
    exit_code, said = refusal(write_study(tmp_path, source=source, **of_tables, **dict(*data)))
    assert exit_code == 1
    assert source in said
    assert named in said


def test_a_study_of_classes_is_told_that_its_labels_are_a_number_to_predict(tmp_path, capsys):
    arrays(y_train=Y / 4 + np.arange(40))(tmp_path / "rows.npz")
    study = tmp_path / "tiny.toml"
    study.write_text(STUDY.replace("tiny.npz", "rows.npz").replace("validation_rows = 100", "validation_rows = 10"))
    assert main(["run", str(study), "--runs-dir", str(tmp_path / "mlruns")]) == 2
    inferred, error = capsys.readouterr().err.splitlines()
    assert "rows.npz: its labels are a number to predict (40 values in 40 rows), so this is a regression" in inferred
    assert error.startswith("error: ")
    assert (
        "training.early_stopping.monitor = 'val_accuracy' is a metric of classification, and the task is regression"
        in error
    )


@pytest.mark.parametrize("command", ["report", "export"])
def test_a_study_that_was_never_run_has_nothing_to_show(command, study_file, refusal):
    exit_code, said = refusal(study_file, command=command)
    assert exit_code == 1
    assert "mlruns" in said


@pytest.mark.parametrize("command", ["run", "sync", "doctor"])
def test_a_record_that_is_no_database_is_one_line(command, study_file, tmp_path, capsys):
    (tmp_path / "mlruns").mkdir()
    (tmp_path / "mlruns" / "optuna.db").write_bytes(b"mine" * 1000)
    assert main([command, str(study_file), "--runs-dir", str(tmp_path / "mlruns")]) == 4
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("error: cannot ")
    assert "optuna.db: " in said
    assert (tmp_path / "mlruns" / "optuna.db").read_bytes() == b"mine" * 1000


def test_a_runs_directory_that_is_a_file_is_refused(study_file, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    assert main(["run", str(study_file), "--runs-dir", str(tmp_path / "notes.txt")]) == 4
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert "notes.txt" in said
    assert len(said.splitlines()) == 1
    assert (tmp_path / "notes.txt").read_text() == "mine"
