"""Maps of signals over positions, and patches of images, computed in Dask workers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr
from torch import Tensor

from ddp_tasks.images.image_sets import ImageSet
from ddp_tasks.images.input_pictures import input_picture
from ddp_tasks.networks.forward_pass import ForwardPass
from ddp_tasks.networks.layers import LinearLayer
from ddp_tasks.signals.spatial_statistics import at_positions
from ddp_tasks.store import groups, shards
from ddp_tasks.visualization.exemplars import RunningExemplars
from ddp_tasks.visualization.layer_outputs import LayerOutput, layer_outputs
from ddp_tasks.visualization.projection_heatmaps import (
    PATCHES,
    Floats,
    Integers,
    PatchSearch,
    Places,
    map_shape,
    patch,
    reduced,
)
from ddp_tasks.visualization.receptive_fields import receptive_fields
from ddp_tasks.workers.once import ONE_AT_A_TIME
from ddp_tasks.workers.signals import plain_pass
from ddp_tasks.workers.stored_run import StoredRun


@dataclass(frozen=True, eq=False)
class Looking:
    """Images that one task passes through the network, and what it looks for in them.

    Wanted are rows of (image, layer, direction, singular vector, place), the image counted in
    ``images`` and the layer in the store.
    """

    images: tuple[int, ...]
    """positions in the run."""
    maps: Integers
    """shape (k, 5); whose map is wanted."""
    patches: Integers
    """shape (p, 5); whose strongest position is wanted."""
    searched: tuple[int, ...]
    """layers whose strongest positions are looked for in the images that a map is wanted of."""

    def __str__(self) -> str:
        return f"maps of {len(self.images)} images from {self.images[0]} on"

    def __len__(self) -> int:
        return len(self.images)


@dataclass
class Found:
    """What a task found; by layer."""

    shape: dict[int, tuple[int, int]] = field(default_factory=dict)
    """height and width of its maps, before they are reduced."""
    rows: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    """which wanted maps these are."""
    maps: dict[int, list[Floats]] = field(default_factory=lambda: defaultdict(list))
    positions: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    """the strongest position of each."""
    searched: dict[int, Places] = field(default_factory=dict)
    patches: dict[int, tuple[float, int, int]] = field(default_factory=dict)
    """by row of the wanted patches: signal, position, and image in the run."""


def look(stored: StoredRun, names: Sequence[str], looking: Looking) -> Found:
    """Pass a task's images through the network, and keep the maps and positions wanted.

    Parameters
    ----------
    names
        of the store's layers.
    """
    with ONE_AT_A_TIME, torch.inference_mode():
        forward, images = plain_pass(stored)
        finding = _Finding(forward, names, looking)
        size = 1 if forward.convention.alone else stored.parameters.shards.batch_size
        for first in range(0, len(looking), size):
            batch = range(first, min(first + size, len(looking)))
            read = images.read_at([looking.images[image] for image in batch])
            readable = [
                (image, tensor)
                for image, tensor in zip(batch, read, strict=True)
                if isinstance(tensor, Tensor)
            ]
            if readable:
                numbers, tensors = zip(*readable, strict=True)
                finding.look(list(numbers), images.inputs(list(tensors), forward.device))
        return finding.found()


class _Finding:
    """One task's way through its images."""

    def __init__(self, forward: ForwardPass, names: Sequence[str], looking: Looking) -> None:
        self._forward, self._looking = forward, looking
        number = {name: layer for layer, name in enumerate(names)}
        self._layers = {number[layer.name]: layer for layer in forward.layers}
        self._number = number
        self._vectors: dict[int, Tensor] = {}
        self._found, self._search = Found(), defaultdict[int, PatchSearch](PatchSearch)
        self._maps, self._patches = _by_place(looking.maps), _by_place(looking.patches)

    def look(self, numbers: list[int], inputs: Tensor) -> None:
        """Look at images of these numbers, of which these are the input tensors."""
        wanted = sorted(
            {layer for image, layer in (*self._maps, *self._patches) if image in numbers}
        )
        layers = [self._layers[layer] for layer in wanted]

        def keep(output: LayerOutput) -> Tensor:
            self._look_at(self._number[output.layer.name], numbers, output)
            return torch.zeros(output.images, 1)

        if layers:
            model, convention = self._forward.model, self._forward.convention
            with layer_outputs(model, layers, convention, keep, self._forward.device) as outputs:
                outputs(inputs)

    def _look_at(self, layer: int, numbers: list[int], output: LayerOutput) -> None:
        # Used at once, so that no copy of the whole output is needed.
        values = at_positions(output.layer, output.call.output, output.images)
        shape = self._found.shape[layer] = map_shape(output.positions)
        U, bias = self._left_vectors(layer), output.call.bias
        offset = 0.0 if bias is None else bias.to(U) @ U
        for image, rows in zip(numbers, values, strict=False):
            maps, patches = self._maps.get((image, layer)), self._patches.get((image, layer))
            if maps is None and patches is None:
                continue
            signals = rows.to(U.dtype) @ U - offset
            if maps is not None:
                self._keep_maps(layer, maps, signals, shape)
                if layer in self._looking.searched:
                    self._search[layer].add(self._looking.images[image], signals)
            for row in patches if patches is not None else []:
                of_vector = signals[:, self._looking.patches[row, 3]]
                least = self._looking.patches[row, 2]
                position = int(of_vector.argmin() if least else of_vector.argmax())
                place = (float(of_vector[position]), position, self._looking.images[image])
                self._found.patches[row] = place

    def _keep_maps(
        self, layer: int, rows: list[int], signals: Tensor, shape: tuple[int, int]
    ) -> None:
        wanted = self._looking.maps[rows]
        maps = signals[:, torch.from_numpy(wanted[:, 3]).to(signals.device)].T
        sign = torch.from_numpy(1 - 2 * wanted[:, 2]).to(maps)[:, None]
        self._found.rows[layer] += rows
        self._found.maps[layer] += list(reduced(maps.reshape(-1, *shape)).cpu().numpy())
        self._found.positions[layer] += (maps * sign).argmax(dim=1).tolist()

    def _left_vectors(self, layer: int) -> Tensor:
        if layer not in self._vectors:
            vectors = self._forward.vectors[self._layers[layer].name]
            self._vectors[layer] = vectors.to(self._forward.device, torch.float32)
        return self._vectors[layer]

    def found(self) -> Found:
        """What was found in all images."""
        self._found.searched = {layer: search.found() for layer, search in self._search.items()}
        return self._found


