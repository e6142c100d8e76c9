"""The findings of a run as one HTML page that needs no other file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from markupsafe import Markup

from ddp_tasks.figures.optimised_pictures import in_colour
from ddp_tasks.figures.thumbnails import Thumbnails, thumbnail
from ddp_tasks.queries.addresses import class_address, layer_address
from ddp_tasks.queries.confused_classes import most_confused
from ddp_tasks.queries.controls import is_special, percentile_of, shown_percentile
from ddp_tasks.queries.findings import RunFindings
from ddp_tasks.queries.findings import read_findings as read_statements
from ddp_tasks.queries.pictures import StoredPictures
from ddp_tasks.queries.recorded_images import RecordedImages
from ddp_tasks.queries.statements import Finding
from ddp_tasks.queries.summary import Summary, read_summary
from ddp_tasks.report import ablation_section, capacity_page, controls_section, page
from ddp_tasks.report.ablation_section import Ablated
from ddp_tasks.report.fragments import Part, anchors
from ddp_tasks.report.provenance import made_of
from ddp_tasks.store import groups
from schemas.names import group_path
from schemas.parameters import RunParameters
from schemas.recording import recorded
from schemas.shown import escaped, shown

#: Side of an optimised image on the first screen.
_OPTIMISED = 112
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
    told: RunFindings
    """what the first screen says."""
    confused: tuple[str, str] | None
    """the classes that the network takes for each other most often."""
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
    optimised: Mapping[tuple[str, str], npt.NDArray[np.uint8]] = field(default_factory=dict)
    """optimised images of the first screen, by layer and target."""


def read_findings(run: RunParameters, path: Path) -> Findings:
    """What the page shows beside the sections of layers, read from a finished store."""
    attributes = groups.root_attributes(path)
    signals = groups.read(path, "signals")
    told = read_statements(recorded(run), path)
    return Findings(
        run=recorded(run),
        summary=read_summary(run, path),
        attributes=attributes,
        not_analysed=json.loads(attributes["not_analysed"]),
        directions=tuple(run.significance.directions),
        told=told,
        confused=most_confused(signals),
        images=RecordedImages.of(signals),
        pictures=StoredPictures(path),
        made_of=made_of(run, path),
        controls=groups.read(path, "controls").load(),
        capacity=groups.read(path, "capacity").load() if run.capacity else None,
        ablated=ablation_section.read(path, run.significance.directions),
        optimised={
            (one.layer, one.optimised): _stored_picture(path, one)
            for one in told.statements
            if one.optimised
        },
    )


def _stored_picture(path: Path, finding: Finding) -> npt.NDArray[np.uint8]:
    stored = groups.read(path, group_path("visualizations", finding.layer))
    at = stored["target"].to_numpy().tolist().index(finding.optimised)
    return in_colour(stored["picture"].isel(target=at).to_numpy())


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
        list(dict.fromkeys(own[one.layer] for one in findings.told.statements)),
        summary=findings.summary,
        run=findings.run,
        made_of=findings.made_of,
        findings=findings.told,
        statements=[_statement_row(findings, one, thumbnails) for one in findings.told.statements],
        index=_index(findings),
        confused=_confused(findings),
        about=_about(findings),
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


def _statement_row(findings: Findings, finding: Finding, thumbnails: Thumbnails) -> dict[str, Any]:
    """One statement of the first screen with its pictures."""
    optimised = findings.optimised.get((finding.layer, finding.optimised))
    return {
        "finding": finding,
        "headline": finding.headline,
        "optimised": None if optimised is None else thumbnail(optimised, _OPTIMISED, 1).uri,
        "images": [
            {
                "uri": thumbnails[one.image].uri,
                "caption": f"image {shown(one.image)}, {shown(one.target_class)}, "
                f"signal {one.signal:.3g}",
            }
            for one in finding.exemplars
        ],
    }


def _index(findings: Findings) -> list[dict[str, Any]]:
    """The rows of the index of layers."""
    rows, own = [], anchors(findings.summary)
    for layer in findings.summary.layers:
        percentile = percentile_of(findings.controls, layer.layer, "eta_squared_best")
        rows.append(
            {
                "layer": layer,
                "anchor": own[layer.layer],
                "name": escaped(layer.layer),
                "address": layer_address(layer.layer),
                "percentile": shown_percentile(percentile),
                "special": is_special(percentile),
            }
        )
    return rows


def _confused(findings: Findings) -> dict[str, str] | None:
    if findings.confused is None:
        return None
    one, other = findings.confused
    return {"one": one, "other": other, "address": class_address(one, other)}


def _about(findings: Findings) -> Markup:
    """What the page's script knows of the run, as JSON that ends no script."""
    about = {
        "title": findings.summary.title,
        "classes": [escaped(name) for name in findings.images.target_classes],
    }
    text = json.dumps(about, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))
