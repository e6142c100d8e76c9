"""Random transformations: what they do, and that pictures share none of it."""

import math

import numpy as np
import pytest
import torch

from ddp_tasks.visualization.transformations import Extents, affine, drawn, transformed


def _one(right=0.0, down=0.0, side=1.0, degrees=0.0):
    return torch.tensor([[right, down, side, math.radians(degrees)]], dtype=torch.float64)


def _picture(height, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(1, 2, height, width, generator=generator, dtype=torch.float64)


def test_a_shift_is_in_pixels():
    picture = _picture(6, 9)
    seen = transformed(picture, affine(_one(right=2, down=-1), 6, 9))
    torch.testing.assert_close(seen[:, :, :-1, 2:], picture[:, :, 1:, :-2])
    # Beyond the border the picture is mirrored.
    torch.testing.assert_close(seen[:, :, :-1, 1], picture[:, :, 1:, 0])
    torch.testing.assert_close(seen[:, :, :-1, 0], picture[:, :, 1:, 1])


def test_no_transformation_changes_nothing():
    picture = _picture(5, 8)
    torch.testing.assert_close(transformed(picture, affine(_one(), 5, 8)), picture)


@pytest.mark.parametrize(("height", "width"), [(7, 7), (8, 8)])
def test_a_quarter_turn(height, width):
    picture = _picture(height, width)
    seen = transformed(picture, affine(_one(degrees=90), height, width))
    torch.testing.assert_close(seen, picture.rot90(1, dims=(2, 3)))


def test_rotation_keeps_distances_in_pictures_that_are_not_square():
    height, width = 10, 30
    maps = affine(_one(degrees=30), height, width)[0].numpy()
    half = np.array([width / 2, height / 2])
    corners = np.array([[3.0, 1.0], [-2.0, 4.0]])
    moved = [(maps[:, :2] @ (corner / half)) * half for corner in corners]
    np.testing.assert_allclose(np.linalg.norm(moved[0]), np.linalg.norm(corners[0]))
    np.testing.assert_allclose(moved[0] @ moved[1], corners[0] @ corners[1])


def test_a_larger_side_shows_the_middle():
    ramp = torch.arange(8, dtype=torch.float64).expand(1, 1, 8, 8)
    seen = transformed(ramp, affine(_one(side=2.0), 8, 8))
    np.testing.assert_allclose(seen[0, 0, 4], 1.75 + 0.5 * np.arange(8))


def test_draws_lie_within_their_extents_and_depend_on_the_generator_alone():
    extents = Extents(3.0, 0.2, 10.0)
    steps = drawn(extents, 400, torch.Generator().manual_seed(5))
    low, high = steps.amin(dim=0).tolist(), steps.amax(dim=0).tolist()
    bounds = [(-3, 3), (-3, 3), (0.8, 1.2), (-math.radians(10), math.radians(10))]
    for least, greatest, (lower, upper) in zip(low, high, bounds, strict=True):
        assert lower <= least < lower + 0.05 * (upper - lower)
        assert upper - 0.05 * (upper - lower) < greatest <= upper
    # Fewer steps are the first of more.
    again = drawn(extents, 100, torch.Generator().manual_seed(5))
    torch.testing.assert_close(again, steps[:100], rtol=0, atol=0)


def test_each_picture_is_transformed_by_itself():
    pictures = torch.cat([_picture(9, 7, seed) for seed in range(3)])
    steps = torch.stack(
        [drawn(Extents(2, 0.1, 10), 1, torch.Generator().manual_seed(s))[0] for s in range(3)]
    )
    together = transformed(pictures, affine(steps, 9, 7))
    for place in range(3):
        alone = transformed(pictures[place : place + 1], affine(steps[place : place + 1], 9, 7))
        torch.testing.assert_close(together[place : place + 1], alone, rtol=0, atol=0)
