import hashlib
import json
import os
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from sweep.data import files as data_files
from sweep.data.facts import DataFacts
from sweep.data.files import check_images, check_rows, read
from sweep.data.prepared import (
    find_prepared,
    open_scaling,
    open_test_split,
    open_training_split,
    pack_training_rows,
    prepare,
    read_drawn_test_rows,
    read_sample,
    unpack_training_rows,
)
from sweep.durable.files import name_draft
from sweep.errors import InvalidDataError, StorageError
from sweep.study.schema import Data
from tests.studies import write_tiny_data

N_OF_CLASS = {"ant": 61, "bee": 30, "cat": 9}  # rows
N = sum(N_OF_CLASS.values())
ROWS = np.stack([np.arange(N) * 1.5, np.arange(N) / 2], axis=1)  # a test knows a row by its first feature
LABELS = np.random.default_rng(0).permutation(np.repeat(list(N_OF_CLASS), list(N_OF_CLASS.values())))


@pytest.fixture
def folder(tmp_path):
    """The same rows as .csv, .parquet and .npz, without a test split."""
    frame = pd.DataFrame({"place": ROWS[:, 0], "animal": LABELS, "half": ROWS[:, 1]})
    frame.to_csv(tmp_path / "rows.csv", index=False)
    frame.to_parquet(tmp_path / "rows.parquet")
    np.savez(tmp_path / "rows.npz", x_train=ROWS, y_train=LABELS)
    return tmp_path


def prepared(folder, *, seed=0, source="rows.csv", cache="cache", **entries):
    label = None if source.endswith(".npz") else "animal"
    spec = Data(source=source, label=label, **{"validation_rows": 20, **entries})
    rows = read(spec, folder)
    check_rows(rows, spec)
    return prepare(rows, spec, seed, folder / cache)


def given(folder):
    """A prepared source that has a test split of its own."""
    np.savez(folder / "split.npz", x_train=ROWS, y_train=LABELS, x_test=ROWS[:10], y_test=LABELS[:10])
    return prepared(folder, source="split.npz")


def ids(of, part):
    """Row numbers of a part."""
    if part == "test":
        return np.searchsorted(ROWS[:, 0], open_test_split(of).x[:, 0]).tolist()
    return np.searchsorted(open_scaling(of).apply(ROWS)[:, 0], open_training_split(of, part).x[:, 0]).tolist()


def parts(of):
    """Row numbers of the three parts."""
    return [ids(of, part) for part in ("train", "validation", "test")]


def test_mnist_has_the_rows_everyone_knows():
    mnist = read(Data(validation_rows=6000), None)
    assert (mnist.x_train.shape, mnist.x_train.dtype) == ((60_000, 28, 28), np.uint8)
    assert (mnist.x_test.shape, mnist.y_test.shape) == ((10_000, 28, 28), (10_000,))
    assert mnist.y_train[:5].tolist() == [5, 0, 4, 1, 9]  # as on yann.lecun.com/exdb/mnist
    assert np.bincount(mnist.y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_rows_that_are_gone_are_not_sent_to_other_machines_and_their_folder_is_named(folder):
    made = prepared(folder)
    (made.folder / "scaling.npy").unlink()
    (made.folder / "scaling.npy").mkdir()
    with pytest.raises(StorageError, match=f"^{made.folder}: cannot be written or read"):
        pack_training_rows(made)


@pytest.mark.parametrize("name", ["x_train", "y_train", "x_test", "y_test"])
def test_a_damaged_mnist_is_refused(name, monkeypatch):
    monkeypatch.setitem(data_files.MNIST_SHA256, name, hashlib.sha256(b"other").hexdigest())
    with pytest.raises(InvalidDataError, match=f"damaged: {name} has another sha256"):
        read(Data(validation_rows=6000), None)


@pytest.mark.parametrize("source", ["rows.csv", "rows.parquet", "rows.npz"])
def test_every_format_gives_the_same_rows_classes_and_split(folder, source):
    found = prepared(folder, source=source, test_rows=10)
    facts = found.facts
    assert (facts.name, facts.classes, facts.n_features) == (source, ("ant", "bee", "cat"), 2)
    assert (facts.n_train, facts.n_validation, facts.n_test, facts.n_classes) == (70, 20, 10, 3)
    train = open_training_split(found, "train")
    assert (train.x.dtype, train.y.dtype) == (np.float32, np.int32)
    assert np.array_equal(train.x, open_scaling(found).apply(ROWS[ids(found, "train")]))
    assert [facts.classes[y] for y in train.y] == LABELS[ids(found, "train")].tolist()
    assert parts(found) == parts(prepared(folder, test_rows=10))


@pytest.mark.parametrize("source", ["rows.csv", "rows.parquet", "rows.npz"])
def test_a_file_that_unpacks_to_more_than_half_of_memory_is_refused(folder, monkeypatch, source):
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 1, "SC_PAGE_SIZE": 2048}.get)
    with pytest.raises(InvalidDataError, match=rf"{source}: unpacks to .*, more than half of this machine's memory"):
        prepared(folder, source=source)


