"""One layer's section of a report. Workers draw the sections of several layers side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import holoviews as hv
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
from ddp_tasks.figures.notation import ARBITRARY_FOOTNOTE
from ddp_tasks.figures.thumbnails import NumberedThumbnails, Thumbnail, Thumbnails
from ddp_tasks.queries.recorded_images import RecordedImages
from ddp_tasks.queries.summary import LayerSummary
from ddp_tasks.report import family_section, page
from ddp_tasks.report.fragments import Fragment
from ddp_tasks.report.relation_rows import ClassRow, WalkRow, class_rows, walk_rows
from ddp_tasks.significance.layer_table import LayerTable
from ddp_tasks.weights.layer_vectors import LayerVectors
from schemas.parameters import SignificanceParameters


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
    highest_level: xr.DataArray
    """of each incidence, at the layer's own percentage."""
    stability: xr.Dataset | None
    """None where the run asks for no resamples and no samples."""
    exemplars: xr.Dataset
    """the group ``exemplars``."""
    hypergraph: xr.Dataset
    hierarchy: xr.Dataset
    images: RecordedImages


@dataclass(frozen=True)
class _Section:
    """What the template shows beside the figures."""

    summary: LayerSummary
    anchor: str
    empty: str
    certainty: family_section.Certainty | None
    footnote: str
    matrix_only: bool
    overview: bool
    """whether a picture of the whole incidence stands beside the matrix."""
    walks: list[WalkRow]
    classes: list[ClassRow]
    classes_left_out: int
    """classes left out of the table of classes."""
    absent: int
    """classes without a significant vector."""


def drawn(findings: LayerFindings, anchor: str, thumbnails: Thumbnails) -> Fragment:
    """The section as a part of a page; links lead to ``anchor``.

    Parameters
    ----------
    thumbnails
        thumbnails of the run's images; all sections that a process draws share them.
    """
    numbered = NumberedThumbnails(thumbnails)
    # Each element would copy the default dimensions of its kind, which it does not use.
    with param.shared_parameters():
        return page.fragment(
            "layer.html.jinja",
            anchor,
            layer_figures(findings, numbered),
            numbered.used,
            section=_section(findings, anchor),
            levels=findings.levels,
        )


def layer_figures(
    findings: LayerFindings, thumbnails: Mapping[str, Thumbnail]
) -> dict[str, hv.Overlay]:
    """All figures of one layer by kind; those of a hypergraph only where it is not empty."""
    layer, table, hierarchy = findings.layer, findings.table, findings.hierarchy
    plots: dict[str, hv.Overlay] = {
        "spectrum": figures.spectrum(table, layer),
        "distribution": figures.signal_distribution(findings.signals, table.threshold),
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
    names = findings.images.target_classes
    target_class_of = {
        image: names[target]
        for image, target in zip(findings.images.ids, findings.images.target, strict=True)
    }
    relations = findings.hypergraph
    if not hypergraph_figures.has_matrix(hierarchy):
        plots["overview"] = relation_figures.incidence_overview(hierarchy, relations, layer)
    if findings.summary.hyperedges > 1:
        plots["jaccard"] = relation_figures.jaccard_heatmap(relations)
    return plots | {
        "hypergraph": hypergraph_figures.hypergraph_figure(hierarchy, layer),
        "hierarchy": hierarchy_figures.hierarchy_figure(hierarchy, layer, thumbnails),
        "significance": class_heatmaps.significance_heatmap(table, layer),
        "strongest": figures.strongest_images(
            findings.exemplars, table, layer, thumbnails, target_class_of
        ),
    }


def _section(findings: LayerFindings, anchor: str) -> _Section:
    relations, hierarchy, layer = findings.hypergraph, findings.hierarchy, findings.layer
    classes, left_out = class_rows(relations)
    return _Section(
        summary=findings.summary,
        anchor=anchor,
        empty=str(relations["empty"].item()),
        certainty=family_section.certainty(
            findings.stability, findings.table, hierarchy, layer, findings.levels
        ),
        footnote=ARBITRARY_FOOTNOTE if layer.arbitrary.any() else "",
        matrix_only=not hypergraph_figures.has_hulls(hierarchy),
        overview=not hypergraph_figures.has_matrix(hierarchy),
        walks=walk_rows(relations),
        classes=classes,
        classes_left_out=left_out,
        absent=int((relations["vectors"] == 0).sum()),
    )
