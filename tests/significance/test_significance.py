from itertools import pairwise

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st
from strategies import LEVELS, cubes

from ddp_tasks.significance.significance import (
    DIRECTIONS,
    discrimination,
    fractions,
    least_images,
    significant,
    significant_images,
    thresholds,
)


def _tables(cube, levels, parts=None):
    parts = parts or cube.parts
    threshold = thresholds(parts, cube.ranks, levels)
    shares = fractions(
        parts, cube.ranks, threshold, cube.target_classes, np.zeros(len(cube.targets), np.int8)
    )
    return threshold, shares.fraction[0], shares.images[0]


@given(cubes(), LEVELS)
def test_thresholds_are_the_quantiles_of_all_signals_of_a_layer(cube, levels):
    # Exact: the counts know every signal, and interpolation is done as numpy does it.
    found = thresholds(cube.parts, cube.ranks, levels)
    assert found.shape == (len(DIRECTIONS), len(levels), len(cube.ranks))
    for direction, sign in enumerate((1, -1)):
        for number, level in enumerate(levels):
            for layer, rank in enumerate(cube.ranks):
                q = reference.threshold(cube.signals, layer, rank, level, sign)
                assert found[direction, number, layer] == q


@given(cubes(), LEVELS)
def test_fractions_equal_the_loops_over_images(cube, levels):
    threshold, fraction, images = _tables(cube, levels)
    assert images.tolist() == [int((cube.targets == c).sum()) for c in range(len(images))]
    for direction, sign in enumerate((1, -1)):
        for number in range(len(levels)):
            for layer, rank in enumerate(cube.ranks):
                q = threshold[direction, number, layer]
                table = fraction[direction, number, :, layer]
                assert np.isnan(table[:, rank:]).all()
                for c, i in np.ndindex(len(images), rank):
                    count = reference.significant_images(
                        cube.signals, cube.targets, layer, i, target_class=c, q=q, sign=sign
                    )
                    if images[c]:
                        assert table[c, i] == np.float32(count / images[c])
                    else:
                        assert np.isnan(table[c, i])


@given(cubes(), LEVELS)
def test_tables_do_not_depend_on_the_parts(cube, levels):
    for cut, whole in zip(_tables(cube, levels), _tables(cube, levels, cube.whole), strict=True):
        np.testing.assert_array_equal(cut, whole)


def test_a_signal_equal_to_q_is_not_significant():
    # All signals are 2, so q = 2 at any level, and -2 for the negatives.
    signals = np.full((4, 1, 2), 2, dtype=np.float32)
    targets = np.array([0, 0, 1, 1])

    def parts():
        return [(signals, targets)]

    threshold = thresholds(parts, [2], [0.5, 0.9])
    assert threshold[:, :, 0].tolist() == [[2, 2], [-2, -2]]
    assert not fractions(parts, [2], threshold, 2, np.zeros(4, np.int8)).fraction.any()


def test_by_hand_in_both_directions():
    # One vector, signals 0 1 2 3 4 of classes a a a b b: the median is 2, above it lie 3 and 4,
    # both of b. The negatives' median is -2, above it lie 0 and -1, two of three of a.
    signals = np.arange(5, dtype=np.float32).reshape(5, 1, 1)
    targets = np.array([0, 0, 0, 1, 1])

    def parts():
        return [(signals, targets)]

    threshold = thresholds(parts, [1], [0.5])
    shares = fractions(parts, [1], threshold, 2, np.zeros(5, np.int8))
    fraction, images = shares.fraction[0], shares.images[0]
    assert fraction[0, 0, :, 0, 0].tolist() == [0, 1]
    assert fraction[1, 0, :, 0, 0].tolist() == [np.float32(2 / 3), 0]
    assert significant(fraction[0, 0, :, 0], images, 75).tolist() == [[False], [True]]
    # Two of three are at least 66 % and less than 67 %.
    assert significant(fraction[1, 0, :, 0], images, 66).tolist() == [[True], [False]]
    assert significant(fraction[1, 0, :, 0], images, 67).tolist() == [[False], [False]]