@pytest.mark.parametrize("entries", [{}, {"test_rows": 17}, {"train_rows": 33}, {"train_rows": 33, "test_rows": 17}])
def test_a_split_is_disjoint_and_has_the_rows_asked_for(folder, entries):
    train, validation, test = parts(prepared(folder, **entries))
    n_test = entries.get("test_rows", 0)
    assert [len(train), len(validation), len(test)] == [entries.get("train_rows", N - 20 - n_test), 20, n_test]
    assert len({*train, *validation, *test}) == len(train) + len(validation) + len(test)


@pytest.mark.parametrize("seed", range(5))
def test_a_split_has_every_class_in_its_share_to_within_a_row(folder, seed):
    for part in parts(prepared(folder, seed=seed, test_rows=17, train_rows=33)):
        for name, n in N_OF_CLASS.items():
            assert abs((LABELS[part] == name).sum() - len(part) * n / N) <= 1


def test_a_split_follows_from_the_seed(folder):
    entries = {"test_rows": 17, "train_rows": 33}
    one, other = prepared(folder, seed=1, **entries), prepared(folder, seed=2, **entries)
    assert one.folder != other.folder
    assert all(a != b for a, b in zip(parts(one), parts(other), strict=True))
    again = prepared(folder, seed=1, cache="another cache", **entries)
    assert again.folder != one.folder
    assert parts(again) == parts(one)


def test_fewer_train_rows_are_a_subset_and_leave_the_other_parts_alone(folder):
    whole, fewer = parts(prepared(folder, test_rows=10)), parts(prepared(folder, test_rows=10, train_rows=40))
    assert set(fewer[0]) < set(whole[0])
    assert fewer[1:] == whole[1:]


@pytest.mark.parametrize("train_rows", [78, 79, 80])  # 80 are left
def test_train_rows_may_take_all_but_a_few_of_what_is_left(folder, train_rows):
    assert prepared(folder, train_rows=train_rows).facts.n_train == train_rows


def test_other_validation_rows_leave_the_sealed_rows_alone(folder):
    one, other = (parts(prepared(folder, test_rows=10, validation_rows=n)) for n in (20, 30))
    assert one[2] == other[2]


def test_no_validation_rows_leave_an_empty_part(folder):
    train, validation, test = parts(prepared(folder, validation_rows=0))
    assert (len(train), validation, test) == (N, [], [])


@pytest.mark.parametrize(
    ("dtype", "as_in_the_data"),
    [(np.uint8, np.uint8), (np.uint16, np.float32), (np.float32, np.float32), (np.int64, float), (float, float)],
)
def test_bytes_are_pixels_and_other_numbers_are_scaled_by_the_training_rows(tmp_path, dtype, as_in_the_data):
    x = np.arange(40 * 6).reshape(40, 2, 3).astype(dtype)
    np.savez(tmp_path / "rows.npz", x_train=x, y_train=np.arange(40) % 2, x_test=x[:4], y_test=np.arange(4) % 2)
    found = prepared(tmp_path, source="rows.npz")
    is_pixels = dtype is np.uint8
    assert found.facts.scaling == ("pixels" if is_pixels else "robust")
    assert (found.facts.n_features, found.facts.feature_shape, found.facts.n_test) == (6, (2, 3), 4)
    assert open_test_split(found).x.dtype == as_in_the_data
    assert np.array_equal(open_test_split(found).x, x[:4].reshape(4, 6))
    train = open_training_split(found, "train").x
    if not is_pixels:
        assert (train.dtype, np.median(train)) == (np.float32, 0)
        np.testing.assert_array_equal(train, open_scaling(found).apply(read_sample(found)))
    assert np.isin(read_sample(found), x).all()


