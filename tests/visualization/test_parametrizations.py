"""Fourier coefficients and phases as pictures."""

import math

import numpy as np
import pytest
import torch
from visualized import natural_inputs

from ddp_tasks.visualization.parametrizations import Fourier, Maco, parametrized
from ddp_tasks.visualization.pixels import PixelSpace

SIZES = [(1, 28, 28), (3, 9, 9), (2, 7, 12), (4, 12, 7), (3, 1, 5), (1, 5, 1)]
LIKE = torch.empty(0, dtype=torch.float64)


def _space(channels, height, width):
    return PixelSpace.of(natural_inputs(5, channels, height, width), None)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["fourier", "maco"])
def test_latents_have_any_size_and_a_finite_gradient(size, kind):
    of = parametrized(kind, _space(*size), 1.0, LIKE)
    start = torch.stack([of.start(torch.Generator().manual_seed(seed)) for seed in (0, 1)])
    start.requires_grad_()
    latents = of.latents(start)
    assert latents.shape == (2, *size)
    assert latents.isfinite().all()
    (gradient,) = torch.autograd.grad((latents**3).sum(), start)
    assert gradient.isfinite().all()
    # Each picture depends on its own numbers.
    (gradient,) = torch.autograd.grad(of.latents(start)[0].square().sum(), start)
    assert gradient[1].abs().max() == 0


def test_a_coefficient_is_a_wave_whose_amplitude_falls_with_its_frequency():
    of = Fourier(_space(1, 8, 16), 1.5, LIKE)
    for row, column, cycles in [(0, 0, 1), (0, 1, 1), (0, 4, 4), (1, 0, 2), (2, 3, 5)]:
        parameters = torch.zeros(1, 1, 8, 9, 2, dtype=torch.float64)
        parameters[0, 0, row, column, 0] = 1.0
        y, x = np.mgrid[:8, :16]
        wave = np.cos(2 * math.pi * (row * y / 8 + column * x / 16)) * cycles**-1.5
        # Of the column of no cycles both halves are given.
        factor = 1 if column == 0 else 2
        np.testing.assert_allclose(of.latents(parameters)[0, 0], factor * wave, atol=1e-12)


@pytest.mark.parametrize("size", SIZES)
def test_phases_keep_the_magnitudes_of_the_images(size):
    space = _space(*size)
    of = Maco(space, LIKE)
    generator = torch.Generator().manual_seed(3)
    # Also far from where they start.
    parameters = 40 * of.start(generator)[None]
    latents = of.latents(parameters)
    magnitude = torch.fft.rfft2(latents, norm="forward").abs()[0]
    torch.testing.assert_close(magnitude, space.magnitude, atol=1e-12, rtol=1e-9)
    torch.testing.assert_close(latents.mean(dim=(2, 3)), torch.zeros(1, size[0]).double())


def test_magnitudes_are_those_of_the_decorrelated_images():
    inputs = natural_inputs(5, 3, 6, 9)
    space = PixelSpace.of(inputs, None)
    pixels = ((inputs.double() - space.low[:, None, None]) / space.span[:, None, None]).numpy()
    clamped = np.clip(pixels, 0.05, 0.95)
    logits = np.log(clamped / (1 - clamped)) - space.centre.numpy()[:, None, None]
    latents = np.einsum("ij,kjmn->kimn", np.linalg.inv(space.colours.numpy()), logits)
    expected = np.abs(np.fft.rfft2(latents) / (6 * 9)).mean(axis=0)
    expected[:, 0, 0] = 0
    np.testing.assert_allclose(space.magnitude, expected, atol=1e-9)


def test_phases_start_uniformly():
    of = Maco(_space(3, 28, 28), LIKE)
    start = of.start(torch.Generator().manual_seed(0))
    assert start.abs().max() <= math.pi
    assert abs(float(start.std()) - math.pi / math.sqrt(3)) < 0.05
