import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from ddp_tasks.significance.confidence_intervals import (
    difference_intervals,
    difference_probabilities,
    false_discovery_rates,
    shares_intervals,
    wilson_interval,
)

CONFIDENCES = st.floats(0.5, 0.999)


@st.composite
def shares(draw):
    images = draw(st.integers(1, 3000))
    return draw(st.integers(0, images)), images


@given(shares(), CONFIDENCES)
def test_the_score_interval_is_scipys_and_contains_the_share(share, confidence):
    count, images = share
    low, high = wilson_interval(np.array([count]), np.array([images]), confidence)
    expected = stats.binomtest(count, images).proportion_ci(confidence, method="wilson")
    # Two ways to round: both are within a few units in the last place of a number up to 1.
    np.testing.assert_allclose([low[0], high[0]], expected, rtol=1e-11, atol=1e-14)
    assert 0 <= low[0] <= count / images <= high[0] <= 1


@given(shares(), CONFIDENCES, st.integers(1, 500))
def test_the_interval_is_scipys_at_the_level_of_its_share(share, confidence, searched):
    count, images = share
    low, high = shares_intervals(np.array([count]), np.array([images]), confidence, searched)
    own = 1 - (1 - confidence) / searched
    expected = stats.binomtest(count, images).proportion_ci(own, method="exact")
    np.testing.assert_allclose([low[0], high[0]], expected, rtol=1e-6, atol=1e-9)
    assert 0 <= low[0] <= count / images <= high[0] <= 1


def test_all_intervals_of_an_array_are_those_of_statsmodels():
    images = np.arange(60)
    count = images // np.array([[1], [3], [70]])
    for ours, method, level in (
        (wilson_interval(count, images, 0.9), "wilson", 0.1),
        (shares_intervals(count, images, 0.9, 40), "beta", 0.1 / 40),
    ):
        with np.errstate(invalid="ignore", divide="ignore"):
            theirs = proportion_confint(count, np.broadcast_to(images, count.shape), level, method)
        for end, expected in zip(ours, theirs, strict=True):
            assert np.isnan(end[:, 0]).all()
            np.testing.assert_allclose(end[:, 1:], expected[:, 1:], rtol=1e-9, atol=1e-14)


def test_no_images_no_interval():
    low, high = shares_intervals(np.array([0, 3]), np.array([0, 4]), 0.95, 1)
    assert np.isnan([low[0], high[0]]).all()
    assert np.isfinite([low[1], high[1]]).all()


@pytest.mark.parametrize("images", [10, 50, 200])
def test_all_intervals_of_a_table_hold_together(images):
    random = np.random.default_rng(0)
    share = np.concatenate([random.uniform(0, 1, 40), [0, 0.003, 0.02, 0.98, 1]])
    count = random.binomial(images, share, size=(2000, len(share)))
    low, high = shares_intervals(count, np.array(images), 0.95, len(share))
    held = ((low <= share) & (share <= high)).all(axis=1)
    # At least 95 %; a fourth standard error below that chance alone gives once in 30,000.
    assert held.mean() >= 0.95 - 4 * np.sqrt(0.05 * 0.95 / len(count))


@pytest.mark.parametrize("images", [(10, 10), (50, 20), (200, 200)])
def test_all_differences_hold_together(images):
    random = np.random.default_rng(1)
    shares = random.uniform(0, 1, (2, 40)) ** 2
    shares[1, ::4] = shares[0, ::4]
    count = tuple(
        random.binomial(n, share, size=(2000, 40)) for n, share in zip(images, shares, strict=True)
    )
    low, high = difference_intervals(count, images, 0.95, 40)
    difference = shares[0] - shares[1]
    held = ((low <= difference) & (difference <= high)).all(axis=1)
    assert held.mean() >= 0.95 - 4 * np.sqrt(0.05 * 0.95 / len(held))


@given(shares(), shares(), CONFIDENCES)
def test_the_interval_of_a_difference_is_sound(a, b, confidence):
    count, images = (np.array([a[0]]), np.array([b[0]])), (a[1], b[1])
    low, high = difference_intervals(count, images, confidence, 10)
    difference = a[0] / a[1] - b[0] / b[1]
    assert -1 - 1e-12 <= low[0] <= difference <= high[0] <= 1 + 1e-12
    # The other way round, it is the same interval mirrored.
    mirrored = difference_intervals(count[::-1], images[::-1], confidence, 10)
    np.testing.assert_allclose([low[0], high[0]], [-mirrored[1][0], -mirrored[0][0]], atol=1e-12)


def test_a_difference_with_an_empty_class_has_no_interval():
    low, high = difference_intervals((np.array([0]), np.array([3])), (0, 4), 0.95, 1)
    assert np.isnan([low[0], high[0]]).all()


@given(st.integers(1, 40), st.integers(1, 40), st.data())
def test_the_probability_of_a_difference_is_that_of_fishers_exact_test(n, m, data):
    a, b = data.draw(st.integers(0, n)), data.draw(st.integers(0, m))
    found = difference_probabilities((np.array([a]), np.array([b])), (n, m))[0]
    tails = [
        stats.fisher_exact([[a, n - a], [b, m - b]], alternative=side)[1]
        for side in ("less", "greater")
    ]
    assert found == pytest.approx(min(1, 2 * min(tails)), rel=1e-9, abs=1e-12)


def test_of_shares_that_do_not_differ_few_are_discoveries():
    random = np.random.default_rng(2)
    images, false = (30, 30), 0
    for _ in range(100):
        share = random.uniform(0, 1, 40)
        count = tuple(random.binomial(n, share) for n in images)
        rates = false_discovery_rates(difference_probabilities(count, images))
        false += bool((rates <= 0.05).any())
    assert false / 100 <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / 100)


def test_where_there_is_no_test_there_is_no_rate_of_false_discoveries():
    p = np.array([[0.01, np.nan], [0.04, 0.03]])
    rates = false_discovery_rates(p)
    np.testing.assert_array_equal(np.isnan(rates), np.isnan(p))
    np.testing.assert_allclose(rates[np.isfinite(p)], [0.03, 0.04, 0.04])
    assert np.isnan(false_discovery_rates(np.full(3, np.nan))).all()
    assert false_discovery_rates(np.empty(0)).shape == (0,)
