"""The findings of a run laid out as one HTML page that needs nothing beside itself."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import holoviews as hv
import xarray as xr

from ddp_tasks import (
    capacity_report,
    diagrams,
    family_section,
    figures,
    hypergraph_figures,
    hypernetx_drawing,
    page,
    relation_figures,
)
from ddp_tasks.images import ImageSet
from ddp_tasks.notation import ARBITRARY_FOOTNOTE, abbreviated, arbitrary, short
from ddp_tasks.relation_rows import ClassRow, WalkRow, class_rows, walk_rows
from ddp_tasks.significance import layer_table
from ddp_tasks.summary import Discriminating, LayerSummary, Summary
from ddp_tasks.thumbnails import Thumbnail, Thumbnails
from schemas.parameters import RunParameters

#: Layers that get a section of their own; a page with more becomes slow to open.
_SECTIONS = 20
_IMAGES_OF_A_VECTOR = 8
_CLASSES_NAMED = 6
_UNREADABLE_NAMED = 50


@dataclass(frozen=True)
class Findings:
    """Everything that the report shows: the groups of a run's store, and its images."""

    run: RunParameters
    summary: Summary
    attributes: Mapping[str, str]
    """of the store's root group."""
    not_analysed: Mapping[str, str]
    """why, by module."""
    layers: xr.Dataset
    signals: xr.Dataset
    significance: xr.Dataset
    family: xr.Dataset
    stability: Mapping[str, xr.Dataset]
    """by layer; none where the run asks for no resamples and no samples."""
    exemplars: xr.Dataset
    hypergraphs: Mapping[str, xr.Dataset]
    """by layer."""
    hierarchies: Mapping[str, xr.Dataset]
    """by layer."""
    images: ImageSet
    capacity: xr.Dataset | None = None
    """the group ``capacity``, where the run asks for it."""


@dataclass(frozen=True)
class _Section:
    """What the page says of one layer."""

    summary: LayerSummary
    anchor: str
    empty: str
    judged: family_section.Judged | None
    footnote: str
    matrix_only: bool
    overview: bool
    """whether a picture of the whole incidence stands beside the matrix."""
    drawing: str
    """the hypergraph as HyperNetX draws it, as a data URI; empty where it is too large."""
    walks: list[WalkRow]
    classes: list[ClassRow]
    classes_left_out: int


def render(findings: Findings) -> str:
    """One self-contained HTML page: no script, style, font or picture comes from a network."""
    thumbnails = Thumbnails(findings.images)
    anchors = {layer.layer: f"layer-{i}" for i, layer in enumerate(findings.summary.layers)}
    chosen = layers_shown(findings)
    plots: dict[str, Any] = {}
    for layer in findings.summary.layers:
        if layer.layer in chosen:
            drawn = layer_figures(findings, layer.layer, thumbnails)
            plots |= {f"{anchors[layer.layer]} {kind}": drawn[kind] for kind in drawn}
    sections = [
        _section(findings, layer, anchors[layer.layer])
        for layer in findings.summary.layers
        if layer.layer in chosen
    ]
    capacity, spectra = capacity_report.run_section(findings.capacity)
    plots |= spectra
    return page.rendered(
        "report.html.jinja",
        plots,
        findings=findings,
        summary=findings.summary,
        run=findings.run,
        sections=sections,
        anchors=anchors,
        chosen=chosen,
        vectors=[_vector_row(findings, v, thumbnails) for v in findings.summary.discriminating],
        footnote=ARBITRARY_FOOTNOTE,
        unreadable_named=_UNREADABLE_NAMED,
        **capacity,
        directions=findings.significance["direction"].to_numpy().tolist(),
        versions=json.loads(findings.attributes["software_versions"]),
        parameters=json.dumps(json.loads(findings.attributes["run_parameters"]), indent=2),
    )


def _section(findings: Findings, layer: LayerSummary, anchor: str) -> _Section:
    relations, hierarchy = findings.hypergraphs[layer.layer], findings.hierarchies[layer.layer]
    hulls = hypergraph_figures.has_hulls(hierarchy)
    drawing = ""
    if hulls and layer.nodes:
        svg = hypernetx_drawing.svg(hierarchy, findings.layers.sel(layer=layer.layer))
        drawing = f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
    classes, left_out = class_rows(relations)
    return _Section(
        summary=layer,
        anchor=anchor,
        empty=str(relations["empty"].item()),
        judged=_judged(findings, layer.layer),
        footnote=_footnote(findings, layer.layer),
        matrix_only=not hulls,
        overview=not hypergraph_figures.has_matrix(hierarchy),
        drawing=drawing,
        walks=walk_rows(relations),
        classes=classes,
        classes_left_out=left_out,
    )


