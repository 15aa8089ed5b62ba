"""How numbers are scaled: columns of any offset, spread and outlier come out in one range."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_st

from sweep.data.scaling import fit_scaling

KINDS = ("robust", "standard")
TRAINING = np.random.default_rng(1).normal(size=(200, 1))


def scaled(kind, training, rows):
    """Rows of one column, scaled as the training rows of that column ask for."""
    as_column = lambda values: np.asarray(values, np.float64).reshape(-1, 1)  # noqa: E731
    return fit_scaling(as_column(training), kind).apply(as_column(rows))[:, 0]


def test_standard_scaling_gives_a_mean_of_0_and_a_deviation_of_1():
    result = scaled("standard", TRAINING * 7 + 100, TRAINING * 7 + 100)
    assert result.dtype == np.float32
    assert np.allclose([result.mean(), result.std()], [0, 1], atol=1e-6)


def test_robust_scaling_is_the_papers():
    low, middle, high = np.quantile(TRAINING, [0.25, 0.5, 0.75])
    plain = (TRAINING[:, 0] - middle) / (high - low)
    np.testing.assert_allclose(scaled("robust", TRAINING, TRAINING), plain / np.sqrt(1 + (plain / 3) ** 2), rtol=1e-6)


def test_where_the_middle_half_is_one_value_half_the_range_is_the_spread():
    result = scaled("robust", [0] * 90 + [4] * 10, [0, 2, 4])
    plain = np.array([0, 1, 2])
    np.testing.assert_allclose(result, plain / np.sqrt(1 + (plain / 3) ** 2), rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("constant", [0.0, 0.1, -1e9, 1e200, 5e-324])
def test_a_column_that_is_constant_in_the_training_rows_has_a_scale_of_1(kind, constant):
    result = scaled(kind, [constant] * 101, [constant, constant + 1])
    step = (constant + 1) - constant  # 0 where the constant is so large that 1 is lost in it
    wanted = step / np.sqrt(1 + (step / 3) ** 2) if kind == "robust" else step
    np.testing.assert_allclose(result, [0, wanted], rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("offset", [0, 2459000])
@pytest.mark.parametrize("factor", [1e-290, 1e-12, 1, 1e19, 1e280])
def test_neither_offset_nor_unit_changes_what_is_learned_from(kind, factor, offset):
    column = TRAINING + offset
    unit = np.float64(factor)
    np.testing.assert_allclose(
        scaled(kind, column * unit, column * unit), scaled(kind, TRAINING, TRAINING), atol=3e-7 if not offset else 1e-6
    )


def test_dates_that_differ_in_the_last_digits_stay_apart():
    days = 2459000 + np.linspace(0, 1, 600)
    for kind in KINDS:
        assert len(np.unique(scaled(kind, days, days))) == 600


def test_one_outlier_leaves_the_others_as_they_are():
    rows = np.append(TRAINING, 1e12)
    without, with_it = scaled("robust", TRAINING, TRAINING), scaled("robust", rows, rows)
    assert np.abs(with_it[:-1] - without).max() < 0.02
    assert 2.9 < with_it[-1] <= 3


@given(
    st.sampled_from(KINDS),
    numpy_st.arrays(np.float64, st.integers(2, 30), elements=st.floats(-1e290, 1e290)),
    st.floats(-1e290, 1e290),
)
def test_any_numbers_come_out_finite_and_in_order(kind, column, other):
    rows = np.sort(np.append(column, other))
    result = scaled(kind, column, rows)
    assert np.isfinite(result).all()
    assert (np.diff(result) >= 0).all()
    assert np.abs(result).max() <= (3 if kind == "robust" else 1e6)
