"""Networks compared, laid out as one HTML page that needs nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import holoviews as hv
import numpy as np

from ddp_tasks.figures import comparison_figures
from ddp_tasks.files.whole import write_whole
from ddp_tasks.queries.comparison_tables import (
    findings_frame,
    layers_frame,
    matching_sentence,
    stable_sets,
)
from ddp_tasks.queries.model_comparison import ModelComparison
from ddp_tasks.report import page
from ddp_tasks.store import groups

#: Figures of single layers, matrices of single pairs, and findings that a page shows.
_LAYERS, _MATRICES, _FINDINGS = 12, 4, 60


def write(comparison: ModelComparison, file: Path) -> Path:
    """Write the page of a comparison.

    Returns
    -------
    the file, absolute
    """
    write_whole(file, render(comparison))
    return file.resolve()


def render(comparison: ModelComparison) -> str:
    """The page of a comparison as one text."""
    stable = stable_sets(comparison)
    plots, matrices = _matrices(comparison)
    matched = _matched(comparison)
    if stable:
        plots["surviving"] = comparison_figures.surviving_sets(comparison.counts, stable[0].least)
    findings = findings_frame(comparison)
    shown = findings[findings["networks"] > 1].head(_FINDINGS)
    return page.rendered(
        "comparison.html.jinja",
        plots | matched,
        comparison=comparison,
        names=[network.name for network in comparison.networks],
        matrices=matrices,
        matched=list(matched),
        left_out=max(len(comparison.networks[0].layers) - len(matched), 0),
        lines=comparison_figures.LINES,
        rows=layers_frame(comparison).to_dict("records"),
        several=len(comparison.pairs) > 1,
        stable=stable,
        matching=matching_sentence(comparison),
        findings=shown.to_dict("records"),
        repeated=int((findings["networks"] > 1).sum()),
        single=int((findings["networks"] == 1).sum()),
        made=_made(comparison),
    )


def _matrices(comparison: ModelComparison) -> tuple[dict[str, hv.Overlay], list[dict[str, str]]]:
    """Matrices of CKA, with their titles: the mean over pairs of like networks, or some pairs."""
    networks, pairs = comparison.networks, comparison.pairs
    if len(pairs) > 1 and all(pair.by_name for pair in pairs):
        mean = np.mean([pair.cka for pair in pairs], axis=0)
        layers = networks[0].layers
        name = "mean over pairs"
        figure = comparison_figures.cka_matrix(mean, (layers, layers), ("layer", "layer"))
        return {"cka mean": figure}, [{"figure": "cka mean", "title": name}]
    plots, titles = {}, []
    for pair in pairs[:_MATRICES]:
        a, b = networks[pair.a], networks[pair.b]
        key = f"cka {pair.a} {pair.b}"
        plots[key] = comparison_figures.cka_matrix(pair.cka, (a.layers, b.layers), (a.name, b.name))
        titles.append({"figure": key, "title": f"{a.name} and {b.name}"})
    return plots, titles


def _matched(comparison: ModelComparison) -> dict[str, hv.Overlay]:
    """Correlations of matched vectors: of layers by name over all pairs, or of the first pair."""
    first = comparison.pairs[0]
    rows = np.unique(np.linspace(0, len(first.layers) - 1, _LAYERS).round().astype(int)).tolist()
    together = all(pair.by_name for pair in comparison.pairs)
    pairs = comparison.pairs if together else (first,)
    plots = {}
    for row in rows:
        layer = first.layers[row]
        title = layer.a if layer.a == layer.b else f"{layer.a} and {layer.b}"
        matchings = [pair.layers[row].vectors for pair in pairs]
        plots[f"matched {row}"] = comparison_figures.matched_correlations(matchings, title)
    return plots


def _made(comparison: ModelComparison) -> list[dict[str, Any]]:
    """Provenance of each run, each once."""
    made: dict[Path, dict[str, Any]] = {}
    for network in comparison.networks:
        run = network.run
        attributes: Mapping[str, str] = groups.root_attributes(run.store)
        parameters = json.loads(attributes["run_parameters"])
        made[run.store] = {
            "name": network.name if len(comparison.networks) > 1 else parameters["name"],
            "folder": str(run.store.parent),
            "title": parameters["name"],
            "accuracy": run.accuracy,
            "attributes": attributes,
            "parameters": json.dumps(parameters, indent=2, ensure_ascii=False),
        }
    return list(made.values())
