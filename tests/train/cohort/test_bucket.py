import pytest

from sweep.study.config import Config
from sweep.train.cohort.bucket import NONE, Bucket, compaction_pays, group_into_buckets, round_up
from sweep.trial import Phase, Trial


def trials(*configs):
    plain = {"dropout": 0.1, "batch_size": 64, "learning_rate": 0.001}
    return [Trial(number=i, phase=Phase.SEARCH, config=Config(**plain | c), seed=i) for i, c in enumerate(configs)]


def test_what_a_program_fixes_parts_trials_and_what_is_data_to_it_does_not():
    found = group_into_buckets(
        trials(
            {"units": (300, 100)},
            {"units": (90, 20), "dropout": 0.5, "learning_rate": 0.1},
            {"units": (90, 20), "batch_size": 32},
            {"units": (90, 20, 5)},
            {"units": (90, 20), "batch_norm": False, "dropout": 0.0},
            {"units": (90, 20), "weight_decay": 0.1, "label_smoothing": 0.1, "input_dropout": 0.1},
            {"units": (90, 20), "schedule": "cosine", "max_norm": 2.0, "ema": 0.9},
            {"units": (90, 20), "augment_shift": 1, "augment_rotation": 9, "augment_scale": 0.1, "augment_elastic": 1},
            {"units": (90, 20), "optimizer": "sgd"},
            {"units": (90, 20), "activation": "gelu"},
        )
    )
    assert {bucket: [trial.number for trial in members] for bucket, members in found.items()} == {
        Bucket((512, 128), 64, True, "adam", "relu", frozenset(NONE)): [0, 1, 5, 6, 7],
        Bucket((90, 20), 32, True, "adam", "relu", frozenset({"dropout"})): [2],
        Bucket((90, 20, 5), 64, True, "adam", "relu", frozenset({"dropout"})): [3],
        Bucket((90, 20), 64, False, "adam", "relu", frozenset()): [4],
        Bucket((90, 20), 64, True, "sgd", "relu", frozenset({"dropout"})): [8],
        Bucket((90, 20), 64, True, "adam", "gelu", frozenset({"dropout"})): [9],
    }


def test_replicates_are_not_padded():
    [bucket] = group_into_buckets(trials({"units": (400, 100)}, {"units": (400, 100), "dropout": 0.5}))
    assert bucket.units == (400, 100)


def test_the_bucket_with_most_work_comes_first():
    found = group_into_buckets(trials({"units": (8,)}, {"units": (500, 500)}, {"units": (500, 500), "batch_size": 16}))
    assert [(len(b.units), b.batch_size) for b in found] == [(2, 16), (2, 64), (1, 64)]


@pytest.mark.parametrize(("n", "size"), [(1, 1), (2, 2), (3, 4), (64, 64), (65, 128)])
def test_sizes_are_powers_of_two(n, size):
    assert round_up(n) == size


@pytest.mark.parametrize(
    ("n_fewer", "seconds_left", "compile_s", "pays"),
    [(8, 10.0, 4.0, True), (8, 10.0, 6.0, False), (8, 10.0, 0.0, True), (16, 10.0, 0.0, False), (8, 0.0, 0.0, False)],
)
def test_survivors_move_to_half_the_places_where_that_saves_more_than_compiling_takes(
    n_fewer, seconds_left, compile_s, pays
):
    assert compaction_pays(n_fewer, 16, seconds_left, compile_s) is pays
