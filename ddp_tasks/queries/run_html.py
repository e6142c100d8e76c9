"""A finished run as a notebook shows it: HTML without a script, for light and dark pages."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from ddp_tasks.queries.controls import shown_percentile
from ddp_tasks.queries.gallery import Picture, row
from ddp_tasks.queries.statements import Finding
from ddp_tasks.queries.summary import Summary
from schemas.parameters import RunParameters

#: Layers that the table shows at once; the others are folded.
_LAYERS = 12
#: Pictures beside each statement, and their height in pixels.
_PICTURES, _HEIGHT = 6, 44

# Grey that is seen on white and on black; all other colours are the page's own.
_LINE = "1px solid rgba(128,128,128,.4)"


@dataclass(frozen=True)
class Shown:
    """What is shown of a run."""

    run: RunParameters
    summary: Summary
    statements: Sequence[Finding]
    conclusion: str
    layers: pd.DataFrame
    """as ``Run.layers``."""
    pictures: Mapping[str, npt.NDArray[np.uint8]]
    """of its images, by id."""


def run_html(shown: Shown) -> str:
    """Model, images, accuracy, statements with pictures, and the layers, as HTML."""
    told = shown.summary
    pieces = [
        '<div style="max-width:62em;color:inherit">',
        f"<p><b>{html.escape(shown.run.name)}</b>: {_model(shown.run)}, {told.images:,} images of "
        f"{told.target_classes:,} classes, {told.accuracy:.1%} classified correctly.</p>",
        *([f"<p>{html.escape(told.warning)}</p>"] if told.warning else []),
        *(_statement(one, shown.pictures) for one in shown.statements),
        f"<p>{html.escape(shown.conclusion)}</p>",
        _layers(shown.layers),
        "</div>",
    ]
    return "".join(pieces)


def _model(run: RunParameters) -> str:
    factory = str(run.model.factory)
    return _code(factory.rpartition(":")[2])


def _statement(one: Finding, stored: Mapping[str, npt.NDArray[np.uint8]]) -> str:
    pictures = [
        Picture(stored[exemplar.image], exemplar.target_class)
        for exemplar in one.exemplars[:_PICTURES]
        if exemplar.image in stored
    ]
    return (
        f'<div style="border-top:{_LINE};padding:6px 0">'
        f"<div>{_code(one.layer)} <b>{html.escape(one.headline)}</b>. "
        f'<span style="opacity:.8">{html.escape(one.evidence)}</span></div>'
        f'<div style="margin-top:6px">{row(pictures, _HEIGHT)}</div></div>'
    )


def _layers(frame: pd.DataFrame) -> str:
    """The table of the layers, folded where there are many."""
    header = (
        *("layer", "weight", "rank", "vectors", "classes", "equivalence classes"),
        "best η²",
        "percentile",
    )
    rows = []
    for name, one in frame.iterrows():
        percentile = one["percentile"]
        cells = (
            _code(str(name)),
            html.escape(f"{one['kind']} {one['shape']}"),
            f"{one['rank']:,}",
            f"{one['nodes']:,}",
            f"{one['hyperedges']:,}",
            f"{one['equivalence_classes']:,}",
            f"{one['best_eta_squared']:.2f}",
            shown_percentile(percentile) if np.isfinite(percentile) else "",
        )
        rows.append(f"<tr>{_cells('td', cells)}</tr>")
    head = _cells("th", header)
    table = (
        # The class that pandas gives its tables, which themes know to be light and dark.
        f'<table class="dataframe"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
        '<p style="opacity:.8">vectors: significant for a class; percentile: of the best η² among '
        "random rotations of the layer's outputs</p>"
    )
    opened = " open" if len(frame) <= _LAYERS else ""
    return (
        f"<details{opened}><summary>{len(frame):,} layers</summary>"
        f'<div style="overflow-x:auto">{table}</div></details>'
    )


def _code(text: str) -> str:
    """A name as code, in the colour of the text around it."""
    return f'<span style="font-family:monospace">{html.escape(text)}</span>'


def _cells(tag: str, texts: Sequence[str]) -> str:
    """Cells of a row: two of text, then numbers."""
    return "".join(
        f'<{tag} style="text-align:{"left" if i < 2 else "right"};padding:2px 10px 2px 0;'
        f'font-size:13px">{text}</{tag}>'
        for i, text in enumerate(texts)
    )