def layers_shown(findings: Findings) -> set[str]:
    """Names of the layers with a section of their own: at most 20, those of the highest η²."""
    best = {}
    for layer in findings.summary.layers:
        table = _table(findings, layer.layer)
        found = table["discrimination"].to_numpy()[table["significant"].to_numpy().any(axis=0)]
        best[layer.layer] = float(found.max()) if len(found) else -1.0
    ranked = sorted(best, key=lambda name: -best[name])
    return set(ranked[:_SECTIONS])


def layer_figures(
    findings: Findings, layer: str, thumbnails: Mapping[str, Thumbnail]
) -> dict[str, hv.Overlay]:
    """All figures of one layer by kind; those of a hypergraph only where it is not empty."""
    of_layer = findings.layers.sel(layer=layer)
    table, hierarchy = _table(findings, layer), findings.hierarchies[layer]
    counts = figures.signal_counts(findings.signals, of_layer)
    relations = findings.hypergraphs[layer]
    drawn: dict[str, hv.Overlay] = {
        "spectrum": figures.spectrum(table, of_layer),
        "distribution": figures.signal_distribution(counts, float(table["threshold"])),
    }
    drawn |= family_section.family_figures_of(
        findings.family,
        findings.stability.get(layer),
        table,
        of_layer,
        findings.run.significance,
    )
    if not hierarchy.sizes["equivalence_class"]:
        return drawn
    names = findings.images.target_classes
    target_class_of = {
        image: names[target]
        for image, target in zip(findings.images.ids, findings.images.target, strict=True)
    }
    if not hypergraph_figures.has_matrix(hierarchy):
        drawn["overview"] = relation_figures.incidence_overview(hierarchy, relations, of_layer)
    return drawn | {
        "jaccard": relation_figures.jaccard_heatmap(relations),
        "hypergraph": hypergraph_figures.hypergraph_figure(hierarchy, of_layer),
        "hierarchy": diagrams.hierarchy_figure(hierarchy, of_layer, thumbnails),
        "significance": figures.significance_heatmap(table, of_layer),
        "strongest": figures.strongest_images(
            findings.exemplars, table, of_layer, thumbnails, target_class_of
        ),
    }


def _table(findings: Findings, layer: str) -> xr.Dataset:
    quantile, percentage = findings.run.significance.of_layer(layer)
    return layer_table(findings.significance, layer, quantile, percentage)


def _judged(findings: Findings, layer: str) -> family_section.Judged | None:
    return family_section.judged(
        findings.stability.get(layer),
        _table(findings, layer),
        findings.hierarchies[layer],
        findings.layers.sel(layer=layer),
        findings.run.significance,
    )


def _footnote(findings: Findings, layer: str) -> str:
    shown = arbitrary(findings.layers.sel(layer=layer)).any()
    return ARBITRARY_FOOTNOTE if shown else ""


def _vector_row(
    findings: Findings, vector: Discriminating, thumbnails: Thumbnails
) -> dict[str, Any]:
    """One of the most discriminating singular vectors with its strongest images."""
    place = {"layer": vector.layer, "singular_vector": vector.singular_vector}
    ids = findings.exemplars["image"].sel(place).to_numpy().astype(object)
    signals = findings.exemplars["signal"].sel(place).to_numpy()
    names, targets = (
        findings.images.target_classes,
        dict(zip(findings.images.ids, findings.images.target, strict=True)),
    )
    images = [
        {
            "thumbnail": thumbnails[i],
            "told": f"image {i}, {names[targets[i]]}, signal {signal:.3g}",
        }
        for i, signal in zip(ids, signals, strict=True)
        if i
    ]
    return {
        "vector": vector,
        "name": f"v{vector.singular_vector}{'*' if vector.arbitrary else ''}",
        "classes": abbreviated([short(c) for c in vector.significant_for], _CLASSES_NAMED),
        "all_classes": ", ".join(vector.significant_for),
        "images": images[:_IMAGES_OF_A_VECTOR],
    }