@pytest.mark.parametrize("scaling", ["robust", "standard"])
def test_rows_that_are_not_trained_on_have_no_part_in_the_scaling(folder, scaling):
    before = prepared(folder, test_rows=10, scaling=scaling)
    held_out = [*ids(before, "validation"), *ids(before, "test")]
    changed = ROWS.copy()
    changed[held_out] = 1e6
    np.savez(folder / "changed.npz", x_train=changed, y_train=LABELS)
    after = prepared(folder, source="changed.npz", test_rows=10, scaling=scaling)
    assert np.array_equal(open_training_split(before, "train").x, open_training_split(after, "train").x)
    assert not np.array_equal(open_training_split(before, "validation").x, open_training_split(after, "validation").x)


def test_another_scaling_is_another_prepared_folder(folder):
    robust, standard = prepared(folder), prepared(folder, scaling="standard")
    assert standard.facts.scaling == "standard"
    assert np.allclose(open_training_split(standard, "train").x.std(axis=0), 1)
    assert robust.folder == prepared(folder, scaling="robust").folder != standard.folder


def test_a_scaling_asked_for_pixels_is_refused(tmp_path):
    np.savez(tmp_path / "rows.npz", x_train=np.zeros((40, 2), np.uint8), y_train=np.arange(40) % 2)
    with pytest.raises(InvalidDataError, match=r"data\.scaling = 'robust': rows.npz holds bytes"):
        prepared(tmp_path, source="rows.npz", scaling="robust")


@pytest.mark.parametrize(
    ("shape", "dtype", "image"),
    [
        ((4, 6), np.uint8, (4, 6, 1)),
        ((4, 6, 3), np.uint8, (4, 6, 3)),
        ((4, 6), np.float32, None),
        ((24,), np.uint8, None),
        ((1, 24), np.uint8, None),
        ((2, 3, 5), np.uint8, None),
    ],
)
def test_images_are_rows_of_bytes_with_a_height_and_a_width(tmp_path, shape, dtype, image):
    x = np.random.default_rng(0).integers(0, 256, (40, *shape)).astype(dtype)
    np.savez(tmp_path / "rows.npz", x_train=x, y_train=np.arange(40) % 2)
    assert prepared(tmp_path, source="rows.npz", test_rows=10).facts.image_shape == image
    rows = read(Data(source="rows.npz", validation_rows=0), tmp_path)
    if image is not None:
        check_images(rows, "space.augment_shift")
        return
    with pytest.raises(
        InvalidDataError, match=r"space\.augment_shift: rows\.npz holds rows of .*, which are no images"
    ) as told:
        check_images(rows, "space.augment_shift")
    assert "(" + ", ".join(map(str, ("n", *shape))) + ")" in str(told.value)


@pytest.mark.parametrize("number", [1e291, -1e308])
def test_numbers_too_large_to_take_differences_of_are_refused(tmp_path, number):
    x = np.arange(80.0).reshape(40, 2)
    x[7, 1] = number
    np.savez(tmp_path / "rows.npz", x_train=x, y_train=np.arange(40) % 2)
    with pytest.raises(InvalidDataError, match="x_train holds numbers beyond 1e\\+290; rescale it"):
        prepared(tmp_path, source="rows.npz")


def test_classes_keep_their_numbers_in_a_test_split_that_lacks_some(tmp_path):
    x = np.arange(40.0).reshape(20, 2)
    np.savez(tmp_path / "rows.npz", x_train=x, y_train=np.arange(20) % 2 * 5 + 2, x_test=x[:2], y_test=np.array([7, 7]))
    found = prepared(tmp_path, source="rows.npz", validation_rows=4)
    assert found.facts.classes == ("2", "7")
    assert open_test_split(found).y.tolist() == [1, 1]


