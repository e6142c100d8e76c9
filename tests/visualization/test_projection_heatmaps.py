import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ddp_tasks.visualization.projection_heatmaps import (
    PATCHES,
    PatchSearch,
    Places,
    map_shape,
    patch,
    patch_size,
    reduced,
    strongest_places,
)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 9), st.integers(0, 99))
def test_a_reduced_map_has_the_mean_of_the_whole(height, width, side, seed):
    maps = torch.from_numpy(np.random.default_rng(seed).normal(size=(2, height, width)))
    small = reduced(maps, side)
    assert small.shape == (2, min(height, side), min(width, side))
    torch.testing.assert_close(small.mean(dim=(1, 2)), maps.mean(dim=(1, 2)))


def test_a_map_is_reduced_by_areas():
    # Three positions into two parts: the middle one goes half into each.
    assert reduced(torch.tensor([[[3.0, 6.0, 9.0]]]), 2).tolist() == [[[4.0, 8.0]]]
    whole = torch.arange(16.0).reshape(1, 4, 4)
    assert reduced(whole, 2).tolist() == [[[2.5, 4.5], [10.5, 12.5]]]
    assert reduced(whole, 4) is whole


def test_positions_that_are_no_grid_are_one_row():
    assert map_shape(()) == (1, 1)
    assert map_shape((7,)) == (1, 7)
    assert map_shape((3, 5)) == (3, 5)
    assert map_shape((2, 3, 5)) == (1, 30)


@given(st.integers(1, 9), st.integers(0, 99))
def test_a_search_finds_the_strongest_position_of_the_strongest_images(images, seed):
    signals = np.random.default_rng(seed).integers(-3, 4, (images, 6, 2)).astype(np.float32)
    search = PatchSearch()
    for image, of_image in enumerate(signals):
        search.add(10 + image, torch.from_numpy(of_image))
    found = search.found()
    for d, sign in enumerate((1, -1)):
        for v in range(2):
            best = (sign * signals[:, :, v]).max(axis=1)
            order = sorted(range(images), key=lambda i: (-best[i], i))[:PATCHES]
            count = len(order)
            assert found.image[d, v].tolist() == [10 + i for i in order] + [-1] * (PATCHES - count)
            expected = [sign * best[i] for i in order]
            assert found.signal[d, v, :count].tolist() == expected
            for place, i in enumerate(order):
                assert signals[i, found.position[d, v, place], v] == expected[place]


def test_places_of_several_searches_are_merged():
    image = np.array([[[3, -1, 1, 2, 5]], [[3, -1, 1, 2, 5]]])
    signal = np.array([[[1, 9, 2, 2, 0]], [[1, -9, 2, -2, 0]]], dtype=np.float32)
    found = strongest_places(Places(image, signal, image * 10))
    assert found.image.tolist() == [[[1, 2, 3, 5]], [[2, 5, 3, 1]]]
    assert found.position.tolist() == [[[10, 20, 30, 50]], [[20, 50, 30, 10]]]


@pytest.mark.parametrize("side", [8, 96])
def test_a_patch_is_the_box_of_the_picture(side):
    picture = np.random.default_rng(0).integers(0, 255, (100, 100, 3)).astype(np.uint8)
    boxes = np.array([[0, 2], [0, 2], [side - 2, side], [side - 2, side + 2]])
    size = patch_size(boxes)
    scale = min(1, 48 / side)
    assert size == (round((side - 2) * scale), min(side, 48))
    cut = patch(picture, boxes[:, 0].tolist(), size, scale)
    if side == 8:
        np.testing.assert_array_equal(cut[:6, :6], picture[:6, :6])
        assert (cut[:, 6:] == 200).all()
    else:
        assert cut.shape == (47, 48, 3)
        mean = picture[:94, :94].mean(axis=(0, 1))
        assert np.abs(cut[:47, :47].mean(axis=(0, 1)) - mean).max() < 2
