import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from strategies import SEEDS

from ddp_tasks.controls.random_rotations import haar_rotations, variance_keeping_rotations

RANKS = st.integers(1, 9)


def correlated(rank, seed, images=60):
    """Covariance of signals of unequal variance that depend on each other."""
    random = np.random.default_rng(seed)
    signals = random.normal(size=(images, rank)) * random.uniform(0.3, 3, rank)
    signals = signals @ np.linalg.qr(random.normal(size=(rank, rank)))[0]
    return np.cov(signals, rowvar=False).reshape(rank, rank)


def assert_orthogonal(Q):
    np.testing.assert_allclose(Q.T @ Q, np.eye(len(Q)), rtol=0, atol=1e-13)


@given(RANKS, SEEDS)
def test_rotations_are_orthogonal_and_differ(rank, seed):
    drawn = haar_rotations(rank, 3, np.random.default_rng(seed))
    for Q in drawn:
        assert_orthogonal(Q)
    if rank > 1:
        assert len({Q.tobytes() for Q in drawn}) == 3
    more = haar_rotations(rank, 5, np.random.default_rng(seed))
    np.testing.assert_array_equal(more[:3], drawn)


def test_rotations_are_uniform():
    drawn = haar_rotations(3, 4000, np.random.default_rng(0))
    # An entry of a uniform unit vector in three dimensions is uniform between -1 and 1.
    for row, column in np.ndindex(3, 3):
        entries = drawn[:, row, column]
        assert stats.kstest(entries, stats.uniform(-1, 2).cdf).pvalue > 1e-3
    # As many reflections as rotations proper.
    assert abs(np.sign(np.linalg.det(drawn)).mean()) < 4 / np.sqrt(len(drawn))


@settings(max_examples=40)
@given(st.integers(3, 9), SEEDS)
def test_variances_are_kept(rank, seed):
    covariance = correlated(rank, seed)
    drawn = variance_keeping_rotations(covariance, 3, np.random.default_rng(seed))
    wanted = np.diag(covariance)
    # With so few vectors the turns of some covariances lead back to where they started.
    assert rank <= 4 or np.isfinite(drawn).all()
    drawn = drawn[np.isfinite(drawn).all(axis=(1, 2))]
    for Q in drawn:
        assert_orthogonal(Q)
        np.testing.assert_allclose(
            np.diag(Q.T @ covariance @ Q), wanted, rtol=0, atol=1e-12 * wanted.mean()
        )
    assert len({Q.tobytes() for Q in drawn}) == len(drawn)


def test_a_singular_covariance_keeps_its_variances_too():
    covariance = correlated(8, 0, images=5)  # of rank 4
    (Q,) = variance_keeping_rotations(covariance, 1, np.random.default_rng(0))
    assert_orthogonal(Q)
    np.testing.assert_allclose(np.diag(Q.T @ covariance @ Q), np.diag(covariance), atol=1e-12)


@pytest.mark.parametrize("rank", [8, 32])
def test_draws_spread_as_far_from_the_start_as_from_each_other(rank):
    drawn = variance_keeping_rotations(correlated(rank, 1), 30, np.random.default_rng(2))
    # Mean squared cosine of a vector and its counterpart, in units of that of uniform rotations.
    from_start = rank * np.mean([np.diag(Q) ** 2 for Q in drawn])
    pairs = [(drawn[i] * drawn[j]).sum(axis=0) ** 2 for i in range(30) for j in range(i)]
    from_each_other = rank * np.mean(pairs)
    assert from_start < 1.5 * from_each_other
    assert from_each_other < 0.5 * rank


def test_where_all_variances_are_equal_and_nothing_correlates_any_rotation_will_do():
    drawn = variance_keeping_rotations(np.eye(4), 400, np.random.default_rng(0))
    assert_orthogonal(drawn[0])
    assert abs(4 * np.mean(drawn[:, 0, 0] ** 2) - 1) < 0.2


def test_without_such_a_rotation_there_is_none():
    random = np.random.default_rng(0)
    # Principal components, of different variances: every other basis evens them out.
    assert np.isnan(variance_keeping_rotations(np.diag([4.0, 2.0, 1.0]), 2, random)).all()
    assert np.isnan(variance_keeping_rotations(correlated(2, 0), 2, random)).all()
    assert np.isnan(variance_keeping_rotations(np.zeros((3, 3)), 2, random)).all()
