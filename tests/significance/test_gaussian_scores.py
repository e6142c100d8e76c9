import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multivariate_normal
from sklearn.covariance import LedoitWolf

from ddp_tasks.significance.gaussian_scores import GaussianClasses, folds, split_margins


def made(seed=0, r=3, classes=3, images=30, apart=2.0):
    rng = np.random.default_rng(seed)
    target = np.repeat(np.arange(classes), images)
    mixed = rng.normal(size=(r, r))
    signals = (
        rng.normal(size=(len(target), r)) @ mixed + apart * rng.normal(size=(classes, r))[target]
    )
    return signals.astype(np.float32), target


@given(st.integers(0, 2**31), st.integers(1, 6), st.integers(2, 4))
def test_margins_are_those_of_the_normal_densities(seed, r, classes):
    signals, target = made(seed, r, classes)
    fitted = GaussianClasses.fit(signals, target)
    exact = signals.astype(np.float64)
    means = np.stack([exact[target == c].mean(axis=0) for c in range(classes)])
    covariance = LedoitWolf(assume_centered=True).fit(exact - means[target]).covariance_
    np.testing.assert_allclose(fitted.means, means)
    of_classes = [multivariate_normal(m, covariance, allow_singular=True) for m in means]
    densities = np.stack([one.logpdf(exact).reshape(-1) for one in of_classes], axis=1)
    predicted = np.roll(target, 1)
    chosen = densities[np.arange(len(target)), predicted]
    others = np.where(np.arange(classes) == predicted[:, None], -np.inf, densities).max(axis=1)
    np.testing.assert_allclose(
        fitted.margins(signals, predicted), chosen - others, rtol=1e-4, atol=1e-3
    )


def test_the_parts_of_the_vectors_add_up_to_the_difference_of_two_classes():
    signals, target = made()
    fitted = GaussianClasses.fit(signals, target)
    densities = fitted.log_densities(signals)
    between = fitted.difference(2, 0)
    np.testing.assert_allclose(
        between.contributions(signals).sum(axis=1), densities[:, 2] - densities[:, 0]
    )
    # The means lie at half their distance on either side.
    at_means = between.standardised(fitted.means[[2, 0]])
    np.testing.assert_allclose(at_means, [between.distance / 2, -between.distance / 2])
    with pytest.raises(ValueError, match="class 7 was not fitted"):
        fitted.difference(7, 0)


def test_no_image_has_a_part_in_its_own_margin():
    signals, target = made(images=12)
    choosing = np.arange(len(target)) % 2 == 0
    predicted = target.copy()
    before = split_margins(signals, target, predicted, choosing, 0)
    fold = folds(target[choosing], 0)
    for row in (0, 1):
        moved = signals.copy()
        moved[row] += 50
        after = split_margins(moved, target, predicted, choosing, 0)
        if choosing[row]:
            same = np.flatnonzero(choosing)[fold == fold[np.flatnonzero(choosing) == row]]
            same = same[same != row]
        else:
            same = np.flatnonzero(np.arange(len(target)) != row)
        # Its own fold, or all others if it judges, do not notice that it moved.
        np.testing.assert_allclose(after[same], before[same])


@given(st.lists(st.integers(2, 12), min_size=1, max_size=4), st.integers(0, 99))
def test_every_fold_has_images_of_every_class(sizes, seed):
    target = np.repeat(np.arange(len(sizes)), sizes)
    fold = folds(target, seed)
    number = min(5, *sizes)
    assert fold.max() + 1 == number
    for c in range(len(sizes)):
        assert set(fold[target == c]) == set(range(number))


def test_what_cannot_be_scored_is_refused():
    signals, target = made(classes=1)
    with pytest.raises(ValueError, match="a margin needs two classes"):
        GaussianClasses.fit(signals, target).margins(signals, target)
    with pytest.raises(ValueError, match="the signals of a class are all equal"):
        GaussianClasses.fit(np.ones((4, 2), dtype=np.float32), np.array([0, 0, 1, 1]))
    with pytest.raises(ValueError, match="class 1 has 1 image"):
        folds(np.array([0, 0, 1]), 0)
    # A class that was not fitted has no margin.
    signals, target = made()
    found = GaussianClasses.fit(signals, target).margins(signals[:1], np.array([9]))
    assert np.isnan(found).all()
