"""Figures of one layer. The title of a figure says what it leaves out."""

from __future__ import annotations

from collections.abc import Mapping
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
from ddp_tasks.weights.signed_vectors import DIRECTIONS

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
    # In either direction that is a node.
    directions = len(table.directions)
    by_vector = np.any([table.significant[:, i::directions] for i in range(directions)], axis=0)
    classes = np.zeros(rank, dtype=int)
    classes[: by_vector.shape[1]] = by_vector.sum(axis=0)
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


def signal_distribution(signals: SignalCounts, thresholds: Mapping[str, float]) -> hv.Overlay:
    """Histogram of a layer's signals with the threshold q of each direction.

    Bars are drawn on a square root scale. On a linear one, the few signals beyond q could not be
    seen beside the many near zero.

    Parameters
    ----------
    thresholds
        q of the directions of the nodes; in the negative one a signal counts below -q.
    """
    share = signals.counts / max(signals.counts.sum(), 1)
    kdim = dimension("signal", "signal (layer output before bias)")
    vdim = dimension("root", "share of signals (square root scale)")
    root = np.sqrt(share)
    cuts = {
        direction: q if direction == DIRECTIONS[0] else -q for direction, q in thresholds.items()
    }
    past = np.zeros(len(root), dtype=bool)
    for direction, cut in cuts.items():
        past |= (
            signals.edges[:-1] >= cut if direction == DIRECTIONS[0] else signals.edges[1:] <= cut
        )
    beyond = np.where(past, root, 0)
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
    lines: list[hv.Element] = []
    for height, (direction, cut) in zip((0.95, 0.87), cuts.items(), strict=False):
        lines.append(
            with_options(hv.VLine(cut, label="threshold q"), color="#d62728", line_width=1.5)
        )
        at_left = cut > signals.edges.mean()
        sign = "" if len(cuts) == 1 else "⁺" if direction == DIRECTIONS[0] else "⁻"
        text = f"threshold q{sign} = {thresholds[direction]:.3g}"
        lines.append(
            element(
                hv.Labels,
                {
                    "x": [cut],
                    "y": [top * height],
                    "Label": [f"{text}  " if at_left else f"  {text}"],
                },
                2,
                text_font_size="12px",
                text_font=GLYPH_FONT,
                text_color="#b01f20",
                text_align="right" if at_left else "left",
            )
        )
    ticks = [t for t in (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7) if t**0.5 < top]
    title = ""
    if signals.images < signals.of_images:
        title = f"{signals.images:,} of {signals.of_images:,} images, spread evenly over the run"
    return figure(
        [*bars, *lines],
        **with_axes(
            title=title,
            ylim=(0, top),
            xlim=(float(signals.edges[0]), float(signals.edges[-1])),
            yticks=[(0, "0"), *((t**0.5, f"{t:.1%}") for t in ticks)],
            show_legend=False,
        ),
    )
