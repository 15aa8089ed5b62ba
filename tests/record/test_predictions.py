from contextlib import suppress

import numpy as np
import pytest
from sklearn.metrics import r2_score

from sweep.record.predictions import MAX_MISTAKES, Predictions, Values, unpack

LABELS = np.array([0, 1, 2, 1, 0], np.int32)
PROBABILITIES = np.array([[0.9, 0.1, 0], [0.7, 0.3, 0], [0, 0.1, 0.9], [0, 0.05, 0.95], [0.6, 0.4, 0]])
ROWS = np.arange(20, dtype=np.uint8).reshape(5, 4)


def test_mistakes_come_with_their_rows_the_surest_first():
    found = Predictions.of(PROBABILITIES, LABELS, ROWS)
    assert found.predicted.tolist() == [0, 0, 2, 2, 0]
    assert found.correct.tolist() == [True, False, True, False, True]
    assert found.mistakes.tolist() == [3, 1]
    np.testing.assert_allclose(found.certainty, [0.95, 0.7], rtol=1e-6)
    np.testing.assert_array_equal(found.rows, ROWS[[3, 1]])


def test_packed_predictions_are_the_same_bytes_each_time_and_come_back_as_they_were():
    found = Predictions.of(PROBABILITIES, LABELS, ROWS)
    assert found.pack() == Predictions.of(PROBABILITIES, LABELS, ROWS).pack()
    back = unpack(found.pack())
    for name, array in vars(found).items():
        np.testing.assert_array_equal(getattr(back, name), array)
        assert getattr(back, name).dtype == array.dtype


def test_of_many_mistakes_only_some_keep_their_rows():
    labels = np.zeros(3 * MAX_MISTAKES, np.int32)
    found = Predictions.of(np.tile([0.0, 1.0], (len(labels), 1)), labels, np.zeros((len(labels), 4), np.uint8))
    assert not found.correct.any()
    assert len(found.mistakes) == len(found.rows) == MAX_MISTAKES


def test_wherever_a_byte_is_flipped_or_the_end_cut_off_nothing_but_a_value_error_comes_of_it():
    good = Predictions.of(PROBABILITIES, LABELS, ROWS).pack()
    for at in range(len(good)):
        flipped = good[:at] + bytes([good[at] ^ 1 << at % 8]) + good[at + 1 :]
        for damaged in (flipped, good[:at]):
            with suppress(ValueError):  # what zipfile does not check, the hash of the whole file does
                unpack(damaged)


VALUES = Values.of(np.array([1.5, 2.0, 9.0]), np.array([1.0, 2.0, 3.0]), np.arange(6.0).reshape(3, 2))


def test_values_come_back_with_the_rows_that_are_furthest_off_first():
    back = unpack(VALUES.pack())
    assert isinstance(back, Values)
    assert back.worst.tolist() == [2, 0, 1]
    assert back.rows.tolist() == [[4, 5], [0, 1], [2, 3]]
    assert (back.labels.tolist(), back.errors.tolist()) == ([1, 2, 3], [0.5, 0, 6])
    assert VALUES.pack() == back.pack()


def test_the_scores_of_rows_have_r2_as_their_mean():
    assert VALUES.scores.mean() == pytest.approx(r2_score(VALUES.labels, VALUES.predicted))
    constant = Values.of(np.array([2.0, 3.0]), np.array([2.0, 2.0]), np.zeros((2, 1)))
    assert constant.scores.tolist() == [1, 0]
