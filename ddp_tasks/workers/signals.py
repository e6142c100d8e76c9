"""Computing and writing one shard of the cube in a Dask worker, and measuring its pass."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr
from torch import Tensor

from ddp_tasks.files.system_errors import refusal_of
from ddp_tasks.images.contents import UNKNOWN, Content
from ddp_tasks.images.image_sets import ImageSet
from ddp_tasks.images.reading_ahead import read_ahead
from ddp_tasks.images.unreadable import Unreadable
from ddp_tasks.networks.forward_pass import ForwardPass, forward_pass
from ddp_tasks.networks.models import model_digest
from ddp_tasks.signals.extraction_error import error_dataset, sampled
from ddp_tasks.signals.signals import NotFiniteError, ShardSignals, extract, passed
from ddp_tasks.signals.spatial_statistics import Thresholds, spatial_statistics
from ddp_tasks.store import groups, shards, spatial_cube
from ddp_tasks.store.identity import Identity
from ddp_tasks.store.shards import Shard
from ddp_tasks.workers.decomposition import folding_of, vectors_for_means
from ddp_tasks.workers.devices import Place, best_device
from ddp_tasks.workers.once import ONE_AT_A_TIME, content_of_run, prepared_once
from ddp_tasks.workers.stored_run import StoredRun
from schemas.names import group_path
from schemas.parameters import ExtractionParameters, RunError, RunParameters
from schemas.recording import without_places

#: Arrays of ``ShardSignals`` with one row for each image.
_OF_IMAGES = ("signal", "predicted", "confidence")


@dataclass(frozen=True)
class FilledShard:
    """The result of writing one shard."""

    shard: Shard
    unreadable: Mapping[str, str]
    """reasons by id of images that could not be read; their rows are empty."""
    place: Place
    """where it was computed."""
    decoders: Mapping[str, int]
    """how many pictures of files each type of device decoded."""


def fill_shard(stored: StoredRun, shard: Shard) -> FilledShard:
    """Compute one shard's signals and write them to the store.

    Rows of images that cannot be read stay empty, and the reason is stored with them.

    Parameters
    ----------
    stored
        the run, whose decomposition is finished; model and images are opened once per worker.

    Raises
    ------
    RunError
        If the shard cannot be written, or has more unreadable images than the whole run allows;
        the message names the shard and the cause.
    """
    path, batch_size = stored.path, stored.parameters.shards.batch_size
    reasons: dict[int, str] = {}
    contents: dict[int, Content] = {}
    decoders: Counter[str] = Counter()
    try:
        stamp = groups.stamp(path)
        with ONE_AT_A_TIME:
            forward, images = _opened(stored)
            chosen = range(shard.start, shard.stop)
            reading = read_ahead(
                images,
                chosen,
                batch_size,
                forward.device,
                reasons,
                contents=contents,
                decoder=_decoder(stored, forward.device),
                decoders=decoders,
            )
            with closing(reading) as batches:
                first = next(batches, None)
                shard_passed = None if first is None else passed(forward, chain([first], batches))
        # A GPU may be at work on them still, while another thread tells it to pass its shard.
        signals = None if shard_passed is None else shard_passed.signals()
        unreadable = {images.ids[image]: reason for image, reason in reasons.items()}
        Unreadable(images.unreadable_share, len(images)).add(unreadable)
        if groups.stamp(path) != stamp:
            raise RunError("the store was replaced by another one meanwhile")
        if signals is not None and (of_output := images.class_of_output) is not None:
            signals = replace(signals, predicted=of_output[signals.predicted])
        shards.write_shard(
            path, shard, _rows(path, shard, signals, reasons) | _content_rows(shard, contents)
        )
    except NotFiniteError as error:
        readable = [i for i in range(shard.start, shard.stop) if i not in reasons]
        image = images.ids[readable[error.image]]
        raise RunError(
            f"{shard}: layer {error.layer} gives NaN or infinity for image {image!r}"
        ) from error
    except OSError as error:
        raise RunError(f"{shard}: {refusal_of(error, path)}") from error
    except (ValueError, RuntimeError) as error:
        raise RunError(f"{shard}: {error}") from error
    return FilledShard(shard, unreadable, Place.here(forward.device), dict(decoders))


def _rows(
    path: Path, shard: Shard, signals: ShardSignals | None, reasons: Mapping[int, str]
) -> dict[str, npt.NDArray[Any]]:
    """The shard's rows of the cube; those of unreadable images are empty."""
    of_readable = {} if signals is None else {name: getattr(signals, name) for name in _OF_IMAGES}
    images = range(shard.start, shard.stop)
    error = np.array([without_places(reasons.get(image, "")) for image in images], dtype=object)
    if not reasons:
        return {**of_readable, "error": error}
    rows = {**shards.empty_rows(path, shard), "error": error}
    for name, values in of_readable.items():
        rows[name][error == ""] = values
    return rows


def _content_rows(
    shard: Shard, contents: Mapping[int, Content]
) -> dict[str, npt.NDArray[np.int64] | npt.NDArray[np.uint64]]:
    """Size and digest of the shard's images, by which a replaced image is noticed."""
    of_images = [contents.get(image, UNKNOWN) for image in range(shard.start, shard.stop)]
    return {
        "content_size": np.array([content.size for content in of_images], dtype=np.int64),
        "content_digest": np.array([content.digest for content in of_images], dtype=np.uint64),
    }


