"""Small copies of all images that are shown of a run, as a Prefect task."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import xarray as xr

from ddp_tasks.images.small_pictures import most_pictures, picture_shape, small_size
from ddp_tasks.prepared_run import prepare
from ddp_tasks.stages.stage import over_workers, stage
from ddp_tasks.store import groups, regions
from ddp_tasks.visualization.pictured_images import pictured_images
from ddp_tasks.workers import kept
from ddp_tasks.workers.opened import run_image_ids
from ddp_tasks.workers.pictures import PictureBlock, write_pictures
from ddp_tasks.workers.stored_run import StoredRun
from schemas.names import group_path
from schemas.parameters import RunParameters

#: Bytes of the pictures in one file, before compression.
_FILE_BYTES = 1 << 22


def _has_pictures(_run: RunParameters, path: Path, _scheduler: str) -> str | None:
    recorded = groups.is_recorded(path, "pictures", kept.of_pictures(path))
    return "pictures: kept from before" if recorded else None


@stage("pictures", after=["exemplars", "hypergraphs"], unless=_has_pictures)
def keep_pictures(run: RunParameters, path: Path, scheduler: str) -> None:
    """Have the Dask workers copy the images that are shown into the store.

    From then on nobody needs the data set to draw the run. Pictures of the same exemplars are kept.
    """
    mark = kept.of_pictures(path)
    images = prepare(run).images.as_stored(groups.read(path, "signals"))
    shape = picture_shape(images)
    layers = kept.layer_names(path)
    hierarchies = [groups.read(path, group_path("hierarchies", layer)) for layer in layers]
    shown = set(pictured_images(groups.read(path, "exemplars"), hierarchies, most_pictures(shape)))
    ids = run_image_ids(path)
    positions = [position for position, image in enumerate(ids) if image in shown]
    size = small_size(shape, max(1, len(positions)))
    together = max(1, _FILE_BYTES // (3 * size[0] * size[1]))
    template = xr.Dataset(
        {
            "picture": (
                ("image", "y", "x", "channel"),
                np.broadcast_to(np.uint8(0), (len(positions), *size, 3)),
            ),
            "height": ("image", np.full(len(positions), size[0])),
            "width": ("image", np.full(len(positions), size[1])),
        },
        coords={"image": np.array([ids[position] for position in positions], dtype=object)},
    )
    regions.write_template(path, "pictures", template, {"picture": (together, *size, 3)})
    blocks = [
        PictureBlock(first, tuple(positions[first : first + together]), size)
        for first in range(0, len(positions), together)
    ]
    with over_workers(
        scheduler,
        run.shards.patience,
        key="pictures",
        description="pictures of images",
        total=len(positions),
        size=len,
    ) as mapped:
        for _ in mapped(partial(write_pictures, StoredRun.of(path, run)), blocks):
            pass
    groups.record(path, "pictures", mark)
