"""Empirical spectral distributions of Gram matrices with their power laws (figure 3a)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import holoviews as hv
import numpy as np
import numpy.typing as npt
import xarray as xr

from ddp_tasks.capacity_tables import some, texts
from ddp_tasks.notation import NEUTRAL, cut, text_width
from ddp_tasks.style import GLYPH_FONT, canvas, framed, shown_of

Floats = npt.NDArray[np.float64]

BAR, XMIN, POWER_LAW = "#9ecae1", "#55606b", "#d62728"
#: Eigenvalues farther below the greatest are mostly zero but for rounding.
_DECADES = 8.0
_FEWEST_BARS = 12
_WIDTH, _HEIGHT = 348, 260
_LAYERS_SHOWN = 24
#: Of the small panels: columns, size of one, gaps, and what lies above and below them, in pixels.
_COLUMNS = 6
_PANEL = 196.0, 84.0
_GAP = 20.0, 24.0
_BELOW, _SIDE = 24.0, 8.0


def spectral_distributions(
    capacity: xr.Dataset, layer: str, width: int = _WIDTH, height: int = _HEIGHT
) -> dict[str, hv.Overlay]:
    """Empirical spectral distribution of one layer under each matrization (figure 3a).

    All panels span the same eigenvalues and densities, so slopes can be compared.

    Parameters
    ----------
    capacity
        the store's group ``capacity/MODEL``.
    width, height
        of each panel's frame, in pixels.

    Returns
    -------
    panels by matrization; one without a spectrum is left out.

    References
    ----------
    Praggastis et al. 2022, Fig. 3a.
    """
    panels = {
        m: histogram(capacity.sel(layer=layer, matrization=m))
        for m in texts(capacity["matrization"])
    }
    panels = {m: bars for m, bars in panels.items() if len(bars["share"])}
    if not panels:
        return {}
    left = min(float(bars["left"].min()) for bars in panels.values())
    right = max(float(bars["right"].max()) for bars in panels.values())
    low = min(float(bars["density"].min()) for bars in panels.values())
    high = max(float(bars["density"].max()) for bars in panels.values())
    limits = {
        "xlim": (left / (right / left) ** 0.02, right * (right / left) ** 0.04),
        "ylim": (low / max((high / low) ** 0.08, 1.5), high * max((high / low) ** 0.14, 2)),
    }
    return {
        m: _distribution(capacity.sel(layer=layer, matrization=m), bars, m).opts(
            **framed(
                width,
                height,
                _fit_in_words(capacity.sel(layer=layer, matrization=m), bars),
                logx=True,
                logy=True,
                show_legend=False,
                **limits,
            )
        )
        for m, bars in panels.items()
    }


def histogram(one: xr.Dataset) -> dict[str, Floats]:
    """Bars of one layer's spectral density under one matrization.

    Bins are joined where there are few eigenvalues, so that bars do not fall apart into spikes,
    higher than the density, with nothing between them.

    Parameters
    ----------
    one
        one layer and matrization of the store's group ``capacity/MODEL``.

    Returns
    -------
    left, right
        shape (bars,); edges of the bars that are not empty.
    share
        shape (bars,); share of the eigenvalues in the bar.
    density
        shape (bars,); share per unit of λ, along which a power law is a line of slope -α.
    left_out
        shape (); share of the eigenvalues more than 8 decades below the greatest, not among the
        bars.
    """
    share = one["density"].to_numpy().astype(np.float64)
    edge = one["edge"].to_numpy().astype(np.float64)
    wanted = max(_FEWEST_BARS, 2 * float(one["count"]) ** 0.5)
    starts = np.arange(0, len(share), max(1, round(len(share) / wanted)))
    share = np.add.reduceat(share, starts)
    left, right = edge[starts], edge[[*starts[1:], len(edge) - 1]]
    filled = np.isfinite(share) & (share > 0) & (left > 0) & (right > left)
    least = float(right[filled].max()) * 10**-_DECADES if filled.any() else 0.0
    shown = filled & (left >= least)
    return {
        "left": left[shown],
        "right": right[shown],
        "share": share[shown],
        "density": share[shown] / (right - left)[shown],
        "left_out": np.asarray(share[filled & ~shown].sum()),
    }


def power_law(one: xr.Dataset) -> Floats:
    """Ends of the fitted power law, scaled to the tail's share of the eigenvalues.

    Parameters
    ----------
    one
        as for ``histogram``.

    Returns
    -------
    shape (2, 2); λ and density at xmin and at the greatest eigenvalue. Without a fit, shape
    (0, 2).
    """
    alpha, xmin, greatest = (float(one[name]) for name in ("alpha", "xmin", "lambda_max"))
    tail, values = float(one["tail"]), float(one["count"])
    if not (np.isfinite([alpha, xmin, greatest, tail]).all() and values and 0 < xmin < greatest):
        return np.empty((0, 2))
    at = np.array([xmin, greatest])
    return np.column_stack([at, tail / values * (alpha - 1) / xmin * (at / xmin) ** -alpha])


def _distribution(one: xr.Dataset, bars: Mapping[str, Floats], matrization: str) -> hv.Overlay:
    edges = [f"{side}_{matrization}" for side in ("left", "low", "right", "high")]
    # Bars on a logarithmic axis need a lower end; this one lies below every figure.
    low = np.full(len(bars["left"]), float(bars["density"].min()) * 1e-6)
    drawn = hv.Rectangles(
        (bars["left"], low, bars["right"], bars["density"], bars["share"]),
        kdims=edges,
        vdims=["share"],
        group="Bars",
    )
    told = [
        ("λ", f"@{edges[0]}{{0.00e+0}} to @{edges[2]}{{0.00e+0}}"),
        ("share of eigenvalues", "@share{0.00 %}"),
    ]
    parts = [
        drawn.opts(
            color=BAR,
            line_color="white",
            line_width=0.5,
            tools=["hover"],
            hover_tooltips=told,
            xlabel="eigenvalue λ",
            ylabel="density of eigenvalues",
        )
    ]
    fit = power_law(one)
    if len(fit):
        xmin = hv.VLine(float(one["xmin"]), group="Xmin")
        curve = hv.Curve(fit, kdims=["eigenvalue"], vdims=["density"], group="Power law")
        parts.append(xmin.opts(color=XMIN, line_width=1.2, line_dash="dashed"))
        parts.append(curve.opts(color=POWER_LAW, line_width=2))
    return hv.Overlay(parts)


def _fit_in_words(one: xr.Dataset, bars: Mapping[str, Floats]) -> str:
    refused = str(one["refused"].item())
    words = (
        f"no power law: {refused or 'not fitted'}"
        if not np.isfinite(float(one["alpha"]))
        else f"α = {float(one['alpha']):.2f} ± {float(one['sigma']):.2f},  "
        f"xmin = {float(one['xmin']):.3g},  D = {float(one['D']):.3f},  "
        f"tail {int(one['tail']):,} of {int(one['count']):,}"
    )
    if left_out := float(bars["left_out"]):
        words += f"\n{left_out:.1%} of λ lie below the figure"
    return words


def layer_spectra(capacity: xr.Dataset, matrization: str = "unfolded") -> hv.Overlay:
    """Small panels with the spectral distribution of every layer under one matrization.

    All panels span the same eigenvalues and as many decades of density, each up to its own
    greatest, so equal slopes are equal exponents. Past 24 layers, 24 spread evenly are drawn.

    Parameters
    ----------
    capacity
        the store's group ``capacity/MODEL``.

    Raises
    ------
    ValueError
        If no layer has a spectrum.
    """
    spectra = {
        layer: histogram(capacity.sel(layer=layer, matrization=matrization))
        for layer in texts(capacity["layer"])
    }
    spectra = {layer: bars for layer, bars in spectra.items() if len(bars["share"])}
    if not spectra:
        raise ValueError(f"no layer has a spectrum under {matrization}")
    layers = some(list(spectra), _LAYERS_SHOWN)
    panels = _Panels.of([spectra[layer] for layer in layers])
    fits = [capacity.sel(layer=layer, matrization=matrization) for layer in layers]
    bars = [panels.bars(i, spectra[layer]) for i, layer in enumerate(layers)]
    drawn = hv.Rectangles(np.concatenate(bars), group="Bars")
    lines = [panels.power_law(i, fit) for i, fit in enumerate(fits)]
    marks = [panels.upright(i, float(fit["xmin"])) for i, fit in enumerate(fits)]
    rules = [rule for i in range(len(layers)) for rule in panels.rules(i)]
    text = {"text_font": GLYPH_FONT, "text_font_size": "11px", "text_color": NEUTRAL}
    exponents = [_exponent(fit) for fit in fits]
    room = [_PANEL[0] - text_width(exponent, 11) - 8 for exponent in exponents]
    names = [cut(layer, width, 11) for layer, width in zip(layers, room, strict=True)]
    title = shown_of(len(layers), len(spectra), "layers", "spread evenly over the depth")
    return hv.Overlay(
        [
            _segments(rules, "Rules").opts(color="#eceff2", line_width=1),
            drawn.opts(color=BAR, line_color=None),
            _segments(marks, "Xmin").opts(color=XMIN, line_width=1, line_dash="dashed"),
            _segments(lines, "Power law").opts(color=POWER_LAW, line_width=1.5),
            panels.above(names, 0).opts(text_align="left", **text),
            panels.above(exponents, _PANEL[0]).opts(text_align="right", **text),
            panels.decades_below().opts(text_align="center", text_baseline="top", **text),
        ]
    ).opts(**canvas(*panels.size, title))


@dataclass(frozen=True)
class _Panels:
    """Where small panels lie on a canvas; all lengths in pixels, upwards."""

    number: int
    first: float
    last: float
    """base-10 logarithms of the least and the greatest eigenvalue."""
    tops: Floats
    """shape (number,); greatest density of each panel."""
    span: float
    """decades of density in every panel."""

    @staticmethod
    def of(spectra: Sequence[Mapping[str, Floats]]) -> _Panels:
        tops = np.array([bars["density"].max() for bars in spectra])
        lows = np.array([bars["density"].min() for bars in spectra])
        return _Panels(
            number=len(spectra),
            first=float(np.log10(min(bars["left"].min() for bars in spectra))),
            last=float(np.log10(max(bars["right"].max() for bars in spectra))),
            tops=tops,
            # A little more, so that the least density is seen.
            span=float(np.log10(tops / lows).max()) * 1.05 + 0.3,
        )

    @property
    def columns(self) -> int:
        return min(_COLUMNS, self.number)

    @property
    def size(self) -> tuple[float, float]:
        rows = -(-self.number // self.columns)
        wide = 2 * _SIDE + self.columns * _PANEL[0] + (self.columns - 1) * _GAP[0]
        return wide, rows * (_PANEL[1] + _GAP[1]) + _BELOW

    def corner(self, i: int) -> Floats:
        """Lower left corner of a panel."""
        row, column = divmod(i, self.columns)
        down = (row + 1) * (_PANEL[1] + _GAP[1])
        return np.array([_SIDE + column * (_PANEL[0] + _GAP[0]), self.size[1] - down])

    def place(self, i: int, eigenvalue: Floats, density: Floats) -> Floats:
        """Points of a panel, of shape (n, 2)."""
        right = (np.log10(eigenvalue) - self.first) / (self.last - self.first)
        up = np.log10(density / self.tops[i]) / self.span + 1
        return np.asarray(self.corner(i) + np.column_stack([right, up]) * _PANEL)

    def bars(self, i: int, found: Mapping[str, Floats]) -> Floats:
        """Left, lower, right and upper sides of a panel's bars, of shape (bars, 4)."""
        floor = np.full(len(found["left"]), self.tops[i] * 10**-self.span)
        low = self.place(i, found["left"], floor)
        return np.column_stack([low, self.place(i, found["right"], found["density"])])

    def power_law(self, i: int, fit: xr.Dataset) -> Floats:
        """The part of the fitted line inside a panel, of shape (1 or 0, 4)."""
        ends = power_law(fit)
        if not len(ends):
            return np.empty((0, 4))
        (x0, y0), (x1, y1) = self.place(i, ends[:, 0], ends[:, 1])
        low = self.corner(i)[1]
        # The line falls: its first end may lie above the panel, its last below.
        heights = np.clip([y0, y1], low, low + _PANEL[1])
        if heights[0] == heights[1]:
            return np.empty((0, 4))
        across = x0 + (heights - y0) / (y1 - y0) * (x1 - x0)
        return np.array([[across[0], heights[0], across[1], heights[1]]])

    def upright(self, i: int, eigenvalue: float) -> Floats:
        """A line through a panel at an eigenvalue, of shape (1 or 0, 4)."""
        if not (eigenvalue > 0 and self.first <= np.log10(eigenvalue) <= self.last):
            return np.empty((0, 4))
        x, _ = self.place(i, np.array([eigenvalue]), self.tops[i : i + 1])[0]
        low = self.corner(i)[1]
        return np.array([[x, low, x, low + _PANEL[1]]])

    def decades(self) -> npt.NDArray[np.int64]:
        """Powers of ten that are written below the panels, at most four."""
        within = np.arange(np.ceil(self.first), np.floor(self.last) + 1).astype(int)
        return within[:: -(-len(within) // 4) or 1]

    def rules(self, i: int) -> list[Floats]:
        """Lines along the foot of a panel and at its powers of ten, each of shape (1, 4)."""
        left, low = self.corner(i)
        foot = np.array([[left, low, left + _PANEL[0], low]])
        return [foot, *(self.upright(i, 10.0**k) for k in self.decades())]

    def above(self, texts_: Sequence[str], right: float) -> hv.Labels:
        """Texts above the panels, so many pixels from their left sides."""
        at = np.array([self.corner(i) for i in range(self.number)])
        data = (at[:, 0] + right, at[:, 1] + _PANEL[1] + 8, list(texts_))
        return hv.Labels(data, group="Exponents" if right else "Layers")

    def decades_below(self) -> hv.Labels:
        """Powers of ten below the last panel of each column."""
        last = range(max(self.number - self.columns, 0), self.number)
        written = [
            (self.upright(i, 10.0**k)[0, 0], self.corner(i)[1] - 4, f"10{_raised(int(k))}")
            for i in last
            for k in self.decades()
        ]
        return hv.Labels(written, group="Decades")


def _segments(parts: Sequence[Floats], group: str) -> hv.Segments:
    return hv.Segments(np.concatenate(parts), group=group)


def _exponent(fit: xr.Dataset) -> str:
    alpha = float(fit["alpha"])
    return f"α {alpha:.2f}" if np.isfinite(alpha) else "no fit"


def _raised(power: int) -> str:
    return str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
