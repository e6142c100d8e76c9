"""Similarity overlays: where images are like one place of one of them, in a layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ddp_tasks.explorer.opened_runs import OpenedRun
from ddp_tasks.figures.signal_overlays import overlay
from ddp_tasks.figures.thumbnails import Thumbnail
from schemas.run_error import RunError

#: Bytes that the activations of the images are reduced to.
_MOST_BYTES = 1 << 22


@dataclass(frozen=True)
class Activations:
    """Unit activations of a layer at every position of some images."""

    ids: tuple[str, ...]
    vectors: npt.NDArray[np.float32]
    """shape (n, high, wide, dimensions)."""


@dataclass(frozen=True)
class Overlays:
    """Where each image is like the place that was pointed at."""

    veils: dict[str, Thumbnail]
    """by image id."""
    left: float
    top: float
    wide: float
    high: float
    """where the position is, in shares of the picture."""
    position: str


def activations_of(run: OpenedRun, layer: str, ids: Sequence[str]) -> Activations:
    """Pass images through the run's network up to a layer.

    Raises
    ------
    RunError
        If network or images are not there any more, are not those of the run, or are not trusted.
    """
    # Torch and the network take seconds to load, and nothing else here needs them.
    from ddp_tasks.queries.finished_run import open_finished
    from ddp_tasks.queries.images_in_layer import images_in_layer
    from ddp_tasks.visualization.similarity_overlays import averaged, carried_vectors

    how = run.opening
    finished = open_finished(run.folder, how.overrides, trust=how.trust, run_file=how.run_file)
    opened = images_in_layer(finished, layer)
    inputs = opened.inputs([run.position[image] for image in ids])
    activations = averaged(opened.activations(inputs))
    if activations.shape[1] * activations.shape[2] == 1:
        raise RunError(f"layer {layer} has one position: there is no place to point at")
    carried = carried_vectors(activations, _MOST_BYTES)
    return Activations(tuple(ids), carried.vectors.astype(np.float32))


def overlays_of(
    activations: Activations, x: float, y: float, thumbnails: dict[str, Thumbnail]
) -> Overlays:
    """Overlays for a place on the first of the images.

    White is the mean cosine of all positions, red more and blue less alike.

    Parameters
    ----------
    x, y
        from the left and from the top, from 0 to 1.
    """
    _, high, wide, _ = activations.vectors.shape
    row, column = min(int(y * high), high - 1), min(int(x * wide), wide - 1)
    cosine = activations.vectors @ activations.vectors[0, row, column]
    mean = float(cosine.mean())
    limit = max(1 - mean, 1e-6)
    return Overlays(
        veils={
            image: overlay(values - mean, limit, thumbnails[image])
            for image, values in zip(activations.ids, cosine, strict=True)
        },
        left=column / wide,
        top=row / high,
        wide=1 / wide,
        high=1 / high,
        position=f"row {row}, column {column} of {high} × {wide}",
    )


def place_of(point: str) -> tuple[float, float] | None:
    """The place that an address names as x,y; None where it names none."""
    try:
        x, y = (float(one) for one in point.split(","))
    except ValueError:
        return None
    return (x, y) if 0 <= x <= 1 and 0 <= y <= 1 else None
