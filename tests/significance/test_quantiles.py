from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ddp_tasks.significance.quantiles import (
    QuantileCounts,
    count_lower,
    count_upper,
    order_preserving,
)

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
TIED = st.sampled_from([-1.5, -0.0, 0.0, 0.25, 1.0, 1.0000001])
ARRAYS = st.one_of(
    hnp.arrays(np.float32, st.integers(1, 40), elements=FLOATS),
    hnp.arrays(np.float32, st.integers(1, 40), elements=TIED.map(np.float32)),
)
LEVELS = st.lists(st.floats(0, 1), min_size=1, max_size=4)


def _quantiles(parts, levels):
    counts = QuantileCounts(levels)
    for part in parts:
        counts.add(count_upper(part))
    wanted = counts.wanted()
    for part in parts:
        wanted.add(count_lower(part, wanted.bins))
    return wanted.quantiles()


@given(ARRAYS, LEVELS, st.data())
def test_equal_to_numpy_to_the_bit_for_any_split(values, levels, data):
    cuts = data.draw(st.lists(st.integers(0, len(values)), max_size=3).map(sorted))
    positive, negative = _quantiles(np.split(values, cuts), levels)
    doubles = values.astype(np.float64)
    assert positive.tolist() == np.quantile(doubles, levels).tolist()
    assert negative.tolist() == np.quantile(-doubles, levels).tolist()


def test_by_hand():
    # Of 1 2 3 4 5 the level 0.9 lies at position 0.9 * 4 = 3.6: 4 + 0.6 of the way to 5. Of the
    # negatives, ascending -5 -4 -3 -2 -1, at -2 + 0.6 of the way to -1.
    values = np.array([5, 3, 1, 4, 2], dtype=np.float32)
    positive, negative = _quantiles([values], [0.5, 0.9])
    np.testing.assert_allclose(positive, [3, 4.6], rtol=1e-15)
    np.testing.assert_allclose(negative, [-3, -1.4], rtol=1e-15)


@pytest.mark.parametrize("value", [0.0, -2.5, 1e-45, 3.4028235e38, -3.4028235e38])
def test_one_value_is_every_quantile(value):
    values = np.array([value], dtype=np.float32)
    positive, negative = _quantiles([values], [0.01, 0.5, 0.99])
    assert positive.tolist() == [float(values[0])] * 3
    assert negative.tolist() == [-float(values[0])] * 3


def test_subnormals_and_the_largest_numbers_keep_their_distance():
    tiny, huge = np.float32(1e-45), np.float32(3.4028235e38)
    values = np.array([-huge, -tiny, 0, tiny, huge], dtype=np.float32)
    positive, _ = _quantiles([values], [0, 0.25, 0.5, 0.75, 1])
    assert positive.tolist() == [float(v) for v in values]


def test_no_values_are_refused():
    with pytest.raises(ValueError, match="no values"):
        QuantileCounts([0.5]).wanted()
    with pytest.raises(ValueError, match="no values"):
        _quantiles([np.empty(0, dtype=np.float32)], [0.5])
    with pytest.raises(ValueError, match="no values"):
        _quantiles([np.full(3, np.nan, dtype=np.float32)], [0.5])


def test_a_quantile_before_the_second_pass_is_refused():
    counts = QuantileCounts([0.5])
    counts.add(count_upper(np.ones(3, dtype=np.float32)))
    with pytest.raises(ValueError, match="second pass"):
        counts.wanted().quantiles()


@given(ARRAYS, st.data())
def test_nan_counts_nowhere(values, data):
    places = data.draw(st.lists(st.integers(0, len(values)), max_size=4))
    padded = np.insert(values, places, np.nan)
    padded[np.isnan(padded)] *= data.draw(st.sampled_from([1, -1]))
    np.testing.assert_array_equal(count_upper(padded), count_upper(values))
    assert _quantiles([padded], [0.3])[0].tolist() == _quantiles([values], [0.3])[0].tolist()


def test_infinities_are_numbers():
    assert count_upper(np.array([-np.inf, 1, np.inf], dtype=np.float32)).sum() == 3


@given(ARRAYS)
def test_integers_are_in_the_order_of_the_values(values):
    integers = order_preserving(values)
    for a, b in pairwise(values):
        i, j = order_preserving(np.array([a, b]))
        assert (i < j) == (a < b)
        assert (i == j) == (a == b)
    assert integers.shape == values.shape


@given(ARRAYS, st.integers(0, 40))
def test_counts_of_parts_add_up(values, cut):
    first, second = values[:cut], values[cut:]
    np.testing.assert_array_equal(count_upper(first) + count_upper(second), count_upper(values))
    bins = np.unique(order_preserving(values[:3]) >> 16).astype(np.int64)
    both = count_lower(first, bins) + count_lower(second, bins)
    np.testing.assert_array_equal(both, count_lower(values, bins))
    # Every value of a wanted bin is counted once, and no other.
    assert both.sum() == np.isin(order_preserving(values) >> 16, bins).sum()
