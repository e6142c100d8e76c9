"""The semantic hierarchy of a layer whose signals are too many to be read for each redraw."""

from __future__ import annotations

import numpy as np
import xarray as xr

from ddp_tasks.explorer.class_groups import Groups
from ddp_tasks.explorer.opened_runs import OpenedRun
from ddp_tasks.figures.hierarchy_boxes import MOST_BOXES
from ddp_tasks.hypergraphs.semantic_hierarchy import hierarchy_dataset, semantic_hierarchy
from ddp_tasks.significance.layer_table import LayerTable
from ddp_tasks.visualization.exemplars import Exemplars, StrongestImages, no_images
from ddp_tasks.weights.signed_vectors import DIRECTIONS, SignedVectors


def quick_hierarchy(
    run: OpenedRun, nodes: SignedVectors, table: LayerTable, groups: Groups | None
) -> xr.Dataset:
    """A semantic hierarchy whose exemplars are those of each equivalence class's first vector.

    The run stores these, so that no signal is read. The others of an equivalence class take no
    part, where ``LayerLevels.hierarchy`` sums the signals of all of them. Equivalence classes past
    those that a diagram has room for have no exemplars.

    Parameters
    ----------
    nodes, table
        of the layer.
    groups
        classes of each hyperedge; None where hyperedges are classes.
    """
    found = semantic_hierarchy(table.significant)
    ids = run.signals.ids
    if not len(found):
        none = no_images(1, 0, len(table.target_classes))
        return hierarchy_dataset(
            found, nodes, table.target_classes, Exemplars(no_images(1, 0, 1), none), ids
        )
    first = [nodes[int(row.argmax())] for row in found.singular_vectors[:MOST_BOXES]]
    stored = run.exemplars[["class_image", "class_signal"]].sel(layer=table.layer)
    at = {
        "singular_vector": xr.DataArray([one.vector for one in first], dims="part"),
        "direction": xr.DataArray([DIRECTIONS.index(one.direction) for one in first], dims="part"),
    }
    of_layer = stored.isel(at).transpose("part", "target_class").load()
    image, signal = of_layer["class_image"].to_numpy(), of_layer["class_signal"].to_numpy()
    if groups is not None:
        # The strongest of a group is that of its class with the strongest.
        sign = np.array([one.sign for one in first])[:, None]
        names = of_layer["target_class"].to_numpy().tolist()
        columns = [[names.index(name) for name in members] for members in groups.values()]
        strength = np.where(image >= 0, sign * signal, -np.inf)
        best = np.stack([np.array(own)[strength[:, own].argmax(axis=1)] for own in columns], axis=1)
        image, signal = (np.take_along_axis(a, best, axis=1) for a in (image, signal))
    others = ((0, len(found) - len(first)), (0, 0))
    image = np.pad(image.astype(np.int64), others, constant_values=-1)
    signal = np.pad(signal, others, constant_values=np.nan)
    of_class = StrongestImages(image[None], signal[None])
    order = np.argsort(-np.abs(np.nan_to_num(signal)), axis=1, kind="stable")[:, :1]
    overall = StrongestImages(
        np.take_along_axis(image, order, axis=1)[None],
        np.take_along_axis(signal, order, axis=1)[None],
    )
    return hierarchy_dataset(found, nodes, table.target_classes, Exemplars(overall, of_class), ids)
