"""The capacity metric of a list of models laid out as one HTML page that needs nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import holoviews as hv
import numpy as np
import xarray as xr

from ddp_tasks.capacity.association import MEASURES, associations, models_shown
from ddp_tasks.capacity.tables import (
    CUSTOMARY,
    DEFINITIONS,
    MATRIZATION_MEANINGS,
    Boundaries,
    Folding,
    alpha_hats,
    boundaries,
    cautions,
    folding,
    layer_rows,
    model_rows,
    named,
    signed,
    texts,
)
from ddp_tasks.figures import capacity_figures, spectral_figures, spectral_panels
from ddp_tasks.report import page

#: At most this many models get a section; a page with more would open slowly.
_SECTIONS = 12


@dataclass(frozen=True)
class CapacityFindings:
    """Everything that the page shows."""

    title: str
    zoo: xr.Dataset
    """the group ``zoo``: family, accuracy and α̂ of every model."""
    capacity: Mapping[str, xr.Dataset]
    """by model, the groups ``capacity/MODEL``; a model that failed has none."""
    attributes: Mapping[str, str]
    """of the store's root group."""


@dataclass(frozen=True)
class _Section:
    """The page's section on one model; the keys of its figures begin with its anchor."""

    model: str
    anchor: str
    family: str
    first: str
    """the layer of figure 3a: the first that has a spectrum; empty where none has."""
    panels: tuple[str, ...]
    """matrizations with a spectrum of that layer."""
    layers: int
    rows: list[Any]
    folding: Folding
    boundaries: Boundaries


def render(findings: CapacityFindings) -> str:
    """One self-contained HTML page: no script, style or font comes from a network."""
    zoo = findings.zoo
    plots: dict[str, hv.Overlay] = {}
    rows = model_rows(zoo, findings.capacity)
    shown = [row.model for row in rows if row.model in findings.capacity and not row.error]
    family = dict(zip(texts(zoo["model"]), texts(zoo["family"]), strict=True))
    sections = []
    for i, model in enumerate(shown[:_SECTIONS]):
        anchor = f"model-{i}"
        capacity = findings.capacity[model]
        first, figures = model_figures(capacity)
        plots |= {f"{anchor} {kind}": figures[kind] for kind in figures}
        sections.append(
            _Section(
                model=model,
                anchor=anchor,
                family=family[model],
                first=first,
                panels=tuple(kind for kind in figures if kind != "layers"),
                layers=capacity.sizes["layer"],
                rows=layer_rows(capacity),
                folding=folding(capacity),
                boundaries=boundaries(capacity),
            )
        )
    matrizations = texts(zoo["matrization"])
    plots |= _alpha_hat_figures(zoo)
    return page.rendered(
        "capacity.html.jinja",
        plots,
        findings=findings,
        rows=rows,
        sections=sections,
        anchors={section.model: section.anchor for section in sections},
        with_spectra=len(shown),
        matrizations=matrizations,
        meanings=MATRIZATION_MEANINGS,
        named=named,
        measures=MEASURES,
        correlations={measure: _correlations(zoo, measure) for measure in MEASURES},
        not_drawn=_not_drawn(zoo),
        sentences=_sentences(zoo),
        looks=_looks(zoo),
        customary=CUSTOMARY,
        definitions=DEFINITIONS,
        made=_made(findings.attributes),
    )


def model_figures(capacity: xr.Dataset) -> tuple[str, dict[str, hv.Overlay]]:
    """Figure 3a of the first layer that has a spectrum, and the spectra of all layers.

    Returns
    -------
    name of that layer, empty where there is none; figures by matrization, and as ``layers`` the
    unfolded weights of all layers
    """
    for layer in texts(capacity["layer"]):
        if panels := spectral_figures.spectral_distributions(capacity, layer):
            break
    else:
        return "", {}
    share = capacity["density"].sel(matrization="unfolded").to_numpy()
    if np.nansum(share) > 0:
        panels["layers"] = spectral_panels.layer_spectra(capacity)
    return layer, panels