def test_preparing_twice_uses_what_is_there(folder):
    first = prepared(folder)
    written = {path: path.stat().st_mtime_ns for path in (folder / "cache").rglob("*")}
    assert prepared(folder) == first
    assert {path: path.stat().st_mtime_ns for path in (folder / "cache").rglob("*")} == written
    assert [path.name for path in (folder / "cache").iterdir()] == [first.folder.name]


def test_prepared_rows_are_on_the_disk_before_they_have_their_name(folder, disk_calls):
    rows = prepared(folder).folder
    [at] = [i for i, (call, _) in enumerate(disk_calls) if call == "rename"]
    draft = disk_calls[at][1]
    written = {draft / path.relative_to(rows) for path in (rows, *rows.rglob("*"))}
    assert {path for _, path in disk_calls[:at]} == written
    assert disk_calls[at + 1 :] == [("sync", rows.parent)]


def test_what_a_killed_process_of_the_same_id_has_left_is_no_obstacle(folder):
    rows = prepared(folder).folder
    rows.rename(name_draft(rows))
    assert prepared(folder).folder == rows
    assert [path.name for path in rows.parent.iterdir()] == [rows.name]


def test_a_folder_that_cannot_be_written_is_no_fault_of_the_data(folder):
    (folder / "cache").write_text("in the way")
    with pytest.raises(StorageError, match=r"cannot be written or read .* choose another --runs-dir"):
        prepared(folder)


@pytest.mark.parametrize("part", ["train", "validation", "test"])
@pytest.mark.parametrize("name", ["x.npy", "y.npy"])
@pytest.mark.parametrize("change", [lambda rows: rows[:-1], lambda rows: rows[..., None]])
def test_prepared_rows_of_another_shape_are_refused_before_anything_is_trained_on_them(folder, part, name, change):
    path = prepared(folder, test_rows=10).folder / part / name
    np.save(path, change(np.load(path)))
    with pytest.raises(
        StorageError, match=rf"{path.parent.parent}: cannot be written or read \({part} is .* remove it"
    ):
        prepared(folder, test_rows=10)


def test_changed_rows_are_prepared_anew(folder):
    before = prepared(folder)
    text = (folder / "rows.csv").read_text().replace("ant", "elk", 1)
    (folder / "rows.csv").write_text(text)
    with pytest.raises(InvalidDataError, match="elk has a single row"):
        prepared(folder)
    (folder / "rows.csv").write_text(text.replace("ant", "elk", 1))
    after = prepared(folder)
    assert (after.folder, after.facts.sha256) != (before.folder, before.facts.sha256)


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_prepared_arrays_are_mapped_and_no_write_to_them_reaches_the_files(folder, part):
    found = prepared(folder, test_rows=10)

    def opened():
        return open_test_split(found) if part == "test" else open_training_split(found, part)

    for name in ("x", "y"):
        before = np.array(getattr(opened(), name))
        array = getattr(opened(), name)
        assert isinstance(array, np.memmap)
        with suppress(ValueError):  # it may as well be refused
            array[:] = 99
        assert np.array_equal(getattr(opened(), name), before)


def test_facts_survive_being_stored(folder):
    found = prepared(folder)
    stored = json.loads((found.folder / "facts.json").read_text())
    assert tuple(stored["classes"]) == found.facts.classes
    assert prepared(folder).facts == found.facts


@pytest.mark.parametrize(
    ("source", "entries", "name", "digest"),
    [
        ("tiny.npz", {}, "766455bef6e1da62", "598640e650b048484ce3bd807dfe907e4029c562705d2d52b6021f45d62192ae"),
        (
            "tiny.npz", {"train_rows": 200},
            "d00569cf9198852a", "450122c74e10f8841a40cc34af5fa1bc4fb8267908f54e8d88c966f76c350865",
        ),
        (
            "rows.csv", {"validation_rows": 20, "train_rows": 33, "test_rows": 17},
            "ed4ea298520a321a", "c232f5b3ca4815e8c473ff25ede693d6d2e244328181f7e5b9ba2b311653cf2c",
        ),
    ],
)  # fmt: skip
def test_a_prepared_folder_stays_what_it_was_to_the_byte(folder, source, entries, name, digest):
    # Pixels: of version 0.1.0. Another split trains other models under the seeds and names of stored trials: raise CACHE_VERSION.
    write_tiny_data(folder)
    found = prepared(folder, seed=7, source=source, **{"validation_rows": 100, **entries})
    assert found.folder.name == name
    assert digest_of(found.folder) == digest


