"""A report's sections and its page, read from a finished store, drawn and written."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ddp_tasks.files.whole import replacing
from ddp_tasks.hypergraphs.family import Family
from ddp_tasks.queries.controls import best_of_rotations
from ddp_tasks.queries.one_direction import LayerSignals, OneDirection, one_direction
from ddp_tasks.queries.pictures import StoredPictures
from ddp_tasks.queries.recorded_images import RecordedImages
from ddp_tasks.queries.summary import LayerSummary
from ddp_tasks.report.fragments import FragmentFiles
from ddp_tasks.significance.layer_table import LayerTable
from ddp_tasks.store import cube, groups
from ddp_tasks.weights.layer_vectors import LayerVectors
from ddp_tasks.workers.once import ONE_AT_A_TIME
from ddp_tasks.workers.opened import opened
from ddp_tasks.workers.stored_run import StoredRun
from schemas.names import group_path
from schemas.object_paths import path_of

if TYPE_CHECKING:
    import xarray as xr

    # The flow sends these functions to the workers and need not load what draws.
    from ddp_tasks.figures.thumbnails import Thumbnails
    from ddp_tasks.report.layer_section import LayerFindings

#: Enough signals for the shape of a distribution, and few enough to read quickly: 64 MB.
_SIGNALS_COUNTED = 1 << 24
#: The fractions of a layer are read at once up to this size, level by level above it.
_AT_ONCE = 1 << 26


def draw_section(stored: StoredRun, section: tuple[LayerSummary, FragmentFiles]) -> None:
    """Draw one layer's section of the report in a Dask worker, and write it to its files.

    Parameters
    ----------
    stored
        the finished run.
    section
        the layer, and the section's files, named after its anchor.
    """
    from ddp_tasks.report import layer_section

    summary, files = section
    # HoloViews holds its options for the whole process.
    with ONE_AT_A_TIME:
        thumbnails = run_thumbnails(stored)
        findings = layer_findings(stored, summary)
        files.write(layer_section.drawn(findings, files.name, thumbnails))


def write_page(stored: StoredRun, files: Mapping[str, FragmentFiles], page: str) -> None:
    """Write the page, with the sections of all layers, in a Dask worker.

    Parameters
    ----------
    files
        files of the sections, by layer.
    page
        path of the page.
    """
    from ddp_tasks.report import run_page

    with ONE_AT_A_TIME:
        findings = run_page.read_findings(stored.parameters, stored.path)
        with replacing(path_of(page)) as file:
            file.writelines(piece.encode() for piece in run_page.pieces(findings, files))


def run_thumbnails(stored: StoredRun) -> Thumbnails:
    """Thumbnails of a run's images, which all sections that a process draws share."""
    return _thumbnails(stored.path, groups.fingerprint(stored.path, "pictures"))


@lru_cache(maxsize=1)
def _thumbnails(path: Path, fingerprint: str) -> Thumbnails:
    from ddp_tasks.figures.thumbnails import Thumbnails

    return Thumbnails(StoredPictures(path))


@lru_cache(maxsize=1)
def _recorded_images(path: Path, stamp: str) -> RecordedImages:
    return RecordedImages.of(groups.read(path, "signals"))


def layer_findings(stored: StoredRun, summary: LayerSummary) -> LayerFindings:
    """The findings that the section of one layer shows."""
    from ddp_tasks.figures.layer_figures import signal_counts
    from ddp_tasks.report.layer_section import LayerFindings

    path, name = stored.path, summary.layer
    images = _recorded_images(path, groups.stamp(path))
    parameters = stored.parameters.significance
    levels = parameters.levels(name)
    layers, significance = (opened(path, group) for group in ("layers", "significance"))
    vectors = LayerVectors.of(layers.sel(layer=name))
    position = layers["layer"].to_numpy().tolist().index(name)
    family = Family.of(significance, name)
    if family.significance.nbytes <= _AT_ONCE:
        family.significance.load()
    table = family.at(*levels, parameters.directions)
    signals = cube.spread_signals(path, position, vectors.rank, _SIGNALS_COUNTED)
    return LayerFindings(
        levels=parameters,
        summary=summary,
        layer=vectors,
        signals=signal_counts(signals, len(images)),
        table=table,
        family=opened(path, "family").sel(layer=[name]),
        highest_level=family.highest_level(levels.percentage, parameters.directions),
        stability=_stored(path, "stability", name),
        exemplars=opened(path, "exemplars").sel(layer=[name]).load(),
        hypergraph=groups.read(path, group_path("hypergraphs", name)).load(),
        hierarchy=groups.read(path, group_path("hierarchies", name)).load(),
        images=images,
        projections=_stored(path, "projections", name),
        visualizations=_stored(path, "visualizations", name),
        rotations=best_of_rotations(opened(path, "controls"), name),
        eta_squared_of_signals=significance["eta_squared_of_signals"]
        .sel(layer=name)
        .isel(split=-1)
        .to_numpy(),
        by_direction=_by_direction(stored, position, table, vectors),
        layers=layers.sizes["layer"],
        searched=int(layers["rank"].sum()) * len(table.directions),
    )


def _by_direction(
    stored: StoredRun, position: int, table: LayerTable, vectors: LayerVectors
) -> dict[str, OneDirection]:
    """What each direction gives by itself, where the nodes have several."""
    if len(table.directions) == 1:
        return {}
    path, images = stored.path, _recorded_images(stored.path, groups.stamp(stored.path))
    kept = StoredPictures(path)
    signals = LayerSignals(
        parts=partial(cube.layer_parts, path, position, vectors.rank),
        images=images,
        choosing=opened(path, "significance")["part"].to_numpy(),
        pictured=np.array([image in kept for image in images.ids], dtype=np.int8),
    )
    stability = _stored(path, "stability", table.layer)
    resamples = stored.parameters.significance.resamples
    return {
        direction: one_direction(
            table, vectors, signals, direction, stability=stability, resamples=resamples
        )
        for direction in table.directions
    }


def _stored(path: Path, parent: str, layer: str) -> xr.Dataset | None:
    """A group of a layer that not every run has; None where it is missing."""
    group = group_path(parent, layer)
    return groups.read(path, group).load() if groups.is_marked(path, group) else None