def fill_spatial_shard(stored: StoredRun, shard: Shard) -> int:
    """Compute one shard's statistics over positions and write them to the store.

    Parameters
    ----------
    stored
        the run, whose thresholds are known.

    Returns
    -------
    number of images written

    Raises
    ------
    RunError
        If the shard cannot be written; the message names the shard and the cause.
    """
    path, parameters = stored.path, stored.parameters
    reasons: dict[int, str] = {}
    try:
        with ONE_AT_A_TIME:
            plain, images = plain_pass(stored)
            chosen = range(shard.start, shard.stop)
            reading = read_ahead(
                images,
                chosen,
                parameters.shards.batch_size,
                plain.device,
                reasons,
                decoder=_decoder(stored, plain.device),
            )
            with closing(reading) as batches:
                first = next(batches, None)
                thresholds = _thresholds(path, parameters)
                statistics = (
                    None
                    if first is None
                    else spatial_statistics(plain, thresholds, chain([first], batches))
                )
        readable = [i - shard.start for i in chosen if i not in reasons]
        rows = None if statistics is None else vars(statistics)
        spatial_cube.write_shard(path, shard, rows, readable)
    except OSError as error:
        raise RunError(f"{shard}: {refusal_of(error, path)}") from error
    except (ValueError, RuntimeError) as error:
        raise RunError(f"{shard}: {error}") from error
    return len(shard)


def _thresholds(path: Path, run: RunParameters) -> dict[str, Thresholds]:
    """Thresholds of each layer, at its own quantile level."""
    stored = groups.read(path, "significance")["threshold"].load()
    thresholds = {}
    for layer in stored["layer"].to_numpy().tolist():
        quantile = run.significance.levels(layer).quantile
        at = stored.sel(layer=layer).sel(quantile=quantile, method="nearest")
        thresholds[layer] = Thresholds(
            float(at.sel(direction="positive")), float(at.sel(direction="negative"))
        )
    return thresholds


def extraction_error(stored: StoredRun) -> xr.Dataset:
    """Differences of the signals of the run's pass from those of the plain pass in float32.

    The plain pass is given the pictures that the processor decodes.

    Parameters
    ----------
    stored
        as in ``fill_shard``.

    Returns
    -------
    the group ``extraction``
    """
    forward, images = _opened(stored)
    plain = _forward_pass(stored, ExtractionParameters(), *_now(stored))

    def batch(decoder: torch.device) -> Tensor:
        sample = sampled(len(images))
        pictures = [picture for i in sample for picture in images.read(i, i + 1, decoder)]
        readable = [picture for picture in pictures if isinstance(picture, Tensor)]
        return images.inputs(readable, forward.device)

    return error_dataset(
        extract(plain, [batch(torch.device("cpu"))]),
        extract(forward, [batch(_decoder(stored, forward.device))]),
        forward.layers,
        forward.folded,
    )


def _decoder(stored: StoredRun, device: torch.device) -> torch.device:
    """The device that decodes a run's picture files, on a worker that computes on a device."""
    return device if stored.parameters.extraction.decoding == "gpu" else torch.device("cpu")


def plain_pass(stored: StoredRun) -> tuple[ForwardPass, ImageSet]:
    """The network's own pass, neither folded nor compiled, and the images of a store.

    Raises
    ------
    RunError
        If this worker's model or images differ from those of the store.
    """
    now = _now(stored)
    _, images = _opened_once(stored, *now)
    return _forward_pass(stored, ExtractionParameters(), *now), images


def _opened(stored: StoredRun) -> tuple[ForwardPass, ImageSet]:
    """Forward pass and images of a store, opened once per worker until code or weights change.

    Raises
    ------
    RunError
        If this worker's model or images differ from those of the store.
    """
    return _opened_once(stored, *_now(stored))


@lru_cache(maxsize=1)
def _opened_once(stored: StoredRun, stamp: str, content: str) -> tuple[ForwardPass, ImageSet]:
    prepared, parameters = prepared_once(stored), stored.parameters
    images = prepared.images.as_stored(groups.read(stored.path, "signals"))
    identity = Identity.of_run(parameters, model_digest(prepared.model), images.digest())
    if refusal := identity.refusal(groups.root_attributes(stored.path)):
        raise RunError(
            f"{socket.gethostname()} opens another model or other images than the store was made "
            f"for: {refusal}"
        )
    return _forward_pass(stored, parameters.extraction, stamp, content), images


def _now(stored: StoredRun) -> tuple[str, str]:
    """Digests of the store and of the run's code and weights as they are now."""
    return groups.stamp(stored.path), content_of_run(stored)


def _forward_pass(
    stored: StoredRun, options: ExtractionParameters, stamp: str, content: str
) -> ForwardPass:
    prepared, vectors = prepared_once(stored), _vectors(stored, stamp, content)
    layers = tuple(layer for layer in prepared.layers.linear if layer.name in vectors)
    return forward_pass(
        prepared.model,
        layers,
        vectors,
        prepared.layers.images,
        options=options,
        device=best_device(),
        convention=prepared.layers.convention,
    )


@lru_cache(maxsize=1)
def _vectors(stored: StoredRun, stamp: str, content: str) -> dict[str, Tensor]:
    """Vectors by which each layer's mean output is multiplied, shape (d, r)."""
    # A layer whose weight has no decomposition is not in the store.
    names = groups.read(stored.path, "layers")["layer"].to_numpy().tolist()
    U = {
        name: torch.from_numpy(
            groups.read(stored.path, group_path("decomposition", name))["U"].to_numpy()
        )
        for name in names
    }
    return vectors_for_means(U, folding_of(stored.parameters, prepared_once(stored)))
