"""Figures 6, 7, 9 and 10 of the paper remade from a finished run, each as a page of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import holoviews as hv
import xarray as xr

from ddp_tasks.figures.class_figures import VECTORS_SHOWN, ClassPictures, Exemplar, class_rows
from ddp_tasks.figures.hierarchy_figures import hierarchy_figure
from ddp_tasks.figures.hypergraph_figures import class_names, hypergraph_figure
from ddp_tasks.figures.notation import ARBITRARY_FOOTNOTE, abbreviated, node_names
from ddp_tasks.figures.optimised_pictures import OptimisedPicture, of_target, optimised_pictures
from ddp_tasks.figures.style import DIVERGING
from ddp_tasks.figures.thumbnails import Thumbnail, Thumbnails
from ddp_tasks.files.whole import may_be_folder, may_write_to, write_whole
from ddp_tasks.hypergraphs.semantic_hierarchy import members_of, node_directions
from ddp_tasks.queries.figure_subjects import (
    check_figure,
    check_vector,
    default_layer,
    part_shown,
    shared_vectors,
    two_images,
)
from ddp_tasks.queries.finished_run import FinishedRun, open_finished
from ddp_tasks.queries.images_in_layer import ImagesInLayer, images_in_layer
from ddp_tasks.queries.pictures import StoredPictures
from ddp_tasks.queries.visualizations import layer_visualizations
from ddp_tasks.report import page, shared_vector_page
from ddp_tasks.store import groups
from ddp_tasks.weights.layer_vectors import LayerVectors
from ddp_tasks.weights.signed_vectors import SignedVector, SignedVectors
from schemas.names import file_name, group_path
from schemas.parameters import RunError

#: Equivalence classes with a section of their own, and images in each.
_CLASSES, _IMAGES = 12, 4

#: Sides of the images in the page, in pixels.
_LARGEST, _SMALLEST = 96, 84

#: Figures that show signals at positions, and the one of two images.
_WITH_MAPS, _TEN = (6, 7), 10


@dataclass(frozen=True)
class Subject:
    """What a figure shows: part of a layer's hierarchy, and where its pictures come from."""

    number: int
    finished: FinishedRun
    layer: LayerVectors
    hierarchy: xr.Dataset
    """the part that is shown."""
    whole: int
    """equivalence classes of the whole hierarchy."""
    optimised: Sequence[OptimisedPicture]
    opened: ImagesInLayer | None
    """None where no signals at positions are shown: in figure 9, and of a single position."""


def write(
    folder: Path,
    number: int,
    *,
    layer: str | None = None,
    vector: int | None = None,
    images: tuple[str, str] | None = None,
    out: Path | None = None,
    overrides: Sequence[str] = (),
    trust: bool = False,
    run_file: str | None = None,
) -> tuple[Path, shared_vector_page.Lacking | None]:
    """Write the page of one figure of the paper, from a finished run.

    Parameters
    ----------
    folder
        folder that the run was written to.
    number
        6, 7, 9 or 10.
    layer
        None takes one as deep in the network as the paper's; see ``default_layer``.
    vector
        figure 10: a singular vector that the images share; None takes the strongest. Others: show
        its equivalence class and those above and below it; None shows all, or in figure 9 a part.
    images
        ids of the two images of figure 10; None takes two dogs, or two images of another class.
    out
        the page; None takes ``figure-NUMBER-LAYER.html`` in the folder.
    overrides, trust, run_file
        as in ``open_finished``.

    Returns
    -------
    the file of the page, and which optimised images it lacks

    Raises
    ------
    RunError
        If the store has no such layer, vector or image, if the page cannot be written there, or
        if the model or images are not those of the store.
    """
    check_figure(number)
    if images is not None and number != _TEN:
        raise RunError(f"images: figure {number} shows the strongest images; leave them out")
    finished = open_finished(folder, overrides, trust=trust, run_file=run_file)
    if layer is None:
        layer = default_layer(finished, number)
    finished.check_layer(layer)
    if vector is not None:
        check_vector(finished, layer, vector)
    file = out.expanduser() if out else folder.expanduser() / _file_name(number, layer)
    if file.is_dir() or not may_be_folder(file.parent):
        raise RunError(f"out: {str(file)!r} is not a file in an existing folder")
    if not may_write_to(file.parent):
        raise RunError(f"out: {str(file)!r}: no permission to write to {str(file.parent)!r}")
    if number == _TEN:
        positions = two_images(finished, images)
        shared = shared_vectors(finished, layer, positions)
        chosen = shared.chosen(vector, shared_vector_page.vectors_drawn(finished, layer))
        content, missing = shared_vector_page.render(
            finished, shared, chosen, positions, context(finished, layer)
        )
    else:
        subject = _subject(finished, number, layer, vector)
        content, words = render(subject), lacking(subject)
        missing = shared_vector_page.Lacking(words, layer) if words else None
    write_whole(file, content)
    return file.resolve(), missing


def _file_name(number: int, layer: str) -> str:
    return f"figure-{number}-{file_name(layer)}.html"


