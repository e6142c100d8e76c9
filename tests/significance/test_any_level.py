import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import LEVELS, cubes

from ddp_tasks.significance.any_level import LayerCounts
from ddp_tasks.significance.quantiles import NoValuesError
from ddp_tasks.significance.significance import fractions, of_part, thresholds
from ddp_tasks.significance.splits import split_images


def counts_of(cube, layer, part, keep, width):
    """A layer's counts, its vectors read so many at a time."""
    signals = cube.signals[:, layer, : cube.ranks[layer]]
    return LayerCounts(
        lambda: (signals[:, i : i + width] for i in range(0, signals.shape[1], width)),
        np.where(cube.targets < 0, -1, part * cube.target_classes + cube.targets),
        cells=2 * cube.target_classes,
        choosing=cube.target_classes,
        keep=keep,
    )


@settings(max_examples=40)
@given(cubes(unread=True, unreached=True), LEVELS, st.booleans(), st.integers(1, 4))
def test_any_level_is_what_passes_over_the_cube_give_to_the_bit(cube, levels, keep, width):
    part = np.zeros(len(cube.targets), dtype=np.int8)
    for c in range(cube.target_classes):  # as a split, where a class has two images
        part[np.flatnonzero(cube.targets == c)[1::2]] = 1
    ranks = cube.ranks
    chosen = of_part(cube.whole, part, 0)
    for layer in range(len(ranks)):
        counts = counts_of(cube, layer, part, keep, width)
        reached = np.isfinite(cube.signals[(part == 0) & (cube.targets >= 0), layer, 0])
        if not reached.any():
            with pytest.raises(NoValuesError):
                counts.at(levels[0])
            continue

        def of_layer(layer=layer):
            return [(signals[:, layer : layer + 1], target) for signals, target in chosen()]

        expected = thresholds(of_layer, [ranks[layer]], levels)
        every = [(cube.signals[:, layer : layer + 1], cube.targets)]
        shares = fractions(lambda e=every: e, [ranks[layer]], expected, cube.target_classes, part)
        for number, level in enumerate(levels):
            found = counts.at(level)
            assert found.threshold.tolist() == expected[:, number, 0].tolist()
            significant = found.significant.reshape(2, 2, cube.target_classes, -1)
            for split in range(len(shares.images)):
                images = shares.images[split][:, None]
                fraction = shares.fraction[split, :, number, :, 0]
                of_split = np.where(
                    images > 0, significant[:, split] / np.maximum(images, 1), np.nan
                )
                np.testing.assert_array_equal(of_split.astype(np.float32), fraction)


def test_a_level_by_hand():
    # Signals 1 to 4 choose: level 0.5 lies between 2 and 3. Of the judging images 2.5 is not
    # above it, and not below it either.
    signals = np.array([[1], [2], [3], [4], [2.5], [2.6]], dtype=np.float32)
    cell = np.array([0, 0, 1, 1, 2, 3])
    counts = LayerCounts(lambda: [signals], cell, cells=4, choosing=2, keep=True)
    found = counts.at(0.5)
    assert found.threshold.tolist() == [2.5, -2.5]
    assert found.significant[..., 0].tolist() == [[0, 2, 0, 1], [2, 0, 0, 0]]


def test_half_splits_choose_as_a_run_does():
    part = split_images(np.arange(40) % 4, 0.5, 0)
    signals = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    cell = part * np.int64(4) + np.arange(40) % 4
    found = LayerCounts(lambda: [signals], cell, cells=8, choosing=4, keep=True).at(0.37)
    assert found.threshold[0] == np.quantile(signals[part == 0].astype(np.float64), 0.37)
