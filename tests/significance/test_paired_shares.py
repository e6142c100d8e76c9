import numpy as np
import pytest

from ddp_tasks.significance.paired_shares import paired_difference_interval


def interval(both, first, second, images, confidence=0.95):
    counts = (np.array([n]) for n in (both, first, second, images))
    low, high = paired_difference_interval(*counts, confidence)
    return low[0], high[0]


def test_intervals_are_those_that_newcombe_prints():
    # Table II of Newcombe 1998, method 10, for (a, b, c, d) = (36, 12, 2, 0).
    assert interval(36, 48, 38, 50) == pytest.approx((0.0569, 0.3404), abs=1e-4)


def test_equal_counts_give_an_interval_around_zero_and_exchange_turns_it():
    low, high = interval(20, 25, 25, 50)
    assert low < 0 < high
    one, other = interval(10, 30, 12, 60), interval(10, 12, 30, 60)
    assert one == pytest.approx((-other[1], -other[0]))


def test_ends_stay_within_the_possible_and_no_images_give_none():
    assert interval(0, 10, 0, 10)[1] <= 1
    assert np.isnan(interval(0, 0, 0, 0)).all()


def test_the_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(0)
    images, covered = 40, []
    joint = [0.3, 0.3, 0.1, 0.3]
    for both, only, other, _ in rng.multinomial(images, joint, 2000):
        low, high = interval(both, both + only, both + other, images)
        covered.append(low <= 0.2 <= high)
    assert np.mean(covered) > 0.94
