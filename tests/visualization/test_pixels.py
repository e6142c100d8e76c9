"""Pixels and colours of optimised pictures."""

import numpy as np
import pytest
import torch
from visualized import natural_inputs

from ddp_tasks.visualization.pixels import PixelSpace, eight_bits
from schemas.parameters import RunError, TransformParameters


def _coloured(channels, count=40, side=16, seed=0):
    """Inputs of normal latents, mixed by a matrix, far enough from black and white."""
    generator = torch.Generator().manual_seed(seed)
    latents = torch.randn(count, channels, side, side, generator=generator, dtype=torch.float64)
    mix = 0.2 * torch.randn(channels, channels, generator=generator, dtype=torch.float64)
    return torch.sigmoid(torch.einsum("ij,kjmn->kimn", mix, latents) + 0.3), mix


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_independent_latents_get_the_covariance_of_the_images(channels):
    inputs, mix = _coloured(channels)
    space = PixelSpace.of(inputs, TransformParameters())
    # The square root is found up to a rotation, which latents do not know.
    torch.testing.assert_close(space.colours @ space.colours.T, mix @ mix.T, rtol=0.05, atol=0.006)
    generator = torch.Generator().manual_seed(9)
    latents = torch.randn(40, channels, 16, 16, generator=generator, dtype=torch.float64)
    drawn = space.squashed(latents).transpose(0, 1).flatten(1)
    natural = inputs.transpose(0, 1).flatten(1)
    torch.testing.assert_close(drawn.cov(), natural.cov(), rtol=0.1, atol=3e-4)
    torch.testing.assert_close(drawn.mean(dim=1), natural.mean(dim=1), rtol=0, atol=0.01)
    # One latent is one principal colour.
    gram = space.colours.T @ space.colours
    torch.testing.assert_close(gram, torch.diag(gram.diag()), atol=1e-12, rtol=0)


def test_a_pixel_becomes_the_input_that_the_run_makes_of_it():
    transform = TransformParameters(mean=[0.5, 0.4], std=[0.2, 0.25])
    inputs = natural_inputs(6, 2, 5, 7)
    space = PixelSpace.of(inputs, transform)
    pictures = np.array([[[[0, 255], [51, 102]]]], dtype=np.uint8)
    expected = torch.tensor([[[[-2.5, (0.2 - 0.5) / 0.2]], [[0.6 / 0.25, 0.0]]]])
    torch.testing.assert_close(space.inputs_of(pictures), expected.double())


def test_without_a_transform_black_and_white_are_the_extremes_of_each_channel():
    inputs = natural_inputs(6, 2, 5, 7) * torch.tensor([10.0, 300.0])[:, None, None] - 50
    space = PixelSpace.of(inputs, None)
    assert (space.channels, space.height, space.width) == (2, 5, 7)
    extremes = space.inputs(
        torch.tensor([0.0, 1.0]).double().reshape(2, 1, 1, 1).expand(2, 2, 1, 1)
    )
    torch.testing.assert_close(extremes[0, :, 0, 0], inputs.amin(dim=(0, 2, 3)).double())
    torch.testing.assert_close(extremes[1, :, 0, 0], inputs.amax(dim=(0, 2, 3)).double())


def test_a_channel_that_never_changes_stays_as_it_is():
    inputs = natural_inputs(6, 2, 5, 7).double()
    inputs[:, 1] = 0.25
    space = PixelSpace.of(inputs, TransformParameters())
    pixels = space.squashed(torch.randn(3, 2, 5, 7, dtype=torch.float64))
    torch.testing.assert_close(pixels[:, 1], torch.full_like(pixels[:, 1], 0.25))
    assert space.magnitude.isfinite().all()
    assert pixels[:, 0].std() > 0.01


def test_a_single_level_takes_no_nan():
    space = PixelSpace.of(torch.full((2, 1, 4, 4), 3.0), None)
    assert space.squashed(torch.ones(1, 1, 4, 4)).isfinite().all()


@pytest.mark.parametrize("shape", [(4, 7), (4, 2, 9), (2, 1, 3, 4, 5)])
def test_inputs_that_are_no_pictures_are_refused(shape):
    with pytest.raises(RunError, match=rf"images: inputs of shape .{shape[1]}, ?.*cannot be opt"):
        PixelSpace.of(torch.zeros(shape), None)


def test_eight_bits_round_to_the_nearest():
    pixels = torch.tensor([0.0, 0.4999 / 255, 0.5001 / 255, 1.0, float("nan"), 1.2])
    assert eight_bits(pixels.reshape(1, 1, 1, -1)).ravel().tolist() == [0, 0, 1, 255, 0, 255]
