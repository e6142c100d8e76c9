"""How a network takes its images and gives its class scores, as found before a run's work."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ddp_tasks.networks.class_scores import class_scores


@dataclass(frozen=True)
class CallingConvention:
    """In which form a network takes its images, and which part of its output the scores are."""

    dtype: torch.dtype | None = None
    """of the inputs; None leaves the images' own."""
    channels_last: bool = False
    """memory layout of inputs and weights. Convolutions are faster with channels last, but some
    networks take none but contiguous inputs: ``view`` after a convolution."""
    fewest: int = 1
    """images of a batch: 2 where the network loses the axis of one image, as ``squeeze`` does."""
    copies: bool = False
    """whether the network changes its inputs in place, so that it must be given copies."""
    alone: bool = False
    """whether each image passes by itself; then images may take different paths."""
    output: str | None = None
    """the part of the output that holds the scores, as the run names it."""
    sigmoid: bool = False
    """whether the scores are the probability of the second of two classes."""

    def given(self, images: Tensor, device: torch.device | None = None) -> Tensor:
        """A batch as the network takes it.

        Parameters
        ----------
        images
            shape (n, ...); at least one.

        Returns
        -------
        shape (max(n, fewest), ...): where images lack, the first of them stand once more at the
        end; no tensor of the caller's where the network changes its inputs
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
        """Images as the network takes them: all together, or each alone where the run does so."""
        for batch in images.split(1 if self.alone else len(images)):
            yield self.given(batch, device)

    def scores(self, output: Any, images: int) -> Tensor:
        """Class scores in what the network gives for so many images; see ``class_scores``."""
        return class_scores(output, images, self.output, probability=self.sigmoid)

    def laid_out(self, model: nn.Module) -> nn.Module:
        """The network itself, the weights of its convolutions in the inputs' layout."""
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        for parameter in model.parameters():
            if parameter.ndim == 4 and parameter.layout == torch.strided:
                parameter.data = parameter.data.contiguous(memory_format=layout)
        return model


#: Images are given as they come, and the output holds its scores where they are found.
AS_THEY_COME = CallingConvention()


def input_dtype(model: nn.Module) -> torch.dtype | None:
    """The type of a network's weights; None where it has none in floating point."""
    floating = (p.dtype for p in model.parameters() if p.is_floating_point())
    return next(floating, None)
