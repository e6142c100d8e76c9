"""One layer's section of a report. Workers draw the sections of several layers side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import holoviews as hv
import numpy as np
import numpy.typing as npt
import param
import xarray as xr

from ddp_tasks.figures import (
    class_heatmaps,
    hierarchy_figures,
    hypergraph_figures,
    relation_figures,
)
from ddp_tasks.figures import layer_figures as figures
from ddp_tasks.figures.layer_figures import SignalCounts
from ddp_tasks.figures.notation import ARBITRARY_FOOTNOTE, short
from ddp_tasks.figures.optimised_pictures import (
    OptimisedPicture,
    of_target,
    optimised_pictures,
)
from ddp_tasks.figures.thumbnails import NumberedThumbnails, Thumbnail, Thumbnails
from ddp_tasks.hypergraphs.semantic_hierarchy import members_of
from ddp_tasks.queries.addresses import class_address
from ddp_tasks.queries.one_direction import OneDirection
from ddp_tasks.queries.recorded_images import RecordedImages
from ddp_tasks.queries.summary import LayerSummary
from ddp_tasks.report import family_section, page
from ddp_tasks.report.fragments import Fragment
from ddp_tasks.report.layer_data import DataSources, layer_data
from ddp_tasks.report.relation_rows import ClassRow, WalkRow, class_rows, walk_rows
from ddp_tasks.significance.layer_table import LayerTable
from ddp_tasks.weights.layer_vectors import LayerVectors
from schemas.parameters import SignificanceParameters

#: Width of the page in pixels: a wider hierarchy is folded to it.
_FRAME = 1296.0
#: Equivalence classes whose optimised image a report shows in all, and of a layer at least.
_CLASSES_IN_REPORT, _LEAST_CLASSES = 600, 4


@dataclass(frozen=True)
class LayerFindings:
    """Everything that a section shows: one layer's part of the store's groups."""

    levels: SignificanceParameters
    summary: LayerSummary
    layer: LayerVectors
    signals: SignalCounts
    table: LayerTable
    """at the layer's own levels."""
    family: xr.Dataset
    """the group ``family``."""
    highest_level: npt.NDArray[np.float64]
    """of each incidence, at the layer's own percentage."""
    stability: xr.Dataset | None
    """None where the run asks for no resamples and no samples."""
    exemplars: xr.Dataset
    """the group ``exemplars``."""
    hypergraph: xr.Dataset
    hierarchy: xr.Dataset
    images: RecordedImages
    projections: xr.Dataset | None = None
    """the group ``projections/LAYER``, where the run has it."""
    visualizations: xr.Dataset | None = None
    """the group ``visualizations/LAYER``, where the layer has optimised images."""
    rotations: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    """best η² of each random rotation of the layer's outputs."""
    eta_squared_of_signals: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    """shape (v,); told on the images that judge."""
    by_direction: Mapping[str, OneDirection] = field(default_factory=dict)
    """of a run whose nodes have both directions, what each by itself gives."""
    searched: int = 1
    """singular vectors of all layers, once for each direction."""
    layers: int = 1
    """layers of the report; the more there are, the fewer vectors and images each shows."""


@dataclass(frozen=True)
class _Section:
    """What the template shows beside the figures."""

    summary: LayerSummary
    empty: str
    certainty: family_section.Certainty | None
    footnote: str
    optimised: bool
    """whether the layer has optimised images."""
    matrix_only: bool
    overview: bool
    """whether a picture of the whole incidence stands beside the matrix."""
    walks: list[WalkRow]
    classes: list[ClassRow]
    classes_left_out: int
    """classes left out of the table of classes."""
    absent: int
    """classes without a significant vector."""
    matrix_of: Mapping[str, bool | None]
    """whether the hypergraph of each direction is a matrix of dots; None where it has no nodes."""


def drawn(findings: LayerFindings, anchor: str, thumbnails: Thumbnails) -> Fragment:
    """The section as a part of a page; links lead to ``anchor``.

    Parameters
    ----------
    thumbnails
        thumbnails of the run's images; all sections that a process draws share them.
    """
    numbered = NumberedThumbnails(thumbnails)
    optimised = optimised_pictures(
        findings.visualizations,
        lambda name, picture: numbered.numbered(f"{anchor}/{name}", picture),
    )
    # Each element would copy the default dimensions of its kind, which it does not use.
    with param.shared_parameters():
        return page.fragment(
            "layer.html.jinja",
            anchor,
            layer_figures(findings, numbered, optimised),
            numbered.used,
            layer_data(_sources(findings, optimised), numbered, anchor),
            drawings=_drawings(findings, numbered, optimised),
            section=_section(findings),
            levels=findings.levels,
            class_address=class_address,
        )


