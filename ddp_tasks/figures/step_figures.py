"""Figures 5 and 8: the steps of one layer's computation, and a circle that its weight stretches.

Each array is a grid of small heat maps. Every array has one colour scale of its own, symmetric
about zero, which is white.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import holoviews as hv
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ddp_tasks.figures.map_grids import MapGrid, averaged_down, is_strip
from ddp_tasks.figures.style import PLAIN_AXES, canvas, plain
from ddp_tasks.signals.layer_steps import ProjectedCircle, Steps
from ddp_tasks.weights.layer_vectors import GAP_TOLERANCE
from ddp_tasks.weights.tensor_svd import TensorSVD, relative_gaps

#: Greatest number of maps, strips and cells shown of an array.
MAPS_SHOWN = 36
STRIPS_SHOWN = 16
#: Maps of a fully connected layer are single cells; without numbers above, more fit.
CELLS_SHOWN = 1024
NUMBERED_CELLS_SHOWN = 64


@dataclass(frozen=True)
class ArrayFigure:
    """One array of figure 5 with its captions."""

    key: str
    formula: str
    matrix: str
    """the sizes of the array and of the maps that its rows become."""
    shown: str
    """what is left out; empty where nothing is."""
    limit: float
    """the greatest magnitude shown, where the colours end."""
    element: hv.Overlay


@dataclass(frozen=True)
class _Array:
    """An array about to be drawn."""

    key: str
    formula: str
    maps: Tensor
    rows: npt.NDArray[np.int64]
    """rows shown."""
    which: str
    """how they were chosen."""
    names: list[str]
    """names of all rows."""
    what: str
    """what a row stands for."""
    numbers: list[str] | None = None
    """printed above the maps, for all rows."""


def step_figures(steps: Steps, svd: TensorSVD) -> list[ArrayFigure]:
    """The arrays of figure 5, in the order of the computation.

    At most 36 maps of each array are shown (for a fully connected layer 1,024 cells, or 64 with
    numbers above them). Arrays over singular vectors show those of the greatest singular values,
    the same in all three. Arrays over channels show those of the greatest energy (sum of squares)
    in Ȳ, the same in all three. The input and the receptive fields show the maps of the greatest
    energy, each array its own. All are in the order of their index.

    Parameters
    ----------
    svd
        of the layer; its singular values are printed above the maps of SVᵀΨ(X).

    References
    ----------
    Praggastis et al. 2022, figure 5.
    """
    inputs = [f"input channel {c}" for c in range(len(steps.X))]
    high, wide = steps.kernel
    fields = [
        f"channel {c}, row {y}, column {x}" if high * wide > 1 else f"input {c}"
        for c in range(len(steps.Psi) // (high * wide))
        for y in range(high)
        for x in range(wide)
    ]
    channels = [f"channel {c}" for c in range(len(steps.Y))]
    mark = ["*" if gap < GAP_TOLERANCE else "" for gap in relative_gaps(svd.S).tolist()]
    vectors = [f"v{i}{m}" for i, m in enumerate(mark)]
    lefts = [f"u{i}{m}" for i, m in enumerate(mark)]
    values = [f"{s:.3g}{m}" for s, m in zip(svd.S.tolist(), mark, strict=True)]

    many = _most(steps.signal, numbered=True)
    first = np.arange(min(many, svd.rank))
    loud = _loudest(steps.Y, _most(steps.Y))
    greatest, energy = "those of the greatest singular values", "those of the greatest energy"
    in_y = "those of the greatest energy in Ȳ"

    def of_own_energy(key: str, formula: str, maps: Tensor, names: list[str], what: str) -> _Array:
        return _Array(key, formula, maps, _loudest(maps, _most(maps)), energy, names, what)

    arrays = [
        of_own_energy("X", "X", steps.X, inputs, "input channels"),
        of_own_energy("Psi", "Ψ(X)", steps.Psi, fields, "rows"),
        _Array("projection", "VᵀΨ(X)", steps.projection, first, greatest, vectors, "rows"),
        _Array("signal", "SVᵀΨ(X)", steps.signal, first, greatest, vectors, "rows", values),
        _Array("Y", "Ȳ = USVᵀΨ(X)", steps.Y, loud, in_y, channels, "channels"),
        _Array("activation", "ReLU(Ȳ + B)", steps.activation, loud, in_y, channels, "channels"),
        _Array(
            "activation_projection",
            "UᵀReLU(Ȳ + B)",
            steps.activation_projection,
            first,
            greatest,
            lefts,
            "rows",
        ),
    ]
    if steps.B is None:
        arrays[5] = replace(arrays[5], formula="ReLU(Ȳ)")
        arrays[6] = replace(arrays[6], formula="UᵀReLU(Ȳ)")
    else:
        arrays.insert(5, _Array("B", "B", steps.B, loud, in_y, channels, "channels"))
    return [_drawn(array, values) for array in arrays]


def _most(maps: Tensor, numbered: bool = False) -> int:
    high, wide = maps.shape[1:]
    if high == wide == 1:
        return NUMBERED_CELLS_SHOWN if numbered else CELLS_SHOWN
    return STRIPS_SHOWN if is_strip(high, wide) else MAPS_SHOWN


def _loudest(maps: Tensor, most: int) -> npt.NDArray[np.int64]:
    """Rows of the greatest energy, in the order of their index."""
    energy = maps.flatten(1).square().sum(dim=1)
    order = torch.argsort(energy, descending=True, stable=True)[:most]
    return np.sort(order.numpy())


def _drawn(array: _Array, singular_values: list[str]) -> ArrayFigure:
    chosen = array.maps[torch.from_numpy(array.rows)]
    small = averaged_down(chosen)
    limit = float(small.abs().max()) or 1.0
    grid = MapGrid.of(*small.shape, numbered=array.numbers is not None)
    tooltips = {
        "name": [array.names[row] for row in array.rows],
        "mean": _written(chosen.mean(dim=(1, 2))),
        "least": _written(chosen.amin(dim=(1, 2))),
        "greatest": _written(chosen.amax(dim=(1, 2))),
    }
    if array.what == "rows" and array.key != "Psi":
        tooltips["singular value"] = [singular_values[row] for row in array.rows]
    element = grid.image(small.numpy(), limit) * grid.frames(tooltips)
    if array.numbers is not None:
        element = element * grid.labels([array.numbers[row] for row in array.rows])
    rows, (high, wide) = len(array.maps), array.maps.shape[1:]
    maps = f"each row a map of {high} × {wide}" if high * wide > 1 else "one number a row"
    shown = ""
    if len(array.rows) < rows:
        shown = f"Shown: {len(array.rows):,} of {rows:,} {array.what}, {array.which}."
    if small.shape != chosen.shape:
        shown += f" Averaged down to {small.shape[1]} × {small.shape[2]}."
    return ArrayFigure(
        key=array.key,
        formula=array.formula,
        matrix=f"{rows:,} × {high * wide:,}, {maps}" if array.key != "X" else _sizes(array.maps),
        shown=shown.strip(),
        limit=limit,
        element=element.relabel(label=array.formula).opts(**_framed(grid)),
    )


def _framed(grid: MapGrid) -> dict[str, Any]:
    """Options of a figure with room for the outlines of the outermost maps."""
    size = canvas(grid.width + 2, grid.height + 2)
    return size | {"xlim": (-1, grid.width + 1), "ylim": (-1, grid.height + 1)}


def _sizes(maps: Tensor) -> str:
    channels, high, wide = maps.shape
    if high * wide == 1:
        return f"{channels:,} numbers"
    return f"{channels:,} channel{'' if channels == 1 else 's'} of {high} × {wide}"


def _written(values: Tensor) -> list[str]:
    return [f"{value:.3g}" for value in values.tolist()]


def circle_figure(projected: ProjectedCircle) -> hv.Overlay:
    """The unit circle, and its image projected on singular vectors and on channels; equal axes.

    Dots mark where vᵢ goes, squares where vⱼ goes; lines are the stretches sᵢ and sⱼ.

    References
    ----------
    Praggastis et al. 2022, figure 8.
    """
    (i, j), (a, b) = projected.vectors, projected.channels
    kdims = [hv.Dimension("circle_x", label=f"along v{i}, u{i} or channel {a}")]
    vdims = [hv.Dimension("circle_y", label=f"along v{j}, u{j} or channel {b}")]
    parts: list[Any] = []
    for points, label, colour in (
        (projected.circle, "unit circle", "#8b96a1"),
        (projected.on_channels, f"its image on channels {a}, {b}", "#e8710a"),
        (projected.on_singular_vectors, f"its image on u{i}, u{j}", "#2171b5"),
    ):
        x, y = points.numpy()
        quarter = (len(x) - 1) // 4
        parts.append(
            hv.Curve((x, y), kdims=kdims, vdims=vdims, label=label).opts(
                color=colour, line_width=2.5
            )
        )
        for place, marker in ((0, "circle"), (quarter, "square")):
            rays = hv.Curve(([0, x[place]], [0, y[place]]), kdims=kdims, vdims=vdims)
            dot = hv.Scatter(([x[place]], [y[place]]), kdims=kdims, vdims=vdims)
            parts.append(rays.opts(color=colour, line_width=1, line_dash="dotted"))
            parts.append(dot.opts(color=colour, marker=marker, size=8))
    extent = 1.12 * max(
        float(p.abs().max()) for p in (projected.circle, projected.on_singular_vectors)
    )
    return hv.Overlay(parts).opts(
        **plain(
            440,
            440,
            xlim=(-extent, extent),
            ylim=(-extent, extent),
            show_grid=True,
            legend_position="top",
        )
        | {"backend_opts": PLAIN_AXES}
    )
