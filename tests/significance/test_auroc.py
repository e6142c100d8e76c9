import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from ddp_tasks.significance.auroc import Interval, aurocs


@given(st.integers(2, 40), st.integers(2, 40), st.integers(0, 2**31))
def test_the_area_is_scikit_learns_with_ties_too(positive, negative, seed):
    rng = np.random.default_rng(seed)
    label = rng.permutation(np.repeat([True, False], [positive, negative]))
    scores = np.stack([rng.integers(0, 5, len(label)), rng.normal(size=len(label)) + label])
    found = aurocs(scores.astype(np.float64), label)
    assert (found.positive, found.negative) == (positive, negative)
    np.testing.assert_allclose(found.value, [roc_auc_score(label, row) for row in scores])


def test_the_variance_is_that_of_the_definition():
    rng = np.random.default_rng(0)
    label = np.repeat([True, False], [7, 9])
    scores = rng.normal(size=(2, 16)) + label
    found = aurocs(scores, label)
    # DeLong et al., Eqs. 3 to 7, image by image.
    above = [[np.mean(s > row[~label]) for s in row[label]] for row in scores]
    below = [[np.mean(row[label] > s) for s in row[~label]] for row in scores]
    expected = np.cov(above) / 7 + np.cov(below) / 9
    np.testing.assert_allclose(found.covariance, expected, rtol=1e-12)


@pytest.mark.parametrize("images", [(40, 160), (100, 300)])
def test_intervals_of_areas_and_of_their_differences_hold_as_often_as_stated(images):
    rng = np.random.default_rng(1)
    label = np.repeat([True, False], images)
    # Normal scores whose means differ by d: the area is that of d / sqrt(2).
    shift = np.array([0.8, 1.2])
    from scipy.stats import norm

    true = norm.cdf(shift / np.sqrt(2))
    held = np.zeros(3)
    for _ in range(1000):
        common = rng.normal(size=len(label))
        own = rng.normal(size=(2, len(label)))
        found = aurocs((common + own) / np.sqrt(2) + shift[:, None] * label, label)
        ends = [found.interval(i, 0.95) for i in (0, 1)] + [found.difference(1, 0, 0.95)]
        values = [*true, true[1] - true[0]]
        held += [one.low <= value <= one.high for one, value in zip(ends, values, strict=True)]
    # 95 %, less four standard errors of a share over 1,000 draws.
    assert (held / 1000 >= 0.95 - 4 * np.sqrt(0.05 * 0.95 / 1000)).all()


def test_a_score_that_parts_all_images_has_no_interval_and_one_kind_of_images_no_area():
    label = np.array([True, True, False, False])
    found = aurocs(np.array([[3.0, 2.0, 1.0, 0.0]]), label)
    assert found.value.tolist() == [1]
    assert np.isnan(found.interval(0, 0.95).low)
    assert found.interval(0, 0.95).includes_zero
    assert not Interval(0.2, 0.1, 0.3).includes_zero
    with pytest.raises(ValueError, match="4 images are positive and 0 are not"):
        aurocs(np.zeros((1, 4)), np.ones(4, dtype=bool))
