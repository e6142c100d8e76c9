"""Networks compared: CKA of their layers, matched vectors, and sets of classes that survive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import holoviews as hv
import numpy as np
import numpy.typing as npt

from ddp_tasks.figures.elements import element, figure
from ddp_tasks.figures.notation import COLOURS, short, text_width
from ddp_tasks.figures.style import BLUES, PLAIN_AXES, TABLE_AXES, cell_texts, framed, plain
from ddp_tasks.hypergraphs.survival import SetCounts
from ddp_tasks.significance.vector_matching import Matching

Floats = npt.NDArray[np.float64]

#: Layers of a matrix whose cells have room for their number.
_WITH_NUMBERS = 16
_SINGULAR, _PERMUTED, _WITHIN, _TURNED = COLOURS[0], "#b9c1c9", COLOURS[1], COLOURS[3]
_VARIED = COLOURS[5]

#: Colour and meaning of each line of ``matched_correlations``.
LINES = {
    _SINGULAR: "singular vectors",
    _TURNED: "one basis turned at random",
    _WITHIN: "images permuted within their classes",
    _PERMUTED: "images permuted",
}


def cka_matrix(
    cka: Floats, layers: tuple[Sequence[str], Sequence[str]], names: tuple[str, str]
) -> hv.Overlay:
    """Linear CKA of every layer of one network with every layer of another.

    Parameters
    ----------
    cka
        shape (layers of the first, layers of the second).
    layers
        names of either.
    names
        of the networks, for the axes.

    References
    ----------
    Kornblith et al. 2019, Fig. 3.
    """
    rows, columns = cka.shape
    y, x = (of.ravel().astype(np.int32) for of in np.mgrid[:rows, :columns])
    value = cka.ravel()
    shade = np.clip(np.nan_to_num(value), 0, 1)
    width = 46 if max(rows, columns) <= _WITH_NUMBERS else max(10, 640 // max(rows, columns))
    height = 26 if max(rows, columns) <= _WITH_NUMBERS else width
    cells = {
        "cka_x0": x - 0.5,
        "cka_y0": y - 0.5,
        "cka_x1": x + 0.5,
        "cka_y1": y + 0.5,
        "shade": shade,
        "cka": value,
        "first": np.array(layers[0], dtype=object)[y],
        "second": np.array(layers[1], dtype=object)[x],
    }
    parts: list[hv.Element] = [
        element(
            hv.Rectangles,
            cells,
            4,
            group="Cells",
            color="shade",
            cmap=list(BLUES),
            clim=(0, 1),
            line_color="white",
            line_width=1 if width > 20 else 0,
            tools=["hover"],
            hover_tooltips=[
                (names[0], "@first"),
                (names[1], "@second"),
                ("CKA", "@cka{0.00}"),
            ],
        )
    ]
    if max(rows, columns) <= _WITH_NUMBERS:
        texts = ["" if np.isnan(v) else f"{v:.2f}".replace("-0.00", "0.00") for v in value]
        parts.append(cell_texts((x, y, texts), shade, ["cka_x", "cka_y"], group="Values"))
    return figure(
        parts,
        **plain(
            columns * width,
            rows * height,
            show_legend=False,
            xlim=(-0.5, columns - 0.5),
            ylim=(-0.5, rows - 0.5),
            yticks=_ticks(layers[0], height)["ticks"],
            **{f"x{key}": of for key, of in _ticks(layers[1], width).items()},
            xlabel=short(names[1], 40),
            ylabel=short(names[0], 40),
        )
        | {"backend_opts": TABLE_AXES},
    )


def _ticks(layers: Sequence[str], width: float) -> dict[str, Any]:
    """Names of layers along an axis, each as wide as given, turned where they are wider."""
    labels = [short(name, 24) for name in layers]
    turned = max(text_width(label, 11) for label in labels) + 6 > width
    step = max(1, int(-(-14 // width)))
    return {"ticks": list(enumerate(labels))[::step], "rotation": 90 if turned else 0}


def matched_correlations(matchings: Sequence[Matching], title: str) -> hv.Overlay:
    """Correlations of vectors matched one to one, the greatest first, beside what chance gives.

    Lines are means over pairs of networks, and over draws of chance; the band of singular vectors
    reaches from the least pair to the greatest.

    Parameters
    ----------
    matchings
        of one layer, for each pair of networks.
    """
    pairs = min(len(of.agreement) for of in matchings)
    own = np.stack([-np.sort(-of.agreement)[:pairs] for of in matchings])
    place = np.arange(1, pairs + 1)
    parts: list[hv.Element] = []
    if len(matchings) > 1:
        parts.append(
            element(
                hv.Segments,
                {"x0": place, "low": own.min(axis=0), "x1": place, "high": own.max(axis=0)},
                4,
                group="Range",
                color=_SINGULAR,
                line_width=max(240 / pairs, 1),
                line_alpha=0.18,
            )
        )
    lines = {
        _PERMUTED: _mean_line([of.permuted for of in matchings], pairs),
        _WITHIN: _mean_line([of.within_classes for of in matchings], pairs),
        _TURNED: _mean_line([of.turned for of in matchings], pairs),
        _SINGULAR: own.mean(axis=0),
    }
    kind = hv.Curve if pairs > 1 else hv.Scatter
    for colour, line in lines.items():
        looks: dict[str, Any] = {"line_width": 2} if pairs > 1 else {"size": 7}
        parts.append(
            element(
                kind,
                {"match": place, "correlation": line},
                1,
                group="Line",
                label=LINES[colour],
                color=colour,
                **looks,
            )
        )
    return figure(
        parts,
        **framed(
            250,
            170,
            short(title, 38),
            xlim=(0.5, pairs + 0.5),
            ylim=(0, 1.02),
            xlabel="pair, the best first",
            ylabel="|correlation|",
            show_legend=False,
        ),
    )


def _mean_line(draws: Sequence[Floats], pairs: int) -> Floats:
    """Mean over pairs of networks and draws, by place in the descending order."""
    return np.asarray(np.concatenate([of[:, :pairs] for of in draws]).mean(axis=0))


def surviving_sets(counts: Mapping[str, SetCounts], least: int) -> hv.Overlay:
    """How many sets of classes of each layer a number of networks have, beside chance.

    Dots are the networks' own; bars reach from the 5th to the 95th percentile of the draws.

    Parameters
    ----------
    counts
        by layer.
    least
        of the networks.
    """
    names = list(counts)
    place = np.arange(len(names), dtype=np.float64)
    chance = [
        ("names of classes permuted", _WITHIN, -0.2, [c.stable_renamed for c in counts.values()]),
        ("random bases", _TURNED, 0.12, [c.stable_turned for c in counts.values()]),
        ("variances kept", _VARIED, 0.28, [c.stable_varied for c in counts.values()]),
    ]
    parts = [
        one
        for label, colour, shift, draws in chance
        for one in _chance(place + shift, [of[:, least - 1] for of in draws], colour, label)
    ]
    own = np.array([c.stable[least - 1] for c in counts.values()], dtype=np.float64)
    parts.append(
        element(
            hv.Scatter,
            {"layer": place, "sets": own, "name": np.array(names, dtype=object)},
            1,
            group="Own",
            label="singular vectors",
            color=_SINGULAR,
            size=9,
            tools=["hover"],
            hover_tooltips=[("layer", "@name"), ("sets", "@sets{0}")],
        )
    )
    drawn = [own, *(of[:, least - 1] for _, _, _, draws in chance for of in draws)]
    top = max(1.0, *(float(of.max(initial=0)) for of in drawn))
    width = max(min(56 * len(names), 1080), 260)
    return figure(
        parts,
        **framed(
            width,
            220,
            xlim=(-0.6, len(names) - 0.4),
            ylim=(-0.04 * top, 1.06 * top),
            **{f"x{key}": of for key, of in _ticks(names, width / len(names)).items()},
            xlabel="",
            ylabel=f"sets in at least {least} networks",
            legend_position="right",
        )
        | {"backend_opts": PLAIN_AXES | {"plot.xgrid.grid_line_color": None}},
    )


def _chance(
    place: Floats, draws: Sequence[npt.NDArray[np.int64]], colour: str, label: str
) -> list[hv.Element]:
    """Bars from the 5th to the 95th percentile of draws, and their means."""
    low, high = (np.array([np.quantile(of, q) for of in draws]) for q in (0.05, 0.95))
    mean = np.array([of.mean() for of in draws], dtype=np.float64)
    bars = {"x0": place, "y0": low, "x1": place, "y1": high}
    looks: dict[str, Any] = {"color": colour, "line_width": 9, "line_alpha": 0.35}
    dots = {"layer": place, "sets": mean}
    return [
        element(hv.Segments, bars, 4, group="Chance", **looks),
        element(
            hv.Scatter, dots, 1, group="Mean", label=label, color=colour, size=6, marker="dash"
        ),
    ]
