"""The space of a network's input pictures: pixels, their colours, and how often each pattern is.

An optimised picture has pixels from 0 to 1, as a displayed one. They are the sigmoid of *latents*,
which may be any number: 0 in every latent is the mean picture, and latents of variance 1 that do
not depend on one another have the colours of the run's images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from schemas.parameters import RunError, TransformParameters

if TYPE_CHECKING:
    from jaxtyping import Float64, Shaped, UInt8

    from ddp_tasks.images.image_sets import ImageSet

#: Axes of a picture: channels, rows and columns.
_AXES = 3
#: Pixels nearer to black or white than this count as so far away from them, where a sigmoid's
#: inverse would be infinite.
_MARGIN = 0.05
_WHITE = 255
#: Images from which the statistics of natural pictures are taken: of large ones fewer, by their
#: pixels in all.
_FEWEST, _MOST, _PIXELS = 8, 256, 1 << 21


@dataclass(frozen=True)
class PixelSpace:
    """Pictures of c channels, m rows and n columns, and statistics of natural ones."""

    height: int
    width: int
    low: Float64[Tensor, " c"]
    """input of the network for a pixel of 0."""
    span: Float64[Tensor, " c"]
    """input for a pixel of 1, minus that for a pixel of 0."""
    centre: Float64[Tensor, " c"]
    """mean of the inverse sigmoid of natural pixels."""
    colours: Float64[Tensor, "c c"]
    """a square root of their covariance between channels: one principal colour in each column."""
    magnitude: Float64[Tensor, "c m frequencies"]
    """mean magnitude of the spectrum of natural latents, as ``torch.fft.rfft2`` with the norm
    "forward" gives it; 0 for the mean of a picture."""

    @property
    def channels(self) -> int:
        """c."""
        return len(self.low)

    @classmethod
    def of(cls, inputs: Tensor, transform: TransformParameters | None) -> PixelSpace:
        """The space of a run's pictures, with the statistics of some of them.

        Parameters
        ----------
        inputs
            shape (k, c, m, n); as the network takes them.
        transform
            says which input a pixel becomes; None takes the range of each channel of the inputs.

        Raises
        ------
        RunError
            If the inputs are no pictures.
        """
        if inputs.ndim != _AXES + 1:
            raise RunError(
                f"images: inputs of shape {tuple(inputs.shape[1:])} cannot be optimised; feature "
                "visualisation takes pictures (channels, rows, columns)"
            )
        X = inputs.to(torch.float64)
        low, span = _range_of(X, transform)
        pixels = (X - low[:, None, None]) / span[:, None, None]
        unsquashed = torch.logit(pixels.clamp(_MARGIN, 1 - _MARGIN))
        centre = unsquashed.mean(dim=(0, 2, 3))
        off = (unsquashed - centre[:, None, None]).transpose(0, 1).flatten(1)
        variances, axes = torch.linalg.eigh(off @ off.T / off.shape[1])
        deviations = variances.clamp_min(0).sqrt()
        inverse = torch.where(deviations > 1e-6, 1 / deviations.clamp_min(1e-6), 0)
        # A colour that never changes has no latent and stays as it is.
        latents = (inverse[:, None] * (axes.T @ off)).reshape(len(off), *X[:, 0].shape)
        magnitude = torch.fft.rfft2(latents, norm="forward").abs().mean(dim=1)
        magnitude[:, 0, 0] = 0
        return cls(
            height=X.shape[2],
            width=X.shape[3],
            low=low,
            span=span,
            centre=centre,
            colours=axes * deviations,
            magnitude=magnitude,
        )

    def squashed(self, latents: Tensor) -> Tensor:
        """Pixels from 0 to 1 of latents: both of shape (k, c, m, n)."""
        colours, centre = self.colours.to(latents), self.centre.to(latents)
        mixed = torch.einsum("ij,kjmn->kimn", colours, latents)
        return torch.sigmoid(mixed + centre[:, None, None])

    def inputs(self, pixels: Tensor) -> Tensor:
        """Inputs of the network for pixels from 0 to 1: both of shape (k, c, m, n)."""
        low, span = self.low.to(pixels), self.span.to(pixels)
        return pixels * span[:, None, None] + low[:, None, None]

    def inputs_of(self, pictures: npt.NDArray[np.uint8]) -> Float64[Tensor, "k c m n"]:
        """Inputs of the network for 8-bit pictures.

        Parameters
        ----------
        pictures
            shape (k, m, n, c).
        """
        pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2).to(torch.float64) / _WHITE
        return self.inputs(pixels)


def pixel_space(images: ImageSet) -> PixelSpace:
    """The space of a run's pictures, with the statistics of images spread over the run.

    Raises
    ------
    RunError
        If the inputs are no pictures, or too many images cannot be read.
    """
    pixels = math.prod(images.shape[1:])
    most = max(_FEWEST, min(_MOST, _PIXELS // pixels))
    return PixelSpace.of(images.examples(most), images.transform)


def eight_bits(pixels: Tensor) -> UInt8[npt.NDArray[np.uint8], "k m n c"]:
    """Pixels from 0 to 1, shape (k, c, m, n), rounded to 0 to 255; NaN becomes 0."""
    levels = (pixels.detach().nan_to_num(0).clamp(0, 1) * _WHITE).round().to(torch.uint8)
    rounded: npt.NDArray[np.uint8] = levels.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return rounded


def _range_of(
    X: Tensor, transform: TransformParameters | None
) -> tuple[Shaped[Tensor, " c"], Shaped[Tensor, " c"]]:
    """The inputs for a pixel of 0, and how much more they are for a pixel of 1."""
    if transform is None:
        low, high = X.amin(dim=(0, 2, 3)), X.amax(dim=(0, 2, 3))
        return low, torch.where(high > low, high - low, 1)
    channels = X.new_zeros(X.shape[1])
    mean = channels + X.new_tensor(transform.mean or [0.0])
    deviation = channels + X.new_tensor(transform.std or [1.0])
    return -mean / deviation, 1 / deviation
