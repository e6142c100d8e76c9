"""Some images of a finished run as a network takes them, to be shown to several networks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ddp_tasks.images.image_sets import ImageSet
from schemas.run_error import RunError

#: Inputs that are kept after they were read once, in bytes; more are read each time.
KEPT_BYTES = 1 << 30


class ShownImages:
    """Input tensors of some images in batches of nearly equal sizes.

    Parameters
    ----------
    positions
        shape (n,), of the images in the run; at least one.
    batch_size
        images in a batch at most.
    """

    def __init__(
        self,
        images: ImageSet,
        positions: npt.NDArray[np.int64],
        batch_size: int,
        device: torch.device,
    ) -> None:
        self.positions = positions
        self._images, self._device = images, device
        self._parts = np.array_split(positions, -(-len(positions) // batch_size))
        self._kept: list[Tensor] | None = None

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def target(self) -> npt.NDArray[np.int64]:
        """Classes of the images, shape (n,)."""
        return self._images.target[self.positions]

    def batches(self) -> Iterator[Tensor]:
        """Inputs, shape (k, ...) each, on the device, in the order of the positions.

        Raises
        ------
        RunError
            If an image cannot be read any more.
        """
        if self._kept is not None:
            yield from self._kept
            return
        kept: list[Tensor] | None = []
        for part in self._parts:
            batch = self._read(part)
            yield batch
            if kept is not None:
                kept.append(batch)
                size = batch.numel() * batch.element_size()
                kept = kept if len(self._parts) * size <= KEPT_BYTES else None
        self._kept = kept

    def _read(self, part: npt.NDArray[np.int64]) -> Tensor:
        pictures = self._images.read_at(part.tolist())
        for position, picture in zip(part.tolist(), pictures, strict=True):
            if isinstance(picture, str):
                raise RunError(f"image {self._images.ids[position]!r} cannot be read: {picture}")
        readable = [picture for picture in pictures if isinstance(picture, Tensor)]
        return self._images.inputs(readable, self._device)
