"""One layer's hypergraph and hierarchy from the stored significance, built in a Dask worker."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from ddp_tasks.hypergraphs.semantic_hierarchy import SemanticHierarchy, hierarchy_dataset
from ddp_tasks.significance.layer_table import LayerTable
from ddp_tasks.store import groups, marks
from ddp_tasks.store.cube import cube_size
from ddp_tasks.store.slabs import Slab
from ddp_tasks.weights.layer_vectors import LayerVectors
from ddp_tasks.weights.signed_vectors import SignedVectors, signs
from ddp_tasks.workers.opened import opened, run_image_ids
from ddp_tasks.workers.reductions import exemplars_of_sets
from schemas.names import file_name, group_path
from schemas.object_paths import path_of
from schemas.parameters import RunParameters, SignificanceParameters


def build_hypergraph(path: str, folder: str, run: RunParameters, layer: str) -> str:
    """Build a layer's hypergraph at its own levels, and write it with its hierarchy.

    Writes ``LAYER.hif.json``, and the groups ``hypergraphs/LAYER`` and ``hierarchies/LAYER``.

    Parameters
    ----------
    path
        path of the store, which has its significance.
    folder
        folder for the file.
    run
        for its name, its levels, and how many exemplars it keeps.

    Returns
    -------
    the reason why the hypergraph is empty; an empty text if it is not
    """
    # The flow sends this function to the workers and need not load HyperNetX.
    from ddp_tasks.hypergraphs import hif
    from ddp_tasks.hypergraphs.hypergraph import file_metadata, layer_hypergraph

    at, parameters = path_of(path), run.significance
    significance = opened(at, "significance").sel(layer=layer)
    table = LayerTable.of(significance, *parameters.levels(layer), parameters.directions)
    layers = opened(at, "layers")
    built = layer_hypergraph(table, LayerVectors.of(layers.sel(layer=layer)))
    metadata = file_metadata(run.name, table)
    file = _file(path_of(folder), layer)
    hif.write_hif(built.graph, metadata, file)
    relations = built.relations.assign_attrs(layer=layer)
    groups.write(at, group_path("hypergraphs", layer), relations)
    position = layers["layer"].to_numpy().tolist().index(layer)
    groups.write(
        at,
        group_path("hierarchies", layer),
        _hierarchy(at, built.hierarchy, layers, position, run),
        _made_with(at, file, parameters, layer),
    )
    return built.empty


def is_built(path: Path, folder: Path, parameters: SignificanceParameters, layer: str) -> bool:
    """Whether a layer's hypergraph and hierarchy are finished, for these levels.

    Parameters
    ----------
    path, folder
        as in ``build_hypergraph``.
    """
    file = _file(folder, layer)
    return (
        file.is_file()
        and groups.is_recorded(path, group_path("hypergraphs", layer), {})
        and groups.is_recorded(
            path, group_path("hierarchies", layer), _made_with(path, file, parameters, layer)
        )
    )


def _file(folder: Path, layer: str) -> Path:
    return folder / f"{file_name(layer)}.hif.json"


def _made_with(
    path: Path, file: Path, parameters: SignificanceParameters, layer: str
) -> dict[str, str]:
    levels = parameters.levels(layer)
    return {
        "quantile_level": f"{levels.quantile:g}",
        "percentage": f"{levels.percentage:g}",
        "directions": ", ".join(parameters.directions),
        "significance": groups.fingerprint(path, "significance"),
        "file": marks.digest_of_file(file),
    }


def _hierarchy(
    path: Path,
    hierarchy: SemanticHierarchy,
    layers: xr.Dataset,
    position: int,
    run: RunParameters,
) -> xr.Dataset:
    """The group ``hierarchies/LAYER``, with exemplars from the cube."""
    cube, ids = cube_size(path), run_image_ids(path)
    target_classes = groups.read(path, "signals")["target_class"].to_numpy().tolist()
    whole_layer = Slab(position, 0, cube.ranks[position], 0, cube.shards)
    nodes = SignedVectors(
        LayerVectors.of(layers.isel(layer=position)), tuple(run.significance.directions)
    )
    sets = [
        signs(nodes[node] for node in np.flatnonzero(row).tolist())
        for row in hierarchy.singular_vectors
    ]
    places = min(run.exemplars, len(ids))
    found = exemplars_of_sets(path, sets, places, len(target_classes), whole_layer)
    return hierarchy_dataset(hierarchy, nodes, target_classes, found, ids)
