"""What a Dask worker does: compute one shard of the cube and write it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ddp_tasks import store
from ddp_tasks.images import ImageSet
from ddp_tasks.layer_decompositions import folding_of, vectors_for_means
from ddp_tasks.layers import LinearLayer
from ddp_tasks.preparation import best_device, prepared_once
from ddp_tasks.signals import extract
from ddp_tasks.store import Shard
from schemas.parameters import RunError, RunParameters


def fill_shard(path: str, run: str, shard: Shard) -> int:
    """Compute one shard's signals and write them to the store.

    Parameters
    ----------
    path
        of the store, whose decomposition is finished.
    run
        run parameters as JSON; model and images are opened once per worker.

    Returns
    -------
    number of images written

    Raises
    ------
    RunError
        Naming the shard and the cause.
    """
    parameters = RunParameters.model_validate_json(run)
    try:
        model, images, layers, U = _opened(path, run)
        _check_images(images, path, shard)
        batches = (
            images.batch(start, min(start + parameters.shards.batch_size, shard.stop))
            for start in range(shard.start, shard.stop, parameters.shards.batch_size)
        )
        rows = extract(model, layers, U, batches)
    except (ValueError, RuntimeError) as error:
        raise RunError(
            f"shard {shard.index} (images {shard.start} to {shard.stop - 1}): {error}"
        ) from error
    store.write_shard(
        Path(path),
        shard,
        {"signal": rows.signal, "predicted": rows.predicted, "confidence": rows.confidence},
    )
    return len(shard)


@lru_cache(maxsize=1)
def _opened(
    path: str, run: str
) -> tuple[nn.Module, ImageSet, tuple[LinearLayer, ...], dict[str, Tensor]]:
    prepared = prepared_once(run)
    # A layer whose weight has no decomposition is not in the store.
    stored = set(store.read(Path(path), "layers")["layer"].to_numpy().tolist())
    layers = tuple(layer for layer in prepared.layers.linear if layer.name in stored)
    folding = folding_of(RunParameters.model_validate_json(run), prepared)
    U = {
        layer.name: torch.from_numpy(
            store.read(Path(path), f"decomposition/{layer.name}")["U"].to_numpy()
        )
        for layer in layers
    }
    model = prepared.model.to(best_device()).to(memory_format=torch.channels_last)
    return model, prepared.images, layers, vectors_for_means(U, folding)


def _check_images(images: ImageSet, path: str, shard: Shard) -> None:
    expected = store.dataset_indices(Path(path), shard)
    if not np.array_equal(images.dataset_index[shard.start : shard.stop], expected):
        raise RunError("this worker's image set differs from the one the store was made for")