def digest_of(folder):
    """One sha256 of the names and bytes of all arrays below `folder`."""
    whole = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*.npy")):
        whole.update(f"{path.relative_to(folder)}\n".encode() + path.read_bytes())
    return whole.hexdigest()


def test_a_prepared_folder_is_found_by_what_it_was_made_for_alone(folder):
    spec, cache = Data(source="rows.csv", label="animal", validation_rows=20, test_rows=10), folder / "cache"
    made = prepared(folder, test_rows=10)
    assert find_prepared(spec, made.facts, 0, cache) == made
    assert find_prepared(spec, made.facts, 1, cache) is None
    assert find_prepared(spec.model_copy(update={"validation_rows": 21}), made.facts, 0, cache) is None
    assert find_prepared(spec, replace(made.facts, sha256="0" * 64), 0, cache) is None
    assert find_prepared(spec, made.facts, 0, folder / "elsewhere") is None


def test_the_rows_that_were_drawn_for_the_test_split_are_kept_by_number(folder):
    made = prepared(folder, test_rows=10)
    drawn = read_drawn_test_rows(made)
    assert drawn.tolist() == ids(made, "test")
    assert open_test_split(made).x.tolist() == ROWS[drawn].tolist()
    assert read_drawn_test_rows(given(folder)) is None


def test_what_is_sent_to_other_machines_has_all_that_training_reads_and_nothing_of_the_test_split(tmp_path):
    spec = Data(source=write_tiny_data(tmp_path).name, validation_rows=100)
    here = prepare(read(spec, tmp_path), spec, 1, tmp_path / "cache")
    packed = pack_training_rows(here)
    assert sorted(packed) == ["train/x.npy", "train/y.npy", "validation/x.npy", "validation/y.npy"]
    there = unpack_training_rows(packed, here.facts, tmp_path / "there")
    for part in ("train", "validation"):
        for ours, theirs in zip(
            vars(open_training_split(here, part)).values(), vars(open_training_split(there, part)).values(), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)
    assert open_scaling(there) is None


@pytest.mark.parametrize(
    "name", ["train/x.npy", "train/y.npy", "validation/y.npy", "test/x.npy", "test/y.npy", "facts.json"]
)
def test_a_flipped_byte_in_prepared_rows_is_refused(folder, name):
    path = prepared(folder, test_rows=10).folder / name
    content = bytearray(path.read_bytes())
    content[content.find(b"rows.csv") if name == "facts.json" else -3] ^= 1
    path.write_bytes(content)
    with pytest.raises(StorageError, match=rf"{name} is not what was written \(sha256\).* remove it"):
        prepared(folder, test_rows=10)


@pytest.mark.parametrize("name", ["train/x.npy", "train", "facts.json"])
def test_prepared_rows_behind_a_link_are_refused(folder, tmp_path, name):
    path = prepared(folder, test_rows=10).folder / name
    path.rename(tmp_path / "aside")
    path.symlink_to(tmp_path / "aside")
    with pytest.raises(StorageError, match=f"{name} is no file.* remove it"):
        prepared(folder, test_rows=10)


def test_which_rows_are_drawn_stays_as_it_was_for_the_studies_that_people_have(folder):
    _, validation, test = parts(prepared(folder, test_rows=10, validation_rows=10, seed=3))
    assert validation == [27, 44, 45, 49, 54, 56, 57, 70, 82, 98]
    assert test == [2, 11, 21, 26, 32, 40, 46, 65, 71, 81]


TARGETS = np.random.default_rng(3).gamma(1.5, 800, 100) + 0.5


@pytest.fixture
def values(folder):
    np.savez(folder / "values.npz", x_train=ROWS, y_train=TARGETS)
    return folder


