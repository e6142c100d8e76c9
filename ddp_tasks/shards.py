"""What a Dask worker does: compute one shard of the cube and write it; measure its pass."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from ddp_tasks import store
from ddp_tasks.extraction_error import error_dataset, sampled
from ddp_tasks.forward_pass import ForwardPass, forward_pass
from ddp_tasks.images import ImageSet
from ddp_tasks.layer_decompositions import folding_of, vectors_for_means
from ddp_tasks.preparation import best_device, prepared_once
from ddp_tasks.signals import extract
from ddp_tasks.store import Shard
from schemas.parameters import ExtractionParameters, RunError, RunParameters


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
        forward, images = _opened(path, run)
        _check_images(images, path, shard)
        batches = (
            images.batch(start, min(start + parameters.shards.batch_size, shard.stop))
            for start in range(shard.start, shard.stop, parameters.shards.batch_size)
        )
        rows = extract(forward, batches)
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


def extraction_error(path: str, run: str) -> xr.Dataset:
    """What the run's pass does to the signals, beside the network's own pass in float32.

    Parameters
    ----------
    path, run
        as of ``fill_shard``.

    Returns
    -------
    the group ``extraction``
    """
    forward, images = _opened(path, run)
    plain = _forward_pass(path, run, ExtractionParameters())
    batches = [images.batch(i, i + 1) for i in sampled(len(images))]
    batch = torch.cat(batches)
    return error_dataset(
        extract(plain, [batch]), extract(forward, [batch]), forward.layers, forward.folded
    )


@lru_cache(maxsize=1)
def _opened(path: str, run: str) -> tuple[ForwardPass, ImageSet]:
    options = RunParameters.model_validate_json(run).extraction
    return _forward_pass(path, run, options), prepared_once(run).images


def _forward_pass(path: str, run: str, options: ExtractionParameters) -> ForwardPass:
    prepared = prepared_once(run)
    # A layer whose weight has no decomposition is not in the store.
    stored = set(store.read(Path(path), "layers")["layer"].to_numpy().tolist())
    layers = tuple(layer for layer in prepared.layers.linear if layer.name in stored)
    U = {
        layer.name: torch.from_numpy(
            store.read(Path(path), f"decomposition/{layer.name}")["U"].to_numpy()
        )
        for layer in layers
    }
    folding = folding_of(RunParameters.model_validate_json(run), prepared)
    example = prepared.images.batch(0, 1)
    vectors = vectors_for_means(U, folding)
    return forward_pass(
        prepared.model, layers, vectors, example, options=options, device=best_device()
    )


def _check_images(images: ImageSet, path: str, shard: Shard) -> None:
    expected = store.dataset_indices(Path(path), shard)
    if not np.array_equal(images.dataset_index[shard.start : shard.stop], expected):
        raise RunError("this worker's image set differs from the one the store was made for")
