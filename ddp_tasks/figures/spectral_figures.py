"""Empirical spectral distributions of Gram matrices with their power laws (figure 3a)."""

from __future__ import annotations

from dataclasses import dataclass

import holoviews as hv
import numpy as np
import numpy.typing as npt
import xarray as xr

from ddp_tasks.capacity.tables import flags, texts
from ddp_tasks.figures.style import framed

Floats = npt.NDArray[np.float64]

BAR, XMIN, POWER_LAW = "#9ecae1", "#55606b", "#d62728"
#: Eigenvalues more decades below the greatest are mostly zeros with rounding errors.
_DECADES = 8.0
_FEWEST_BARS = 12
_WIDTH, _HEIGHT = 348, 260


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
    panels by matrization; matrizations without a spectrum are left out.

    References
    ----------
    Praggastis et al. 2022, Fig. 3a.
    """
    panels = {
        m: histogram(capacity.sel(layer=layer, matrization=m))
        for m in texts(capacity["matrization"])
    }
    panels = {m: bars for m, bars in panels.items() if len(bars)}
    if not panels:
        return {}
    left = min(float(bars.left.min()) for bars in panels.values())
    right = max(float(bars.right.max()) for bars in panels.values())
    low = min(float(bars.density.min()) for bars in panels.values())
    high = max(float(bars.density.max()) for bars in panels.values())
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


@dataclass(frozen=True, slots=True)
class SpectralBars:
    """Bars of a spectral density; bars that would be empty are left out."""

    left: Floats
    """shape (bars,); eigenvalue at which each bar begins."""
    right: Floats
    """shape (bars,); eigenvalue at which each bar ends."""
    share: Floats
    """shape (bars,); share of the eigenvalues in the bar."""
    density: Floats
    """shape (bars,); share per unit of λ, along which a power law is a line of slope -α."""
    left_out: float
    """share of the eigenvalues more than 8 decades below the greatest, not among the bars."""

    def __len__(self) -> int:
        return len(self.share)


def histogram(spectrum: xr.Dataset) -> SpectralBars:
    """Bars of one layer's spectral density under one matrization.

    Where there are few eigenvalues, bins are joined. Otherwise bars would be single spikes, higher
    than the density, with gaps between them.

    Parameters
    ----------
    spectrum
        one layer and matrization of the store's group ``capacity/MODEL``.
    """
    share = spectrum["density"].to_numpy().astype(np.float64)
    edge = spectrum["edge"].to_numpy().astype(np.float64)
    wanted = max(_FEWEST_BARS, 2 * float(spectrum["values"]) ** 0.5)
    starts = np.arange(0, len(share), max(1, round(len(share) / wanted)))
    share = np.add.reduceat(share, starts)
    left, right = edge[starts], edge[[*starts[1:], len(edge) - 1]]
    filled = np.isfinite(share) & (share > 0) & (left > 0) & (right > left)
    least = float(right[filled].max()) * 10**-_DECADES if filled.any() else 0.0
    shown = filled & (left >= least)
    return SpectralBars(
        left=left[shown],
        right=right[shown],
        share=share[shown],
        density=share[shown] / (right - left)[shown],
        left_out=float(share[filled & ~shown].sum()),
    )


def power_law(spectrum: xr.Dataset) -> Floats:
    """Ends of the fitted power law, scaled to the tail's share of the eigenvalues.

    Parameters
    ----------
    spectrum
        as for ``histogram``.

    Returns
    -------
    shape (2, 2); λ and density at xmin and at the greatest eigenvalue. Without a fit, shape
    (0, 2).
    """
    alpha, xmin, greatest = (float(spectrum[name]) for name in ("alpha", "xmin", "lambda_max"))
    tail, values = float(spectrum["tail"]), float(spectrum["values"])
    if not (np.isfinite([alpha, xmin, greatest, tail]).all() and values and 0 < xmin < greatest):
        return np.empty((0, 2))
    at = np.array([xmin, greatest])
    return np.column_stack([at, tail / values * (alpha - 1) / xmin * (at / xmin) ** -alpha])


def _distribution(spectrum: xr.Dataset, bars: SpectralBars, matrization: str) -> hv.Overlay:
    edges = [f"{side}_{matrization}" for side in ("left", "low", "right", "high")]
    # Bars on a logarithmic axis need a lower end; this one lies below every panel.
    low = np.full(len(bars), float(bars.density.min()) * 1e-6)
    drawn = hv.Rectangles(
        (bars.left, low, bars.right, bars.density, bars.share),
        kdims=edges,
        vdims=["share"],
        group="Bars",
    )
    tooltips = [
        ("λ", f"@{edges[0]}{{0.00e+0}} to @{edges[2]}{{0.00e+0}}"),
        ("share of eigenvalues", "@share{0.00 %}"),
    ]
    parts = [
        drawn.opts(
            color=BAR,
            line_color="white",
            line_width=0.5,
            tools=["hover"],
            hover_tooltips=tooltips,
            xlabel="eigenvalue λ",
            ylabel="density of eigenvalues",
        )
    ]
    fit = power_law(spectrum)
    if len(fit):
        xmin = hv.VLine(float(spectrum["xmin"]), group="Xmin")
        curve = hv.Curve(fit, kdims=["eigenvalue"], vdims=["density"], group="Power law")
        parts.append(xmin.opts(color=XMIN, line_width=1.2, line_dash="dashed"))
        parts.append(curve.opts(color=POWER_LAW, line_width=2))
    return hv.Overlay(parts)


def _fit_in_words(spectrum: xr.Dataset, bars: SpectralBars) -> str:
    lines = [f"{bars.left_out:.1%} of λ lie below the figure"] if bars.left_out else []
    if not np.isfinite(float(spectrum["alpha"])):
        return "\n".join([f"no power law: {spectrum['refusal'].item() or 'not fitted'}", *lines])
    # Two lines, since there is no room for a long tail beside the fit.
    fit = (
        f"α = {float(spectrum['alpha']):.2f} ± {float(spectrum['sigma']):.2f}",
        f"xmin = {float(spectrum['xmin']):.3g}",
        f"D = {float(spectrum['D']):.3f}",
    )
    tail = f"tail {int(spectrum['tail']):,} of {int(spectrum['values']):,}"
    return "\n".join([",  ".join(fit), ",  ".join([tail, *flags(spectrum)]), *lines])
