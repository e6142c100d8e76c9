"""Figures of one layer. The title of a figure says what it leaves out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import holoviews as hv
import numpy as np
import numpy.typing as npt

from ddp_tasks.figures.elements import dimension, element, figure, with_options
from ddp_tasks.figures.notation import vector_names
from ddp_tasks.figures.style import GLYPH_FONT, with_axes
from ddp_tasks.significance.layer_table import LayerTable
from ddp_tasks.weights.layer_vectors import LayerVectors

_VECTORS_IN_STRONGEST = 6
_BINS = 120


def spectrum(table: LayerTable, layer: LayerVectors) -> hv.Overlay:
    """Singular values of a layer; those significant for a class are marked.

    Parameters
    ----------
    table, layer
        as in ``significance_heatmap``.

    References
    ----------
    Praggastis et al. 2022, section 4.2.
    """
    rank = layer.rank
    values = layer.singular_values
    names = np.array(vector_names(layer), dtype=object)
    classes = np.zeros(rank, dtype=int)
    classes[: table.significant.shape[1]] = table.significant.sum(axis=0)
    words = {"index": "index i of the singular vector", "value": "singular value"}
    tooltips = [("singular vector", "@vector"), ("singular value", "@value{0.000}")]
    tooltips.append(("significant for", "@classes classes"))
    parts = []
    groups: list[tuple[str, npt.NDArray[np.bool_], dict[str, Any]]] = [
        ("significant for no class", classes == 0, {"color": "#b4bcc4", "size": 4}),
        ("significant for a class", classes > 0, {"color": "#2171b5", "size": 7}),
        (
            "arbitrary singular vector (*)",
            layer.arbitrary,
            {"color": "#d62728", "marker": "asterisk", "size": 9},
        ),
    ]
    for label, chosen, style in groups:
        vectors = np.flatnonzero(chosen)
        if not len(vectors):
            continue
        columns = {
            "index": vectors,
            "value": values[vectors],
            "vector": names[vectors],
            "classes": classes[vectors],
        }
        hovered: dict[str, Any] = {"tools": ["hover"], "hover_tooltips": tooltips}
        parts.append(
            element(hv.Scatter, columns, 1, label=label, dimension_labels=words, **hovered, **style)
        )
    return figure(
        parts,
        **with_axes(
            ylim=(0, float(values.max()) * 1.06),
            xlim=(-0.5 - rank / 50, rank - 0.5 + rank / 50),
        ),
    )


@dataclass(frozen=True)
class SignalCounts:
    """How often a layer's signals fall into each of the equal bins."""

    edges: npt.NDArray[np.float64]
    """shape (bins + 1,)."""
    counts: npt.NDArray[np.int64]
    """shape (bins,)."""
    images: int
    """images counted."""
    of_images: int
    """images of the run."""


def signal_counts(signals: npt.NDArray[np.float32], of_images: int) -> SignalCounts:
    """Count a layer's signals in equal bins from the least to the greatest.

    Parameters
    ----------
    signals
        shape (image, singular vector), of all images or some of them; NaN is not counted.
    of_images
        images of the run.
    """
    finite = signals[np.isfinite(signals)]  # rows of unreadable images are NaN
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    edges = np.linspace(low, high if high > low else low + 1, _BINS + 1)
    return SignalCounts(edges, np.histogram(finite, edges)[0], len(signals), of_images)


def signal_distribution(signals: SignalCounts, threshold: float) -> hv.Overlay:
    """Histogram of a layer's signals with the threshold q.

    Bars are drawn on a square root scale. On a linear one, the few signals beyond q could not be
    seen beside the many near zero.
    """
    share = signals.counts / max(signals.counts.sum(), 1)
    kdim = dimension("signal", "signal (layer output before bias)")
    vdim = dimension("root", "share of signals (square root scale)")
    root = np.sqrt(share)
    beyond = np.where(signals.edges[:-1] >= threshold, root, 0)
    bars = [
        with_options(
            hv.Histogram((signals.edges, heights), kdims=[kdim], vdims=[vdim]),
            color=colour,
            line_color="white",
            line_width=0.5,
        )
        for heights, colour in ((root, "#c9d1d9"), (beyond, "#4292c6"))
    ]
    top = float(np.sqrt(share.max())) * 1.08
    line = with_options(hv.VLine(threshold, label="threshold q"), color="#d62728", line_width=1.5)
    at_left = threshold > signals.edges.mean()
    text = f"threshold q = {threshold:.3g}"
    label = element(
        hv.Labels,
        {"x": [threshold], "y": [top * 0.95], "Label": [f"{text}  " if at_left else f"  {text}"]},
        2,
        text_font_size="12px",
        text_font=GLYPH_FONT,
        text_color="#b01f20",
        text_align="right" if at_left else "left",
    )
    ticks = [t for t in (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7) if t**0.5 < top]
    title = ""
    if signals.images < signals.of_images:
        title = f"{signals.images:,} of {signals.of_images:,} images, spread evenly over the run"
    return figure(
        [*bars, line, label],
        **with_axes(
            title=title,
            ylim=(0, top),
            xlim=(float(signals.edges[0]), float(signals.edges[-1])),
            yticks=[(0, "0"), *((t**0.5, f"{t:.1%}") for t in ticks)],
            show_legend=False,
        ),
    )
