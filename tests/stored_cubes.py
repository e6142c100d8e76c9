"""A store made for a cube of signals, as a run would leave it before its reductions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr
from runs import tiny_run
from strategies import Cube

from ddp_tasks.networks.decomposition import layer_coordinates
from ddp_tasks.networks.layers import LinearLayer
from ddp_tasks.significance.significance import significance_dataset
from ddp_tasks.store import creation, shards
from ddp_tasks.store.identity import Identity


def stored(path: Path, cube: Cube, block: int) -> None:
    """Write a cube by the store's own means; images of target -1 could not be read."""
    images, layers, vectors = cube.signals.shape
    run = tiny_run(shards={"images": block})
    names = [f"layer {i}" for i in range(layers)]
    linear = tuple(
        LinearLayer(name, name, 1, "Linear", (rank, 2), 1)
        for name, rank in zip(names, cube.ranks, strict=True)
    )
    coordinates = layer_coordinates(linear, vectors)
    padded = (("layer", "singular_vector"), np.full((layers, vectors), np.nan))
    of_layers = xr.Dataset(
        {
            "kind": ("layer", np.array(["Linear"] * layers, dtype=object)),
            "shape": ("layer", np.array(["-"] * layers, dtype=object)),
            "rank": ("layer", np.array(cube.ranks)),
            "singular_value": padded,
            "relative_gap": padded,
            "block": (padded[0], np.full((layers, vectors), -1)),
        },
        coords=coordinates,
    )
    signals = xr.Dataset(
        {
            "target": ("image", np.maximum(cube.targets, 0)),
            "dataset_index": ("image", np.arange(images)),
        },
        coords={
            "image": np.array([f"{i:06}" for i in range(images)], dtype=object),
            "target_class": np.array(
                [f"class {c}" for c in range(cube.target_classes)], dtype=object
            ),
            **coordinates,
        },
    )
    creation.create(
        path,
        run,
        Identity.of_run(run, "model", "images"),
        not_analysed={},
        groups={"layers": of_layers},
        signals=signals,
    )
    for shard in shards.shards(path):
        rows = slice(shard.start, shard.stop)
        read = cube.targets[rows] >= 0
        shards.write_shard(
            path,
            shard,
            {
                "signal": cube.signals[rows],
                "predicted": np.where(read, 0, -1),
                "confidence": np.where(read, 1, np.nan).astype(np.float32),
                "error": np.where(read, "", "no such file").astype(object),
                "content_size": np.where(read, 1, -1),
                "content_digest": read.astype(np.uint64),
            },
        )


def significance_of(cube: Cube, levels: list[float]) -> xr.Dataset:
    """The group ``significance`` of a cube in memory."""
    rank = xr.DataArray(list(cube.ranks), dims="layer")
    layers = xr.Dataset(
        {"rank": rank},
        coords={
            "layer": np.array([f"layer{i}" for i in range(len(cube.ranks))], dtype=object),
            "singular_vector": np.arange(max(cube.ranks)),
        },
    )
    names = [f"class {c}" for c in range(cube.target_classes)]
    return significance_dataset(cube.parts, layers, names, levels)