def run_section(capacity: xr.Dataset | None) -> tuple[dict[str, Any], dict[str, hv.Overlay]]:
    """What a run's report shows of its capacity metric: context of the template, and the figure.

    Parameters
    ----------
    capacity
        the store's group ``capacity``; None if the run has none: ``capacity`` is then empty.
    """
    if capacity is None:
        return {"capacity": {}}, {}
    _, figures = model_figures(capacity)
    context = {
        "capacity": {
            "rows": layer_rows(capacity),
            "matrizations": texts(capacity["matrization"]),
            "alpha_hat": alpha_hats(capacity),
            "cautions": cautions(capacity, capacity.sizes["layer"]),
            "folding": folding(capacity),
        },
        "meanings": MATRIZATION_MEANINGS,
        "named": named,
        "customary": CUSTOMARY,
        "definitions": DEFINITIONS,
    }
    return context, {"capacity layers": figures["layers"]} if "layers" in figures else {}


def _alpha_hat_figures(zoo: xr.Dataset) -> dict[str, hv.Overlay]:
    return {
        f"{measure} {m}": capacity_figures.alpha_hat_figure(zoo, m, measure)
        for measure in MEASURES
        for m in texts(zoo["matrization"])
        if models_shown(zoo, m, measure).any()
    }


def _correlations(zoo: xr.Dataset, measure: str) -> list[dict[str, Any]]:
    """Rows of the table below figure 4: one for each family, and for all models if several."""
    by_matrization = {m: associations(zoo, m, measure) for m in texts(zoo["matrization"])}
    families = list(next(iter(by_matrization.values())))
    if len(families) == 2:  # one family: its row would be that of all models
        families = families[:1]
    return [
        {
            "family": family,
            "cells": [
                [str(fit.models), signed(fit.pearson), signed(fit.spearman), signed(fit.kendall)]
                for fit in (by_family[family] for by_family in by_matrization.values())
            ],
        }
        for family in families
    ]


def _looks(zoo: xr.Dataset) -> dict[str, tuple[str, str]]:
    """Colour and character of each family's marker."""
    return {
        family: (colour, capacity_figures.MARKERS[marker])
        for family, (colour, marker) in capacity_figures.family_styles(zoo).items()
    }


def _not_drawn(zoo: xr.Dataset) -> list[str]:
    """Models that did not fail but lack α̂ or accuracy, with the matrizations concerned."""
    models, failed = texts(zoo["model"]), [bool(error) for error in texts(zoo["error"])]
    lacking: dict[str, list[str]] = {}
    for m in texts(zoo["matrization"]):
        for model, shown, lost in zip(
            models, models_shown(zoo, m, "alpha_hat"), failed, strict=True
        ):
            if not shown and not lost:
                lacking.setdefault(model, []).append(named(m))
    return [f"{model} ({', '.join(missing)})" for model, missing in lacking.items()]


def _sentences(zoo: xr.Dataset) -> list[str]:
    """How α̂ correlates with accuracy over all models: one clause for each measure."""
    clauses = []
    for measure, words in MEASURES.items():
        fits = {m: associations(zoo, m, measure)[""] for m in texts(zoo["matrization"])}
        known = [f"{signed(a.spearman)} ({named(m)})" for m, a in fits.items() if a.correlated]
        if known:
            clauses.append(f"for the {words.removeprefix('α̂, ')}, {', '.join(known)}")
    return clauses


def _made(attributes: Mapping[str, str]) -> dict[str, Any]:
    """Provenance, in the order of the page: rows of text, software, and run parameters."""
    rest = {k: v for k, v in attributes.items() if k not in {"software_versions", "zoo_parameters"}}
    parameters = json.loads(attributes.get("zoo_parameters", "{}"))
    versions = json.loads(attributes.get("software_versions", "{}"))
    return {
        "rows": {name.replace("_", " "): value for name, value in rest.items()},
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "parameters": json.dumps(parameters, indent=2, ensure_ascii=False) if parameters else "",
    }