def _subject(finished: FinishedRun, number: int, layer: str, vector: int | None) -> Subject:
    hierarchy = groups.read(finished.store, group_path("hierarchies", layer)).load()
    if not hierarchy.sizes["equivalence_class"]:
        raise RunError(
            f"layer {layer} of {finished.store} has an empty hypergraph: no singular vector is "
            "significant for a class; name another layer"
        )
    flat = str(finished.layers["kind"].sel(layer=layer).item()) == "Linear"
    with_maps = number in _WITH_MAPS and not flat
    return Subject(
        number,
        finished,
        LayerVectors.of(finished.layers.sel(layer=layer)),
        part_shown(hierarchy, layer, number, vector),
        hierarchy.sizes["equivalence_class"],
        optimised_pictures(layer_visualizations(finished.store, layer)),
        images_in_layer(finished, layer) if with_maps else None,
    )


def lacking(subject: Subject) -> str:
    """Which of the equivalence classes shown have no optimised image; empty if all have."""
    members = members_of(subject.hierarchy)
    without = [of for of in members if not of_target(subject.optimised, of)]
    if not without:
        return ""
    listed = abbreviated([f"[{of[0]}]" for of in without], 6)
    number = len(without)
    return (
        f"{number} of {len(members)} equivalence classes shown {'has' if number == 1 else 'have'} "
        f"no optimised image ({listed})"
    )


def render(subject: Subject) -> str:
    """The page of figure 6, 7 or 9.

    Raises
    ------
    RunError
        If an image cannot be read, or the network does not lead it to the layer.
    """
    thumbnails = Thumbnails(StoredPictures(subject.finished.store), _LARGEST, _SMALLEST)
    hierarchy, layer = subject.hierarchy, subject.layer
    plots: dict[str, hv.Overlay] = {
        "hypergraph": hypergraph_figure(hierarchy, layer),
        "hierarchy": hierarchy_figure(hierarchy, layer, thumbnails, subject.optimised, values=True),
    }
    nodes = SignedVectors(layer, node_directions(hierarchy))
    names = dict(zip((nodes[i] for i in range(len(nodes))), node_names(nodes), strict=True))
    classes = []
    of_classes = zip(members_of(hierarchy), class_names(hierarchy), strict=True)
    for i, (members, target_classes) in enumerate(islice(of_classes, _CLASSES)):
        plots[f"class {i}"] = class_rows(_class_pictures(subject, thumbnails, i, members))
        listed = [f"{names[one]} ({layer.singular_values[one.vector]:.3g})" for one in members]
        classes.append(
            {
                "figure": f"class {i}",
                "name": f"[{names[members[0]]}]",
                "vectors": abbreviated(listed, 12),
                "target_classes": abbreviated(target_classes, 20),
                "left_out": max(len(members) - VECTORS_SHOWN, 0),
            }
        )
    return page.rendered(
        "figure.html.jinja",
        plots,
        number=subject.number,
        classes=classes,
        shown=hierarchy.sizes["equivalence_class"],
        whole=subject.whole,
        lacking=lacking(subject),
        with_maps=subject.opened is not None,
        footnote=ARBITRARY_FOOTNOTE if layer.arbitrary.any() else "",
        **context(subject.finished, layer.layer),
    )


def context(finished: FinishedRun, layer: str) -> dict[str, Any]:
    """What the pages of all figures say of the run and the layer."""
    attributes = finished.attributes
    of_layer = finished.layers.sel(layer=layer)
    return {
        "run": finished.run,
        "layer": layer,
        "kind": str(of_layer["kind"].item()),
        "shape": str(of_layer["shape"].item()),
        "rank": int(of_layer["rank"]),
        "levels": finished.run.significance.levels(layer),
        "colours": ", ".join(DIVERGING),
        "attributes": attributes,
        "versions": json.loads(attributes["software_versions"]),
        "parameters": json.dumps(json.loads(attributes["run_parameters"]), indent=2),
    }


def _class_pictures(
    subject: Subject,
    thumbnails: Mapping[str, Thumbnail],
    number: int,
    members: Sequence[SignedVector],
) -> ClassPictures:
    of_class = subject.hierarchy.isel(equivalence_class=number)
    ids = [str(image) for image in of_class["strongest"].to_numpy() if image][:_IMAGES]
    signals = of_class["strongest_signal"].to_numpy()
    positions = [subject.finished.position(image) for image in ids]
    names = subject.finished.signals["target_class"].to_numpy()
    target = subject.finished.signals["target"].to_numpy()
    maps = None
    if subject.opened is not None:
        inputs = subject.opened.inputs(positions)
        maps = subject.opened.maps(inputs, [one.vector for one in members[:VECTORS_SHOWN]])
    exemplars = [
        Exemplar(image, str(names[target[at]]), float(signal), thumbnails[image])
        for image, at, signal in zip(ids, positions, signals, strict=False)
    ]
    return ClassPictures(
        subject.layer, members, of_target(subject.optimised, members), exemplars, maps
    )
