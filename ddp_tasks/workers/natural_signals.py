"""Signals of natural images that optimised ones are measured against, read from the cube."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ddp_tasks.store import cube, groups
from ddp_tasks.visualization.natural_signals import (
    NaturalSignals,
    NaturalSums,
    natural_signals,
    natural_sums,
)
from ddp_tasks.visualization.targets import Target
from ddp_tasks.workers.opened import opened

#: Signals read for the mean of an earlier layer.
_SIGNALS_OF_MEAN = 1 << 21


def natural_of_layer(path: Path, layer: str) -> NaturalSignals:
    """Statistics of a layer's signals over the images of the run."""
    return _natural_of_layer(path, layer, groups.fingerprint(path, "signals"))


@lru_cache(maxsize=64)
def _natural_of_layer(path: Path, layer: str, fingerprint: str) -> NaturalSignals:
    return natural_signals(lambda: _blocks(path, layer))


def _blocks(path: Path, layer: str) -> Iterator[npt.NDArray[np.float32]]:
    layers = opened(path, "layers")
    position = layers["layer"].to_numpy().tolist().index(layer)
    for signals, _ in cube.layer_parts(path, position, int(layers["rank"][position])):
        yield signals


def sums_of_targets(path: Path, layer: str, targets: Sequence[Target], places: int) -> NaturalSums:
    """Weighted sums of signals over the images of the run, for each target of a layer."""
    rank = len(natural_of_layer(path, layer).mean)
    weights = np.stack([target.row(rank) for target in targets])
    negative = np.array([target.sign < 0 for target in targets])
    return natural_sums(lambda: _blocks(path, layer), weights, negative, places)


def layers_up_to(path: Path, layer: str) -> list[str]:
    """The layers of a store up to one of them, in forward order."""
    names: list[str] = opened(path, "layers")["layer"].to_numpy().tolist()
    return names[: names.index(layer) + 1]


def signal_vectors(
    path: Path, layers: Sequence[str], images: npt.NDArray[np.int64]
) -> dict[str, npt.NDArray[np.float64]]:
    """Stored signal vectors of images, by layer.

    Parameters
    ----------
    images
        positions in the run; any shape.

    Returns
    -------
    shape (*images.shape, r)
    """
    opened_cube = cube.open_cube(path)
    stored = opened(path, "layers")
    names, ranks = stored["layer"].to_numpy().tolist(), stored["rank"].to_numpy()
    wanted = np.zeros(len(opened_cube.target), dtype=np.bool_)
    wanted[images] = True
    row = np.cumsum(wanted) - 1
    vectors = {}
    for layer in layers:
        position = names.index(layer)
        rows = cube.rows_of_layer(opened_cube, position, slice(0, int(ranks[position])), wanted)
        vectors[layer] = rows[row[images]].astype(np.float64)
    return vectors


def mean_signals(path: Path, layers: Sequence[str]) -> dict[str, npt.NDArray[np.float64]]:
    """The mean signal vector of natural images, by layer; of many images, from some."""
    fingerprint = groups.fingerprint(path, "signals")
    return {layer: _mean_of_layer(path, layer, fingerprint) for layer in layers}


@lru_cache(maxsize=1024)
def _mean_of_layer(path: Path, layer: str, fingerprint: str) -> npt.NDArray[np.float64]:
    layers = opened(path, "layers")
    position = layers["layer"].to_numpy().tolist().index(layer)
    rank = int(layers["rank"][position])
    signals = cube.spread_signals(path, position, rank, _SIGNALS_OF_MEAN)
    return np.nanmean(signals.astype(np.float64), axis=0)
