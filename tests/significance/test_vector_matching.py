"""Vectors matched by their signals: what must be found again, and what chance must not match."""

import numpy as np
import pytest

from ddp_tasks.controls.random_rotations import haar_rotations
from ddp_tasks.significance.vector_matching import agreements, close_groups, every_vector, match

R, N = 6, 120


def signals(seed=0):
    return np.random.default_rng(seed).standard_normal((N, R)) * np.arange(R, 0, -1) + 1


def bases(draws=20, r=R):
    rng = np.random.default_rng(1)
    return haar_rotations(r, draws, rng)


def matched(a, b, groups=None, target=None):
    numbers = every_vector(np.arange(R)) if groups is None else groups
    labels = np.arange(N) % 3 if target is None else target
    return match(a, numbers, b, numbers, labels, bases=bases())


def test_vectors_in_another_order_and_of_other_signs_are_found_again():
    a = signals()
    order, sign = np.array([2, 0, 5, 1, 4, 3]), np.array([1, -1, 1, 1, -1, -1])
    found = matched(a, a[:, order] * sign * 3 + 0.05 * signals(9))
    np.testing.assert_array_equal(order[found.b], np.arange(R))
    np.testing.assert_array_equal(found.sign, sign[found.b])
    assert found.matched.all()
    assert found.beyond_classes.all()
    assert (found.agreement > 0.98).all()
    assert np.median(found.turned) < 0.95


def test_independent_signals_are_matched_as_rarely_as_the_level_says():
    rng = np.random.default_rng(3)
    any_match = []
    for _ in range(60):
        a, b = rng.standard_normal((2, N, R))
        any_match.append(matched(a, b).matched.any())
    # The greatest of 20 draws is a coarse percentile: its level is between 5 and 10 %.
    assert np.mean(any_match) < 0.2


def test_what_only_the_classes_share_is_matched_but_not_beyond_them():
    target = np.arange(N) % 3
    level = np.random.default_rng(4).standard_normal((3, R)) * 3
    rng = np.random.default_rng(5)
    a, b = (level[target] + rng.standard_normal((N, R)) for _ in range(2))
    found = matched(a, b, target=target)
    assert found.matched.all()
    assert not found.beyond_classes.any()


def test_vectors_of_equal_singular_values_are_matched_as_one_subspace():
    a = np.random.default_rng(6).standard_normal((N, R))
    values = np.array([5, 3, 3 - 1e-9, 3 - 2e-9, 1, 0.5])
    turned = np.eye(R)
    turned[1:4, 1:4] = haar_rotations(3, 1, np.random.default_rng(7))[0]
    groups = close_groups(values)
    np.testing.assert_array_equal(groups, [0, 1, 1, 1, 2, 3])
    alone, together = matched(a, a @ turned), matched(a, a @ turned, groups)
    assert alone.agreement[1:4].max() < 0.999
    np.testing.assert_allclose(together.agreement, 1)
    assert together.sign[1] == 0
    assert together.matched.all()


def test_a_chain_of_neighbours_is_cut_into_subspaces():
    np.testing.assert_array_equal(
        close_groups(np.array([100, 99, 98.5, 97.9, 97, 96, 50.0])), [0, 0, 0, 1, 1, 1, 2]
    )
    np.testing.assert_array_equal(close_groups(np.array([2.0, 2.0, 1.0]), close=0), [0, 1, 2])
    assert len(close_groups(np.empty(0))) == 0


def test_agreement_of_single_vectors_is_their_absolute_correlation():
    a, b = signals(1), signals(2)
    agreement, correlation = agreements(a, np.arange(R), b, np.arange(R))
    expected = np.corrcoef(a.T, b.T)[:R, R:]
    np.testing.assert_allclose(correlation, expected, atol=1e-12)
    np.testing.assert_allclose(agreement, np.abs(expected), atol=1e-12)


def test_agreement_of_subspaces_is_that_of_canonical_correlations():
    a, b = signals(1), signals(2)
    b[:, 1] += a[:, 0]
    groups = np.array([0, 0, 0, 1, 1, 2])
    agreement, correlation = agreements(a, groups, b, groups)
    bases_of = [np.linalg.qr(x[:, :3] - x[:, :3].mean(axis=0))[0] for x in (a, b)]
    rho = np.linalg.svd(bases_of[0].T @ bases_of[1], compute_uv=False)
    assert agreement[0, 0] == pytest.approx(np.sqrt((rho**2).mean()))
    assert correlation[0, 0] == 0
    assert correlation[2, 2] == pytest.approx(np.corrcoef(a[:, 5], b[:, 5])[0, 1])


def test_layers_of_different_rank_match_as_many_vectors_as_the_smaller_has():
    a = signals()
    found = match(a, np.arange(R), a[:, :4], np.arange(4), np.arange(N) % 3, bases=bases(5, 4))
    np.testing.assert_array_equal(found.a, [0, 1, 2, 3])
    assert found.permuted.shape == (5, 4)


def test_a_layer_of_rank_1_is_matched():
    a = signals()[:, :1]
    found = match(a, np.zeros(1, int), -a, np.zeros(1, int), np.arange(N) % 3, bases=bases(20, 1))
    assert found.matched.all()
    assert found.sign.tolist() == [-1]
