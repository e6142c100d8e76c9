"""Small groups of what singular vectors look like, as a store holds them, from seeded arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import xarray as xr

from ddp_tasks.visualization.targets import Target

DIRECTIONS = np.array(["positive", "negative"], dtype=object)
_TEXT = {"dtype": object}


def exemplars(ids: Sequence[str], layers: Sequence[str], vectors: int, places: int = 5):
    """The group ``exemplars``: place j has the signal 10 - j, and j - 10 if negative."""
    shape = (2, len(layers), vectors, places)
    image, signal = np.empty(shape, **_TEXT), np.empty(shape, dtype=np.float32)
    for d, _, v, place in np.ndindex(shape):
        image[d, :, v, place] = ids[(7 * v + 3 * place + d) % len(ids)]
        signal[d, :, v, place] = (1 - 2 * d) * (10 - place)
    dims = ("direction", "layer", "singular_vector", "place")
    return xr.Dataset(
        {"image": (dims, image), "signal": (dims, signal)},
        coords={
            "direction": DIRECTIONS,
            "layer": np.array(layers, dtype=object),
            "singular_vector": np.arange(vectors),
        },
    )


def projections(strongest: xr.Dataset, side: int = 6, channels: int = 1, patches: int = 6):
    """The group ``projections/LAYER`` of one layer's exemplars: maps and patches of noise."""
    noise = np.random.default_rng(0)
    image = strongest["image"].to_numpy()[:, :, :3]
    rows = (*image.shape, side, side)
    sides = ("direction", "singular_vector")
    cut = (*image.shape[:2], patches)
    ids = strongest["image"].to_numpy()
    of_patch = np.take_along_axis(ids, np.arange(patches)[None, None] % ids.shape[2], axis=2)
    return xr.Dataset(
        {
            "map": ((*sides, "place", "y", "x"), noise.normal(size=rows).astype(np.float32)),
            "image": ((*sides, "place"), image),
            "signal": ((*sides, "place"), strongest["signal"].to_numpy()[:, :, :3]),
            "patch": (
                (*sides, "patch", "patch_y", "patch_x", "channel"),
                noise.integers(0, 255, (*cut, 5, 5, channels)).astype(np.uint8),
            ),
            "patch_image": ((*sides, "patch"), of_patch),
            "patch_signal": ((*sides, "patch"), noise.normal(size=cut).astype(np.float32)),
        },
        coords={"direction": DIRECTIONS, "singular_vector": strongest["singular_vector"]},
        attrs={"images_searched": 1234},
    )


def visualizations(
    layer: str,
    vectors: int,
    targets: Sequence[tuple[Sequence[int], str] | Target],
    *,
    side: int = 28,
    channels: int = 1,
    failed: Sequence[int] = (),
    objectives: Sequence[str] = ("mean",),
):
    """The group ``visualizations/LAYER``: pictures of noise of some targets, for each objective."""
    noise = np.random.default_rng(1)
    whole = [
        one if isinstance(one, Target) else Target(tuple(one[0]), direction=one[1])
        for one in targets
    ]
    rows = [replace(one, objective=objective) for one in whole for objective in objectives]
    n = len(rows)
    weight = np.stack([one.row(vectors) for one in rows])
    member = weight != 0
    excess = np.where(member, np.arange(1, n + 1)[:, None] / 2, np.nan)
    keys = [one.key for one in rows]
    of_target = {
        "direction": np.array([one.direction for one in rows], **_TEXT),
        "objective": np.array([one.objective for one in rows], **_TEXT),
        "parametrization": np.array(["fourier"] * n, **_TEXT),
        "number": np.zeros(n, dtype=np.int64),
        "settings": np.array(["8 steps"] * n, **_TEXT),
        "seed": np.zeros(n, dtype=np.int64),
        "signal": np.arange(1, n + 1) / 2,
        "natural_mean": np.zeros(n),
        "best_natural": np.ones(n),
        "best_natural_image": np.array(["00"] * n, **_TEXT),
        "noise_similarity": np.full(n, 0.25),
        "excess": np.arange(1, n + 1) / 2,
        "excess_unseen": np.arange(1, n + 1) / 4,
        "path_similarity": np.full(n, 0.75),
        "exemplar_similarity": np.full(n, 0.85),
        "seeds": np.full(n, 2),
        "seed_deviation": np.full(n, 0.125),
        "failed": np.array(
            ["its objective became NaN at step 12" if i in failed else "" for i in range(n)],
            **_TEXT,
        ),
    }
    return xr.Dataset(
        {
            "member": (("target", "singular_vector"), member),
            "weight": (("target", "singular_vector"), weight),
            "member_excess": (("target", "singular_vector"), excess),
            "picture": (
                ("target", "y", "x", "channel"),
                noise.integers(0, 255, (n, side, side, channels)).astype(np.uint8),
            ),
            **{name: ("target", values) for name, values in of_target.items()},
        },
        coords={"target": np.array(keys, **_TEXT), "singular_vector": np.arange(vectors)},
        attrs={"layer": layer},
    )
