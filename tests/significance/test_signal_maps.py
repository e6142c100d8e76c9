"""Maps of signals: principal components against a singular value decomposition, and means."""

import numpy as np
import pytest

from ddp_tasks.significance.signal_maps import (
    LEAST_IMAGES,
    class_means,
    principal_plane,
    umap_plane,
)


@pytest.mark.parametrize("shape", [(30, 5), (5, 30), (12, 12)])
def test_places_are_those_of_a_singular_value_decomposition(shape):
    signals = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    found = principal_plane(signals)
    centred = signals.astype(np.float64) - signals.astype(np.float64).mean(axis=0)
    U, S, _ = np.linalg.svd(centred, full_matrices=False)
    expected = U[:, :2] * S[:2]
    np.testing.assert_allclose(np.abs(found.place), np.abs(expected), atol=1e-8)
    np.testing.assert_allclose(found.variance, S[:2] ** 2 / (S**2).sum(), atol=1e-12)
    assert (found.place[np.abs(found.place).argmax(axis=0), [0, 1]] > 0).all()


def test_a_rotation_of_the_signals_changes_no_place():
    random = np.random.default_rng(1)
    signals = random.normal(size=(20, 6))
    turned, _ = np.linalg.qr(random.normal(size=(6, 6)))
    places = [principal_plane(s.astype(np.float32)).place for s in (signals, signals @ turned)]
    np.testing.assert_allclose(*places, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 3), (4, 1), (3, 2)])
def test_equal_signals_and_few_vectors_lie_at_zero(shape):
    found = principal_plane(np.ones(shape, dtype=np.float32))
    assert found.place.shape == (shape[0], 2)
    assert not found.place.any()
    assert found.variance == (0, 0)


def test_means_are_those_of_classes_that_have_images():
    signals = np.array([[1, 2], [3, 4], [10, 20], [99, 99]], dtype=np.float32)
    means, present = class_means(signals, np.array([2, 2, 0, -1]), 4)
    assert present.tolist() == [0, 2]
    assert means.tolist() == [[10, 20], [2, 3]]


def test_umap_puts_like_images_together_and_one_seed_gives_one_map():
    random = np.random.default_rng(0)
    two = [5 * axis + random.normal(0, 0.3, (20, 6)) for axis in np.eye(6)[:2]]
    signals = np.concatenate(two).astype(np.float32)
    found = umap_plane(signals)
    assert found.variance is None
    apart = np.linalg.norm(found.place[:, None] - found.place, axis=2)
    apart[np.diag_indices(40)] = np.inf
    np.testing.assert_array_equal(apart.argmin(axis=1) < 20, np.arange(40) < 20)
    np.testing.assert_array_equal(umap_plane(signals).place, found.place)
    assert (umap_plane(signals, seed=1).place != found.place).any()
    assert umap_plane(signals[:LEAST_IMAGES]).place.shape == (LEAST_IMAGES, 2)
