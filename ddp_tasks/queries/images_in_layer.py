"""Images of a finished run, and optimised ones, seen at every position of one of its layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ddp_tasks.networks.layers import LinearLayer
from ddp_tasks.prepared_run import Prepared
from ddp_tasks.queries.finished_run import FinishedRun
from ddp_tasks.store import groups
from ddp_tasks.visualization.layer_outputs import layer_outputs
from ddp_tasks.visualization.pixels import PixelSpace, pixel_space
from ddp_tasks.visualization.similarity_overlays import spatial_activations
from schemas.names import group_path
from schemas.parameters import RunError

#: Images in a forward pass.
_BATCH = 16


@dataclass(frozen=True)
class ImagesInLayer:
    """The network and the images of a run, opened to look at one layer."""

    finished: FinishedRun
    prepared: Prepared
    layer: LinearLayer
    U: Tensor
    """float64, shape (d, r); left singular vectors."""

    def inputs(self, positions: Sequence[int]) -> Tensor:
        """Input tensors of images by their positions in the run: shape (n, ...).

        Raises
        ------
        RunError
            If an image was replaced, or cannot be read.
        """
        for position in positions:
            self.finished.check_image(self.prepared.images, position)
        images = self.prepared.images
        return torch.cat([images.batch(position, position + 1) for position in positions])

    def maps(self, inputs: Tensor, vectors: Sequence[int]) -> npt.NDArray[np.float32] | None:
        """Signals at every position, uᵢᵀ (Y - b): shape (n, vectors, high, wide).

        None if the layer has no two axes of positions.

        Raises
        ------
        RunError
            If the network does not lead the images to the layer.
        """
        chosen = self.U[:, list(vectors)]
        model, convention = self.prepared.model, self.prepared.layers.convention
        try:
            with (
                torch.no_grad(),
                layer_outputs(model, [self.layer], convention, lambda o: o.signals(chosen)) as run,
            ):
                parts = [run(part)[self.layer.name] for part in inputs.split(_BATCH)]
        except ValueError as error:
            raise RunError(f"layer {self.layer.name} cannot be shown: {error}") from None
        signals = torch.cat(parts)
        if signals.ndim != 4:
            return None
        return signals.movedim(-1, 1).to(torch.float32).cpu().numpy()

    def activations(self, inputs: Tensor) -> Tensor:
        """The layer's output less its bias, in the singular basis: shape (n, high, wide, r).

        Raises
        ------
        RunError
            If the layer's positions have more than two axes, or the network does not lead there.
        """
        model, convention = self.prepared.model, self.prepared.layers.convention
        try:
            return spatial_activations(model, self.layer, convention, inputs, self.U)
        except ValueError as error:
            raise RunError(f"layer {self.layer.name} cannot be shown: {error}") from None

    def inputs_of(self, pictures: npt.NDArray[np.uint8]) -> Tensor:
        """Input tensors of stored optimised pictures, shape (n, y, x, channel)."""
        return self._pixels.inputs_of(pictures).to(torch.float32)

    @cached_property
    def _pixels(self) -> PixelSpace:
        return pixel_space(self.prepared.images)


def images_in_layer(finished: FinishedRun, layer: str) -> ImagesInLayer:
    """Open a finished run's network and images to look at one of its layers.

    Raises
    ------
    RunError
        If the model or images are not those of the store, or the layer was decomposed together
        with a BatchNorm.
    """
    group = group_path("decomposition", layer)
    if folded := groups.group_attributes(finished.store, group).get("batch_norm"):
        raise RunError(
            f"layer {layer!r} was decomposed together with {folded}; signals at positions are "
            "shown of layers decomposed alone"
        )
    prepared = finished.prepared()
    by_name = {one.name: one for one in prepared.layers.linear}
    U = torch.from_numpy(groups.read(finished.store, group)["U"].to_numpy()).to(torch.float64)
    return ImagesInLayer(finished, prepared, by_name[layer], U)
