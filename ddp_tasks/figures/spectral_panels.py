"""Spectral distributions of all layers of a model as small panels of one figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import holoviews as hv
import numpy as np
import numpy.typing as npt
import xarray as xr

from ddp_tasks.capacity.tables import flags, spread_names, texts
from ddp_tasks.figures.notation import NEUTRAL, cut, text_width
from ddp_tasks.figures.spectral_figures import (
    BAR,
    POWER_LAW,
    XMIN,
    SpectralBars,
    histogram,
    power_law,
)
from ddp_tasks.figures.style import GLYPH_FONT, canvas, shown_of

Floats = npt.NDArray[np.float64]

_LAYERS_SHOWN = 24
#: Small panels: columns, size, gaps, and the space below and beside them, in pixels.
_COLUMNS = 6
_PANEL = 196.0, 84.0
_GAP = 20.0, 24.0
_BELOW, _SIDE = 24.0, 8.0


def layer_spectra(capacity: xr.Dataset, matrization: str = "unfolded") -> hv.Overlay:
    """Small panels with the spectral distribution of every layer under one matrization.

    All panels span the same eigenvalues and equally many decades of density, each up to its own
    greatest density, so equal slopes are equal exponents. Of more than 24 layers, 24 spread evenly
    are drawn.

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
    spectra = {layer: bars for layer, bars in spectra.items() if len(bars)}
    if not spectra:
        raise ValueError(f"no layer has a spectrum under {matrization}")
    layers = spread_names(list(spectra), _LAYERS_SHOWN)
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
    """Places of small panels on a canvas; lengths in pixels, y grows upwards."""

    number: int
    first: float
    last: float
    """base-10 logarithms of the least and the greatest eigenvalue."""
    tops: Floats
    """shape (number,); greatest density of each panel."""
    span: float
    """decades of density in every panel."""

    @staticmethod
    def of(spectra: Sequence[SpectralBars]) -> _Panels:
        tops = np.array([bars.density.max() for bars in spectra])
        lows = np.array([bars.density.min() for bars in spectra])
        return _Panels(
            number=len(spectra),
            first=float(np.log10(min(bars.left.min() for bars in spectra))),
            last=float(np.log10(max(bars.right.max() for bars in spectra))),
            tops=tops,
            # Slightly more, so that the least density can be seen.
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

    def bars(self, i: int, spectrum: SpectralBars) -> Floats:
        """Left, lower, right and upper sides of a panel's bars, of shape (bars, 4)."""
        floor = np.full(len(spectrum), self.tops[i] * 10**-self.span)
        low = self.place(i, spectrum.left, floor)
        return np.column_stack([low, self.place(i, spectrum.right, spectrum.density)])

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

    def above(self, labels: Sequence[str], right: float) -> hv.Labels:
        """Texts above the panels, ``right`` pixels from their left sides."""
        at = np.array([self.corner(i) for i in range(self.number)])
        data = (at[:, 0] + right, at[:, 1] + _PANEL[1] + 8, list(labels))
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
    words = ", ".join([f"α {alpha:.2f}", *flags(fit)])
    return words if np.isfinite(alpha) else "no fit"


def _raised(power: int) -> str:
    return str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
