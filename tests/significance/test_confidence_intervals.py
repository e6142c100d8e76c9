import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ddp_tasks.significance.confidence_intervals import difference_interval, wilson_interval

CONFIDENCES = st.floats(0.5, 0.999)


@st.composite
def shares(draw):
    images = draw(st.integers(1, 3000))
    return draw(st.integers(0, images)), images


@given(shares(), CONFIDENCES)
def test_the_interval_is_scipys_and_contains_the_share(share, confidence):
    count, images = share
    low, high = wilson_interval(np.array([count]), np.array([images]), confidence)
    expected = stats.binomtest(count, images).proportion_ci(confidence, method="wilson")
    # Two ways to round: both are within a few units in the last place of a number up to 1.
    np.testing.assert_allclose([low[0], high[0]], expected, rtol=1e-11, atol=1e-14)
    assert 0 <= low[0] <= count / images <= high[0] <= 1


def test_no_images_no_interval():
    low, high = wilson_interval(np.array([0, 3]), np.array([0, 4]), 0.95)
    assert np.isnan([low[0], high[0]]).all()
    assert np.isfinite([low[1], high[1]]).all()


def test_the_interval_of_a_difference_by_newcombes_own_example():
    # Table II, row (a): 56 of 70 less 48 of 80, method 10: 0.0524 to 0.3339.
    low, high = difference_interval((np.array([56]), np.array([48])), (70, 80), 0.95)
    assert low[0] == pytest.approx(0.0524, abs=5e-5)
    assert high[0] == pytest.approx(0.3339, abs=5e-5)


@given(shares(), shares(), CONFIDENCES)
def test_the_interval_of_a_difference_is_sound(a, b, confidence):
    count, images = (np.array([a[0]]), np.array([b[0]])), (a[1], b[1])
    low, high = difference_interval(count, images, confidence)
    difference = a[0] / a[1] - b[0] / b[1]
    assert -1 - 1e-12 <= low[0] <= difference <= high[0] <= 1 + 1e-12
    # The other way round, it is the same interval mirrored.
    mirrored = difference_interval(count[::-1], images[::-1], confidence)
    np.testing.assert_allclose([low[0], high[0]], [-mirrored[1][0], -mirrored[0][0]], atol=1e-12)


def test_a_difference_with_an_empty_class_has_no_interval():
    low, high = difference_interval((np.array([0]), np.array([3])), (0, 4), 0.95)
    assert np.isnan([low[0], high[0]]).all()
