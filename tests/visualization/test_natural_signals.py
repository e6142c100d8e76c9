"""Natural signals against NumPy over all images at once."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest

from ddp_tasks.visualization.natural_signals import natural_signals, natural_sums


@pytest.fixture
def signals() -> npt.NDArray[np.float32]:
    drawn = np.random.default_rng(0).normal(1e4, 1, size=(50, 3)).astype(np.float32)
    drawn[[4, 17]] = np.nan
    return drawn


def _blocks(signals: npt.NDArray[np.float32], size: int) -> Iterator[npt.NDArray[np.float32]]:
    for start in range(0, len(signals), size):
        yield signals[start : start + size]


@pytest.mark.parametrize("size", [1, 7, 50])
def test_statistics_equal_those_of_all_images(signals: npt.NDArray[np.float32], size: int) -> None:
    natural = natural_signals(lambda: _blocks(signals, size))
    read = signals[~np.isnan(signals[:, 0])].astype(np.float64)
    np.testing.assert_allclose(natural.mean, read.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(natural.deviation, read.std(axis=0), rtol=1e-9)
    np.testing.assert_array_equal(natural.greatest, read.max(axis=0))
    np.testing.assert_array_equal(natural.least, read.min(axis=0))


@pytest.mark.parametrize("size", [3, 50])
def test_the_strongest_images_of_sums(signals: npt.NDArray[np.float32], size: int) -> None:
    weights = np.array([[1.0, 0, 0], [0.5, 2, 0], [0.5, 2, 0]])
    negative = np.array([False, False, True])
    natural = natural_sums(lambda: _blocks(signals, size), weights, negative, 4)
    sums = (signals.astype(np.float64) @ weights.T).astype(np.float32)
    for target, order in enumerate(
        (
            np.nan_to_num(-sums[:, 0], nan=np.inf),
            np.nan_to_num(-sums[:, 1], nan=np.inf),
            np.nan_to_num(sums[:, 2], nan=np.inf),
        )
    ):
        images = np.argsort(order, kind="stable")[:4]
        assert natural.strongest.image[target].tolist() == images.tolist()
        np.testing.assert_array_equal(natural.strongest.signal[target], sums[images, target])
    np.testing.assert_allclose(natural.mean, np.nanmean(sums.astype(np.float64), axis=0), rtol=1e-6)
    assert natural.best[2] == np.nanmin(sums[:, 2])


def test_a_layer_that_no_image_reaches_is_refused() -> None:
    nothing = np.full((3, 2), np.nan, dtype=np.float32)
    with pytest.raises(ValueError, match="no image"):
        natural_signals(lambda: [nothing])
    with pytest.raises(ValueError, match="no image"):
        natural_sums(lambda: [nothing], np.ones((1, 2)), np.array([False]), 2)
