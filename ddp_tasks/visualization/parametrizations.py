"""Two ways to write pictures as numbers that can be optimised: Fourier coefficients, phases.

Both give latents of any size and number of channels (``pixels``) from the spectrum of each.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from ddp_tasks.visualization.pixels import PixelSpace
from ddp_tasks.visualization.targets import Parametrization

#: Bounds of the standard deviation of the first coefficients, drawn anew for each seed. From nearly
#: flat pictures, some sums of signals never rise above those of natural images; from noise that can
#: be seen, more of the noise stays.
_START = (0.03, 0.3)


class Parametrized(Protocol):
    """Pictures as numbers."""

    def start(self, generator: torch.Generator) -> Tensor:
        """The first numbers of one picture: float64, on the CPU."""

    def latents(self, parameters: Tensor) -> Tensor:
        """Latents of pictures, shape (k, c, m, n), from their numbers, shape (k, ...)."""


class Fourier:
    """Coefficients of the discrete Fourier transform, those of high frequencies scaled down.

    A coefficient of 1 is a wave of amplitude 2 f^(-decay), f being its number of cycles along the
    longer side, at least 1. So a step of one size changes large shapes more than fine grain.

    References
    ----------
    Olah et al. 2017, "Feature Visualization", section on preconditioning.
    """

    def __init__(self, pixels: PixelSpace, decay: float, like: Tensor) -> None:
        self._shape = (pixels.channels, pixels.height, pixels.width // 2 + 1)
        self._size = (pixels.height, pixels.width)
        rows = torch.fft.fftfreq(pixels.height, dtype=torch.float64)
        columns = torch.fft.rfftfreq(pixels.width, dtype=torch.float64)
        cycles = max(self._size) * torch.hypot(rows[:, None], columns[None])
        self._scale = cycles.clamp_min(1).pow(-decay).to(like)[..., None]

    def start(self, generator: torch.Generator) -> Tensor:
        """Normally distributed around 0: shape (c, m, n // 2 + 1, 2)."""
        normal = torch.randn(*self._shape, 2, generator=generator, dtype=torch.float64)
        least, greatest = _START
        part = torch.rand(1, generator=generator, dtype=torch.float64)
        return least * (greatest / least) ** part * normal

    def latents(self, parameters: Tensor) -> Tensor:
        """See ``Parametrized``."""
        spectrum = torch.view_as_complex(parameters * self._scale)
        return torch.fft.irfft2(spectrum, s=self._size, norm="forward")


class Maco:
    """Phases of the discrete Fourier transform; the magnitudes are those of natural images.

    References
    ----------
    Fel et al. 2023, "Unlocking Feature Visualization for Deeper Networks with MAgnitude
    Constrained Optimization".
    """

    def __init__(self, pixels: PixelSpace, like: Tensor) -> None:
        self._size = (pixels.height, pixels.width)
        self._magnitude = pixels.magnitude.to(like)

    def start(self, generator: torch.Generator) -> Tensor:
        """Uniformly distributed from -π to π: shape (c, m, n // 2 + 1)."""
        uniform = torch.rand(*self._magnitude.shape, generator=generator, dtype=torch.float64)
        return math.pi * (2 * uniform - 1)

    def latents(self, parameters: Tensor) -> Tensor:
        """See ``Parametrized``."""
        spectrum = torch.polar(self._magnitude.expand_as(parameters), self._phase(parameters))
        return torch.fft.irfft2(spectrum, s=self._size, norm="forward")

    def _phase(self, parameters: Tensor) -> Tensor:
        """The phases, opposite for frequencies that are each other's negatives.

        Only the columns of no and of most cycles hold both such frequencies. Of a real picture the
        two coefficients are conjugate; without this their magnitudes would not stay.
        """
        parts = [self._opposite(parameters[..., :1]), parameters[..., 1:]]
        if self._size[1] % 2 == 0:
            parts[1:] = [parameters[..., 1:-1], self._opposite(parameters[..., -1:])]
        return torch.cat(parts, dim=-1)

    @staticmethod
    def _opposite(column: Tensor) -> Tensor:
        return column - column.flip(-2).roll(1, -2)


def parametrized(
    kind: Parametrization, pixels: PixelSpace, decay: float, like: Tensor
) -> Parametrized:
    """The parametrisation of this name.

    Parameters
    ----------
    decay
        of the amplitudes of Fourier coefficients with their frequency.
    like
        a tensor of the type and on the device of the parameters.
    """
    return Fourier(pixels, decay, like) if kind == "fourier" else Maco(pixels, like)
