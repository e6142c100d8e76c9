"""How a network takes its images and gives its class scores, found out before work starts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ddp_tasks.networks.class_scores import class_scores


@dataclass(frozen=True)
class CallingConvention:
    """The form in which a network takes images, and the part of its output that is the scores."""

    dtype: torch.dtype | None = None
    """of the inputs; None keeps that of the images."""
    channels_last: bool = False
    """memory layout of inputs and weights. Convolutions are faster with channels last, but some
    networks take only contiguous inputs, such as those with ``view`` after a convolution."""
    fewest: int = 1
    """least images in a batch; 2 if one image alone loses its axis, as through ``squeeze``."""
    copies: bool = False
    """whether the network changes its inputs in place, so that it needs copies."""
    alone: bool = False
    """whether each image passes alone; then images may take different paths."""
    output: str | None = None
    """the part of the output that holds the scores, as the run names it."""
    sigmoid: bool = False
    """whether the network gives the probability of the second of two classes."""

    def inputs(self, images: Tensor, device: torch.device | None = None) -> Tensor:
        """A batch as the network takes it.

        Parameters
        ----------
        images
            shape (n, ...); at least one.

        Returns
        -------
        shape (max(n, fewest), ...): too few images are filled up with the first one at the end; a
        copy if the network changes its inputs
        """
        if (lacking := self.fewest - len(images)) > 0:
            images = torch.cat([images, images[:1].expand(lacking, *images.shape[1:])])
        dtype = self.dtype if images.is_floating_point() else None
        last = self.channels_last and images.ndim == 4
        layout = torch.channels_last if last else torch.contiguous_format
        return images.to(
            device=device or images.device,
            dtype=dtype or images.dtype,
            memory_format=layout,
            copy=self.copies,
        )

    def batches(self, images: Tensor, device: torch.device | None = None) -> Iterator[Tensor]:
        """Images as the network takes them: all together, or each alone if the run does so."""
        for batch in images.split(1 if self.alone else len(images)):
            yield self.inputs(batch, device)

    def scores(self, output: Any, images: int) -> Tensor:
        """Class scores in the network's output for this number of images; see ``class_scores``."""
        return class_scores(output, images, self.output, probability=self.sigmoid)

    def laid_out(self, model: nn.Module) -> nn.Module:
        """The network itself, with the weights of its convolutions in the layout of the inputs."""
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        for parameter in model.parameters():
            if parameter.ndim == 4 and parameter.layout == torch.strided:
                parameter.data = parameter.data.contiguous(memory_format=layout)
        return model


#: Images are given unchanged, and the scores are looked for in the output.
AS_THEY_COME = CallingConvention()


def input_dtype(model: nn.Module) -> torch.dtype | None:
    """The type of a network's floating-point weights; None if it has none."""
    floating = (p.dtype for p in model.parameters() if p.is_floating_point())
    return next(floating, None)
