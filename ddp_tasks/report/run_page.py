"""The findings of a run as one HTML page that needs no other file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from ddp_tasks.figures.notation import ARBITRARY_FOOTNOTE, abbreviated, short
from ddp_tasks.figures.thumbnails import Thumbnails
from ddp_tasks.queries.controls import percentile_of
from ddp_tasks.queries.pictures import StoredPictures
from ddp_tasks.queries.recorded_images import RecordedImages
from ddp_tasks.queries.summary import Discriminating, Summary, read_summary
from ddp_tasks.report import ablation_section, capacity_page, controls_section, page
from ddp_tasks.report.ablation_section import Ablated
from ddp_tasks.report.fragments import Part, anchors
from ddp_tasks.report.provenance import made_of
from ddp_tasks.store import groups
from schemas.parameters import RunParameters
from schemas.recording import recorded

_IMAGES_OF_A_VECTOR = 8
_CLASSES_NAMED, _CLASSES_IN_TITLE = 6, 100
_UNREADABLE_NAMED = 50


@dataclass(frozen=True)
class Findings:
    """Everything that the page shows beside the sections of layers."""

    run: RunParameters
    summary: Summary
    attributes: Mapping[str, str]
    """of the store's root group."""
    not_analysed: Mapping[str, str]
    """reasons, by module."""
    directions: tuple[str, ...]
    """directions of the nodes."""
    exemplars: xr.Dataset
    """the group ``exemplars``."""
    images: RecordedImages
    pictures: Mapping[str, npt.NDArray[np.uint8]]
    """of images that are shown, by id."""
    made_of: str
    """digest, see ``provenance.made_of``."""
    controls: xr.Dataset
    """the group ``controls``."""
    capacity: xr.Dataset | None = None
    """the group ``capacity``, where the run asks for it."""
    ablated: Ablated | None = None
    """what the removal of vectors says, where ``ddp ablate`` was asked for it."""


def read_findings(run: RunParameters, path: Path) -> Findings:
    """What the page shows beside the sections of layers, read from a finished store."""
    attributes = groups.root_attributes(path)
    signals = groups.read(path, "signals")
    return Findings(
        run=recorded(run),
        summary=read_summary(run, path),
        attributes=attributes,
        not_analysed=json.loads(attributes["not_analysed"]),
        directions=tuple(run.significance.directions),
        exemplars=groups.read(path, "exemplars"),
        images=RecordedImages.of(signals),
        pictures=StoredPictures(path),
        made_of=made_of(run, path),
        controls=groups.read(path, "controls").load(),
        capacity=groups.read(path, "capacity").load() if run.capacity else None,
        ablated=ablation_section.read(path, run.significance.directions),
    )


def pieces(findings: Findings, sections: Mapping[str, Part]) -> Iterator[str]:
    """One self-contained HTML page: no script, style, font or picture comes from a network.

    Parameters
    ----------
    sections
        by layer, as ``layer_section.drawn`` returns them.

    Yields
    ------
    the page from its beginning to its end
    """
    thumbnails = Thumbnails(findings.pictures)
    capacity, spectra = capacity_page.run_section(findings.capacity)
    controls, among = controls_section.run_section(findings.controls)
    ablation, removals = ablation_section.run_section(findings.ablated)
    own = anchors(findings.summary)
    return page.pieces(
        "report.html.jinja",
        {**spectra, **among, **removals},
        {anchor: sections[layer] for layer, anchor in own.items()},
        summary=findings.summary,
        run=findings.run,
        made_of=findings.made_of,
        anchors=own,
        vectors=[_vector_row(findings, v, thumbnails) for v in findings.summary.discriminating],
        footnote=ARBITRARY_FOOTNOTE,
        unreadable_named=_UNREADABLE_NAMED,
        **capacity,
        **controls,
        **ablation,
        directions=findings.directions,
        attributes=findings.attributes,
        not_analysed=findings.not_analysed,
        versions=json.loads(findings.attributes["software_versions"]),
        parameters=json.dumps(json.loads(findings.attributes["run_parameters"]), indent=2),
    )


def _vector_row(
    findings: Findings, vector: Discriminating, thumbnails: Thumbnails
) -> dict[str, Any]:
    """One of the most discriminating singular vectors with its strongest images."""
    place = {
        "direction": vector.singular_vector.direction,
        "layer": vector.layer,
        "singular_vector": vector.singular_vector.vector,
    }
    ids = findings.exemplars["image"].sel(place).to_numpy().astype(object)
    signals = findings.exemplars["signal"].sel(place).to_numpy()
    names, targets = (
        findings.images.target_classes,
        dict(zip(findings.images.ids, findings.images.target, strict=True)),
    )
    images = [
        {
            "thumbnail": thumbnails[i],
            "caption": f"image {i}, {names[targets[i]]}, signal {signal:.3g}",
        }
        for i, signal in zip(ids, signals, strict=True)
        if i
    ]
    return {
        "vector": vector,
        "name": vector.name,
        "percentile": percentile_of(findings.controls, vector.layer, "eta_squared_best"),
        "classes": abbreviated([short(c) for c in vector.significant_for], _CLASSES_NAMED),
        "all_classes": abbreviated(vector.significant_for, _CLASSES_IN_TITLE),
        "images": images[:_IMAGES_OF_A_VECTOR],
    }
