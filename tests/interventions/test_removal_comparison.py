import itertools

import numpy as np
import pytest

from ddp_tasks.interventions.removal_comparison import compared


def test_classes_are_flipped_and_counted():
    differences = np.array([[0.1, 0.3, np.nan], [0.2, 0.1, -0.1]])[..., None]
    found = compared(differences, 0.95, 0)
    sums = np.array([0.3, 0.4, -0.1])
    flips = np.array(list(itertools.product([1, -1], repeat=3))) @ sums
    assert found.pairs.item() == 5
    assert found.difference.item() == pytest.approx(0.6 / 5)
    assert found.p.item() == pytest.approx((np.abs(flips) >= 0.6 - 1e-12).mean())
    assert found.win_rate.item() == pytest.approx(4 / 5)
    assert found.low.item() < 0.12 < found.high.item()


def test_pairs_that_are_equal_count_half_and_settings_without_pairs_are_nan():
    differences = np.full((1, 4, 2), np.nan)
    differences[0, :, 0] = [0, 0, 0.5, -0.5]
    found = compared(differences, 0.95, 0)
    np.testing.assert_array_equal(found.win_rate, [0.5, np.nan])
    np.testing.assert_array_equal(found.p, [1, np.nan])
    np.testing.assert_array_equal(found.pairs, [4, 0])
    assert np.isnan(found.difference[1])
    # One class alone has no interval.
    alone = compared(differences[:, :1], 0.95, 0)
    assert np.isnan(alone.low[0])


@pytest.mark.parametrize("classes", [8, 40])
def test_without_a_difference_few_are_discovered_though_pairs_of_a_class_are_alike(classes):
    rng = np.random.default_rng(2)
    settings = 2000
    alike = rng.standard_normal((1, classes, settings)) + 0.3 * rng.standard_normal(
        (6, classes, settings)
    )
    found = compared(alike, 0.95, 0)
    assert (found.p <= 0.05).mean() <= 0.06
    covered = (found.low <= 0) & (found.high >= 0)
    assert covered.mean() >= 0.94
    shifted = compared(alike + 2, 0.95, 0)
    assert (shifted.p <= 0.05).mean() > 0.9