@pytest.mark.parametrize(
    ("count", "images", "percentage"),
    [
        # 0.57 * 100 and 1.1 * 3000 miss the whole number in floating point, below and above.
        (57, 100, 57),
        (33, 3000, 1.1),
        (29, 100, 29),
        (3, 4, 75),
        (1, 3000, 100 / 3000),
        (7, 7, 100),
        (333, 1000, 33.3),
    ],
)
def test_exactly_p_percent_of_a_class_is_enough(count, images, percentage):
    def enough(count):
        fraction = np.array([[count / images]], dtype=np.float32)
        return bool(significant(fraction, np.array([images]), percentage))

    assert enough(count)
    assert not enough(count - 1)


@given(
    st.integers(1, 3000),
    st.data(),
    st.one_of(st.integers(1, 100), st.decimals("0.01", "100", places=2).map(float)),
)
def test_percentage_is_compared_as_it_is_written(images, data, percentage):
    # Near p % of the class, where rounding would show.
    near = round(images * percentage / 100)
    count = min(max(near + data.draw(st.integers(-1, 1)), 0), images)
    fraction = np.array([[count / images]], dtype=np.float32)
    found = significant(fraction, np.array([images]), percentage)
    assert found.item() == reference.significant_for_class(count, images, percentage)


@given(cubes(), LEVELS)
def test_raising_the_level_or_the_percentage_adds_nothing(cube, levels):
    _, fraction, images = _tables(cube, levels)
    by_level = [
        significant(fraction[:, number, :, layer], images, 50)
        for layer in range(len(cube.ranks))
        for number in range(len(levels))
    ]
    for layer in range(len(cube.ranks)):
        tables = by_level[layer * len(levels) : (layer + 1) * len(levels)]
        for lower, higher in pairwise(tables):
            assert not (higher & ~lower).any()
        one = fraction[:, 0, :, layer]
        for p, more in ((1, 50), (50, 75), (75, 100)):
            assert not (significant(one, images, more) & ~significant(one, images, p)).any()


def test_classes_without_images_and_padding_are_never_significant():
    fraction = np.array([[np.nan, np.nan], [1.0, np.nan]], dtype=np.float32)
    found = significant(fraction, np.array([0, 5]), 75)
    assert found.tolist() == [[False, False], [True, False]]


def test_discrimination_of_a_constant_table_is_0_and_of_perfect_separation_1():
    # Columns: always, never, in half of every class; in all of class 0 and none of the others.
    fraction = np.array([[1, 0, 0.5, 1], [1, 0, 0.5, 0], [1, 0, 0.5, 0]], dtype=np.float32)
    assert discrimination(fraction, np.array([4, 2, 6])).tolist() == [0, 0, 0, 1]


def test_discrimination_is_nan_past_the_rank_alone():
    # The class without images has no fractions; it counts for nothing.
    fraction = np.array([[1, np.nan], [0, np.nan], [np.nan, np.nan]], dtype=np.float32)
    found = discrimination(fraction, np.array([3, 5, 0]))
    assert found[0] == pytest.approx(1, rel=1e-15)
    assert np.isnan(found[1])


@given(st.lists(st.lists(st.integers(0, 1), max_size=6), min_size=1, max_size=4))
def test_discrimination_is_the_variance_that_classes_explain(indicators):
    images = np.array([len(members) for members in indicators])
    if images.sum() == 0:
        images[0], indicators[0] = 1, [1]
    fraction = np.array(
        [[sum(members) / len(members) if members else np.nan] for members in indicators],
        dtype=np.float32,
    )
    # Fractions are stored as float32: a relative error of 6e-8, over a variance of 1/24 or more.
    expected = reference.explained_share(indicators)
    assert discrimination(fraction, images)[0] == pytest.approx(expected, abs=1e-5)


@given(st.lists(st.integers(0, 400), min_size=1, max_size=6), st.decimals("0.01", "100", places=2))
def test_the_least_count_is_the_first_that_is_enough(images, percentage):
    p = float(percentage)
    for size, least in zip(images, least_images(np.array(images), p), strict=True):
        if size:
            assert reference.significant_for_class(int(least), size, p)
            assert not reference.significant_for_class(int(least) - 1, size, p)
        else:
            assert least > size


@given(st.integers(1, 8_000_000), st.data())
def test_counts_come_back_from_stored_fractions(images, data):
    count = data.draw(st.integers(0, images))
    fraction = np.array([[count / images]], dtype=np.float32)
    assert significant_images(fraction, np.array([images])).item() == count