def _sources(findings: LayerFindings, optimised: Sequence[OptimisedPicture]) -> DataSources:
    return DataSources(
        table=findings.table,
        layer=findings.layer,
        images=findings.images,
        exemplars=findings.exemplars.sel(layer=findings.layer.layer),
        hierarchy=findings.hierarchy,
        hypergraph=findings.hypergraph,
        stability=findings.stability,
        projections=findings.projections,
        optimised=optimised,
        rotations=findings.rotations,
        eta_squared_of_signals=findings.eta_squared_of_signals,
        confidence=findings.levels.confidence,
        searched=findings.searched,
        layers=findings.layers,
    )


def layer_figures(
    findings: LayerFindings,
    thumbnails: Mapping[str, Thumbnail],
    optimised: Sequence[OptimisedPicture] = (),
) -> dict[str, hv.Overlay]:
    """All figures of one layer by kind; those of a hypergraph only where it is not empty.

    Parameters
    ----------
    optimised
        optimised images of the layer that are shown.
    """
    layer, table, hierarchy = findings.layer, findings.table, findings.hierarchy
    plots: dict[str, hv.Overlay] = {
        "spectrum": figures.spectrum(table, layer),
        "distribution": figures.signal_distribution(
            findings.signals, dict(zip(table.directions, table.thresholds, strict=True))
        ),
    }
    plots |= family_section.family_figures_of(
        findings.family,
        findings.highest_level,
        findings.stability,
        table,
        layer,
        levels=findings.levels,
    )
    if not hierarchy.sizes["equivalence_class"]:
        return plots
    relations = findings.hypergraph
    if not hypergraph_figures.has_matrix(hierarchy):
        plots["overview"] = relation_figures.incidence_overview(hierarchy, relations, layer)
    if findings.summary.hyperedges > 1:
        plots["jaccard"] = relation_figures.jaccard_heatmap(relations)
    diagram = partial(
        hierarchy_figures.hierarchy_figure,
        *(hierarchy, layer, thumbnails, _of_classes(findings, optimised, hierarchy)),
        stability=findings.stability,
    )
    plots["hierarchy"] = whole = diagram()
    if hierarchy_figures.width_of(whole) > _FRAME:
        plots |= {"hierarchy": diagram(widest=_FRAME), "unfolded": whole}
    return plots | {
        "hypergraph": hypergraph_figures.hypergraph_figure(hierarchy, layer, findings.stability),
        "significance": class_heatmaps.significance_heatmap(table, layer),
    }


def _drawings(
    findings: LayerFindings,
    thumbnails: Mapping[str, Thumbnail],
    optimised: Sequence[OptimisedPicture],
) -> dict[str, dict[str, tuple[hv.Overlay, str]]]:
    """The hypergraph and the hierarchy of each direction that has nodes, with their labels."""
    layer, drawn = findings.layer, {}
    for direction, one in findings.by_direction.items():
        if not one.hierarchy.sizes["equivalence_class"]:
            continue
        what = f"of {short(layer.layer, 60)} in the {direction} direction"
        diagram = hierarchy_figures.hierarchy_figure(
            *(one.hierarchy, layer, thumbnails, _of_classes(findings, optimised, one.hierarchy)),
            stability=one.stability,
            widest=_FRAME,
        )
        hypergraph = hypergraph_figures.hypergraph_figure(one.hierarchy, layer, one.stability)
        drawn[direction] = {
            "hypergraph": (hypergraph, f"Hypergraph {what}"),
            "hierarchy": (diagram, f"Semantic hierarchy {what}"),
        }
    return drawn


def _of_classes(
    findings: LayerFindings, optimised: Sequence[OptimisedPicture], hierarchy: xr.Dataset
) -> list[OptimisedPicture]:
    """The images of equivalence classes: of the most general ones in a report of many layers."""
    most = max(_LEAST_CLASSES, _CLASSES_IN_REPORT // findings.layers)
    members = members_of(hierarchy)[:most]
    return [one for of in members for one in of_target(optimised, of)]


def _section(findings: LayerFindings) -> _Section:
    relations, hierarchy, layer = findings.hypergraph, findings.hierarchy, findings.layer
    classes, left_out = class_rows(relations)
    return _Section(
        summary=findings.summary,
        empty=str(relations["empty"].item()),
        certainty=family_section.certainty(
            findings.stability, findings.table, hierarchy, layer, findings.levels
        ),
        footnote=ARBITRARY_FOOTNOTE if layer.arbitrary.any() else "",
        optimised=findings.visualizations is not None,
        matrix_only=not hypergraph_figures.has_hulls(hierarchy),
        overview=not hypergraph_figures.has_matrix(hierarchy),
        walks=walk_rows(relations),
        classes=classes,
        classes_left_out=left_out,
        absent=int((relations["vectors"] == 0).sum()),
        matrix_of={
            direction: not hypergraph_figures.has_hulls(one.hierarchy)
            if one.hierarchy.sizes["equivalence_class"]
            else None
            for direction, one in findings.by_direction.items()
        },
    )