def _by_place(wanted: Integers) -> dict[tuple[int, int], list[int]]:
    """Rows of what is wanted by image and layer."""
    rows: dict[tuple[int, int], list[int]] = {}
    for row, (image, layer) in enumerate(wanted[:, :2].tolist()):
        rows.setdefault((image, layer), []).append(row)
    return rows


def positions_of(layer: LinearLayer) -> tuple[int, ...]:
    """The positions of a layer's output for one image, (m, n) of a two-dimensional convolution."""
    axis = len(layer.output_shape) - 1 if layer.kind == "Linear" else 0
    if layer.kind != "Linear" and len(layer.output_shape) == len(layer.shape):
        axis = 1  # after the number of windows
    return (*layer.output_shape[:axis], *layer.output_shape[axis + 1 :])


def patch_boxes(stored: StoredRun, layers: Sequence[int]) -> dict[int, npt.NDArray[np.int64]]:
    """Receptive fields of all positions of some layers that do not see the whole image.

    Returns
    -------
    by layer, shape (4, height, width)
    """
    with ONE_AT_A_TIME:
        forward, images = plain_pass(stored)
        names = groups.read(stored.path, "layers")["layer"].to_numpy().tolist()
        chosen = {names[layer]: layer for layer in layers}
        linear = [layer for layer in forward.layers if layer.name in chosen]
        if not linear:
            return {}
        example = images.example().to(forward.device)
        boxes = receptive_fields(forward.model, linear, forward.convention, example)
    whole = [0, 0, *example.shape[2:]]
    return {
        chosen[name]: box
        for name, box in boxes.items()
        if box[:, box.shape[1] // 2, box.shape[2] // 2].tolist() != whole
    }


def strongest_of_positions(path: Path, layer: int) -> Integers:
    """The images with the strongest signals at a position, by the group ``spatial``.

    Returns
    -------
    positions in the run, shape (direction, r, patch); -1 where there is none
    """
    rank = int(groups.read(path, "layers")["rank"][layer])
    spatial = groups.read(path, "spatial").isel(layer=layer, singular_vector=slice(0, rank))
    running = [RunningExemplars(rank, PATCHES, target_classes=1) for _ in range(2)]
    for shard in shards.shards(path):
        images = slice(shard.start, shard.stop)
        target = np.zeros(len(shard), dtype=np.int64)
        for name, of_direction in zip(("maximum", "minimum"), running, strict=True):
            of_direction.add(spatial[name][images].to_numpy(), target, shard.start)
    return np.stack([one.found().overall.image[d] for d, one in enumerate(running)])


@dataclass(frozen=True, eq=False)
class Cutting:
    """Patches that one task cuts from images."""

    image: Integers
    """shape (k,); position in the run of each patch's image."""
    box: Integers
    """shape (k, 4)."""
    size: Integers
    """shape (k, 2); height and width of the patch as it is stored."""
    scale: npt.NDArray[np.float64]
    """shape (k,)."""

    def __str__(self) -> str:
        return f"{len(self)} patches"

    def __len__(self) -> int:
        return len(self.image)


def cut_patches(stored: StoredRun, cutting: Cutting) -> list[npt.NDArray[np.uint8]]:
    """Patches of images, each of shape (height, width, 3); grey where an image is unreadable."""
    with ONE_AT_A_TIME:
        _, images = plain_pass(stored)
        pictures = _pictures(images, np.unique(cutting.image).tolist())
    return [
        patch(pictures[image], box, (size[0], size[1]), scale)
        for image, box, size, scale in zip(
            cutting.image.tolist(),
            cutting.box.tolist(),
            cutting.size.tolist(),
            cutting.scale.tolist(),
            strict=True,
        )
    ]


def write_projections(
    path: Path, made_with: Mapping[str, str], one: tuple[str, xr.Dataset]
) -> None:
    """Write a layer's group, given with its name."""
    group, projections = one
    groups.write(path, group, projections, made_with)


def _pictures(images: ImageSet, positions: list[int]) -> Mapping[int, npt.NDArray[np.uint8]]:
    grey = np.full((*images.shape[1:], 3), 200, dtype=np.uint8)
    return {
        position: grey if isinstance(tensor, str) else input_picture(tensor)
        for position, tensor in zip(positions, images.read_at(positions), strict=True)
    }