def test_numbers_to_predict_are_standardized_by_the_training_rows_alone_and_sealed_as_they_are(values):
    found = prepared(values, source="values.npz", test_rows=10)
    target = found.facts.target
    assert (found.facts.task, found.facts.classes, found.facts.n_outputs) == ("regression", (), 1)
    train = TARGETS[ids(found, "train")]
    assert (target.center, target.spread) == (pytest.approx(train.mean()), pytest.approx(train.std()))
    for part in ("train", "validation"):
        y = open_training_split(found, part).y
        assert y.dtype == np.float32
        np.testing.assert_allclose(y * target.spread + target.center, TARGETS[ids(found, part)], rtol=1e-5)
    assert open_test_split(found).y.tolist() == TARGETS[ids(found, "test")].tolist()
    assert DataFacts.from_dict(json.loads(json.dumps(found.facts.to_dict()))) == found.facts


def test_every_part_has_its_share_of_every_tenth_of_the_numbers_to_predict(values):
    tenths = np.searchsorted(np.quantile(TARGETS, np.arange(1, 10) / 10), TARGETS, side="right")
    for part, n in zip(parts(prepared(values, source="values.npz", test_rows=10)), (7, 2, 1), strict=True):
        assert np.bincount(tenths[part]).tolist() == [n] * 10


def test_whole_numbers_are_prepared_as_classes_or_as_numbers_each_in_a_folder_of_its_own(folder):
    np.savez(folder / "whole.npz", x_train=ROWS, y_train=np.arange(100) % 4)
    classes, numbers = (prepared(folder, source="whole.npz", task=task) for task in (None, "regression"))
    assert (classes.facts.task, numbers.facts.task) == ("classification", "regression")
    assert classes.folder != numbers.folder
    assert "target" not in classes.facts.to_dict()


def test_an_error_on_one_row_is_refused(values):
    with pytest.raises(InvalidDataError, match=r"data\.test_rows = 1: an error of one row says nothing"):
        prepared(values, source="values.npz", test_rows=1)


VISITS = pd.DataFrame(
    {
        "place": ROWS[:, 0],
        "half": ROWS[:, 1],
        "patient": [f"p{number // 4 % 20}" for number in range(N)],
        "day": [f"2026-{1 + number % 12:02d}-01" for number in range(N)],
        "animal": LABELS,
    }
)


@pytest.mark.parametrize("seed", range(5))
def test_groups_never_straddle_parts(tmp_path, seed):
    VISITS.drop(columns="day").to_csv(tmp_path / "rows.csv", index=False)
    found = prepared(tmp_path, seed=seed, group="patient", test_rows=20)
    of_parts = [set(VISITS.patient[part]) for part in parts(found)]
    assert len(set.union(*of_parts)) == sum(map(len, of_parts)) == 20
    assert found.facts.n_features == 2, "the patient is no feature"
    assert all(abs(len(part) - 20) <= 4 for part in parts(found)[1:])
    assert parts(found) == parts(prepared(tmp_path, seed=seed, group="patient", test_rows=20, cache="other"))


def test_the_last_times_are_sealed_and_those_before_select(tmp_path):
    VISITS.drop(columns="patient").to_csv(tmp_path / "rows.csv", index=False)
    train, validation, test = (set(VISITS.day[part]) for part in parts(prepared(tmp_path, order="day", test_rows=10)))
    assert max(train) < min(validation)
    assert max(validation) < min(test)


def test_shares_of_rows_are_the_numbers_that_they_come_to(folder):
    assert parts(prepared(folder, test_rows=0.1, validation_rows=0.2)) == parts(
        prepared(folder, test_rows=10, validation_rows=20)
    )


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"group": "nobody"}, r"data\.group = 'nobody' is not one of its columns"),
        ({"order": "patient"}, r"data\.order = 'patient': 'p0' \(line 2\) is no number and no date"),
    ],
)
def test_a_column_that_does_not_say_how_to_split_is_refused(tmp_path, keys, said):
    VISITS.to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(InvalidDataError, match=said):
        prepared(tmp_path, test_rows=10, drop=["day"], **keys)
