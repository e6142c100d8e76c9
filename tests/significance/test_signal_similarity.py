"""CKA and principal angles, against slow sums over images and against what must not change them."""

import numpy as np
import pytest
import reference

from ddp_tasks.controls.random_rotations import haar_rotations
from ddp_tasks.significance import signal_similarity as similarity


def signals(n=40, r=6, seed=0):
    return np.random.default_rng(seed).standard_normal((n, r)) + 3


def rotation(r, seed=0):
    return haar_rotations(r, 1, np.random.default_rng(seed))[0]


def test_cka_is_that_of_tables_of_images_by_images():
    a, b = signals(seed=1), signals(r=4, seed=2)
    b[:, 0] += a[:, 1]
    expected = reference.unbiased_cka(a.tolist(), b.tolist())
    assert similarity.linear_cka(a, b) == pytest.approx(expected, rel=1e-9)
    assert abs(expected) < 0.5


def test_cka_does_not_see_a_basis_a_scale_or_a_mean():
    a = signals()
    assert similarity.linear_cka(a, 7 * a @ rotation(6) + 2) == pytest.approx(1)


def test_cka_of_independent_signals_is_zero_on_average_however_many_vectors():
    values = [
        similarity.linear_cka(signals(30, 60, s), signals(30, 80, s + 100)) for s in range(60)
    ]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(60)


def test_cka_is_refused_or_unknown_where_it_says_nothing():
    with pytest.raises(ValueError, match="3 images; CKA needs 4"):
        similarity.linear_cka(signals(3), signals(3))
    assert np.isnan(similarity.linear_cka(signals(), np.ones((40, 2))))


def test_directions_that_carry_the_variance_are_kept_at_most_one_for_ten_images():
    wide = np.random.default_rng(0).standard_normal((100, 3)) * [100, 50, 0.1]
    assert similarity.principal_directions(wide).shape == (100, 2)
    assert similarity.principal_directions(signals(40, 30)).shape == (40, 4)
    assert similarity.principal_directions(np.ones((40, 3))).shape == (40, 0)


def test_angles_are_those_of_planes_turned_by_hand():
    a = np.eye(3)[:, :2]
    turned = np.array([[1, 0], [0, np.cos(0.3)], [0, np.sin(0.3)]])
    np.testing.assert_allclose(similarity.subspace_cosines(a, turned), [1, np.cos(0.3)])
    assert not len(similarity.subspace_cosines(a, np.empty((3, 0))))


def test_spaces_of_signals_do_not_depend_on_their_basis():
    a = signals(100, 5)
    spaces = [similarity.principal_directions(of) for of in (a, a @ rotation(5))]
    np.testing.assert_allclose(similarity.subspace_cosines(*spaces), 1)


def test_channels_correspond_where_their_order_is_the_best_and_not_otherwise():
    a = signals(60, 8)
    near = a + 0.5 * signals(60, 8, seed=5)
    assert similarity.channel_correspondence(a, near).corresponds
    assert not similarity.channel_correspondence(a, np.roll(near, 1, axis=1)).corresponds
    assert not similarity.channel_correspondence(a, near[:, :7]).corresponds
    assert not similarity.channel_correspondence(a, np.ones((60, 8))).corresponds


def test_a_constant_signal_correlates_with_nothing():
    a = np.column_stack([np.arange(10.0), np.full(10, 1e6)])
    np.testing.assert_allclose(similarity.correlations(a, -a), [[-1, 0], [0, 0]], atol=1e-12)


def test_rotations_are_orthogonal_and_have_no_preferred_sign():
    drawn = [rotation(4, seed) for seed in range(200)]
    np.testing.assert_allclose(drawn[0] @ drawn[0].T, np.eye(4), atol=1e-12)
    assert 70 < sum(np.linalg.det(Q) > 0 for Q in drawn) < 130
