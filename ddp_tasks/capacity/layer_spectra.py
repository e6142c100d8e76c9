"""One layer of a network under every matrization, and all layers of a network together.

These are the rows of the groups ``capacity`` and ``capacity/MODEL``, from weights alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr
from torch import Tensor, nn

from ddp_tasks.capacity.metric import (
    Capacity,
    Matrization,
    Spectrum,
    alpha_hat,
    capacity,
    refused_capacity,
    spectrum,
    unfolded_spectrum,
)
from ddp_tasks.capacity.toeplitz import Boundary, SpectrumSize, image_of_transposed
from ddp_tasks.capacity.toeplitz_matrix import boundary_differences, checkable_size
from ddp_tasks.networks.batch_norm_folding import FoldedLayer, Folding
from ddp_tasks.networks.layers import LinearLayer
from ddp_tasks.weights.unfolding import transposed_filters

Floats = npt.NDArray[np.float64]

#: Bins of the stored spectral distributions.
BINS = 60

#: Exact boundaries that the periodic spectrum is compared with.
BOUNDARIES: tuple[Boundary, ...] = ("zeros", "valid")

#: Attributes of ``AlphaHat`` by stored variable: its values, and numbers of layers that make them
#: hard to trust.
ALPHA_HAT = {
    "alpha_hat": "total",
    "alpha_hat_error": "error",
    "alpha_hat_mean": "mean",
    "alpha_hat_mean_error": "mean_error",
}
FLAGS = {"few_tails": "few", "unstable_tails": "unstable", "below_one": "below_one"}


@dataclass(frozen=True)
class LayerWeight:
    """A layer's weight in both forms that matrizations take, with what W̄2 needs of the layer."""

    layer: LinearLayer
    filters: Tensor
    """output channels first, shape ``layer.shape``."""
    held: Tensor
    """of a transposed convolution as torch holds it, (c, d / groups, k, ...); else as above."""
    size: tuple[int, ...]
    """as ``periodic_size`` returns it."""

    @staticmethod
    def of(network: nn.Module, layer: LinearLayer, folded: FoldedLayer | None) -> LayerWeight:
        """A layer's weight, with a BatchNorm folded into it if one is given."""
        held = layer.weight.of(network) if folded is None else folded.weight
        filters = transposed_filters(held, layer.groups) if _transposed(layer) else held
        return LayerWeight(layer, filters, held, periodic_size(network, layer))


def periodic_size(network: nn.Module, layer: LinearLayer) -> tuple[int, ...]:
    """Size of the periodic image: of a convolution's input, of a transposed one's output.

    Returns
    -------
    one entry for each axis of the kernel; a fully connected layer has none
    """
    axes = len(layer.shape) - 2
    size = layer.input_shape[len(layer.input_shape) - axes :]
    module = network.get_submodule(layer.module)
    if _transposed(layer):
        return image_of_transposed(size, layer.stride)
    if axes and getattr(module, "padding_mode", "zeros") != "zeros":
        # Padded before the convolution is called; the pairs of the last axis come first.
        around = [int(n) for n in module._reversed_padding_repeated_twice]  # type: ignore[union-attr]
        pairs = list(zip(around[::2], around[1::2], strict=True))[::-1]
        return tuple(m - sum(pair) for m, pair in zip(size, pairs, strict=True))
    return size


def toeplitz_size(network: nn.Module, layer: LinearLayer) -> SpectrumSize:
    """How many singular values W̄2 of a layer has, and the blocks that they are computed in."""
    rows, columns = layer.shape[0] // layer.groups, layer.shape[1]
    if _transposed(layer):  # its weight is that of a convolution the other way round
        rows, columns = columns, rows
    shape = (rows * layer.groups, columns)
    return SpectrumSize.of(shape, periodic_size(network, layer), layer.stride, layer.groups)


def spectra(
    weight: LayerWeight,
    matrizations: Sequence[Matrization],
    *,
    S: Tensor | None = None,
    blocks: Sequence[Tensor] = (),
) -> xr.Dataset:
    """Power law, norms and spectral distribution of a layer, one row for each matrization.

    Parameters
    ----------
    S
        singular values of the unfolded weight, if they are known.
    blocks
        singular values of W̄2 in all blocks of frequencies, if they are known.

    Returns
    -------
    columns of ``Capacity`` with dims (matrization,), and ``density`` (matrization, bin) and
    ``edge`` (matrization, edge_index)
    """
    rows = [_row(partial(_spectrum, weight, m, S, blocks)) for m in matrizations]
    variables: dict[str, Any] = {
        column.name: ("matrization", np.array([getattr(row.capacity, column.name) for row in rows]))
        for column in fields(Capacity)
        if column.name != "refusal"
    }
    refusals = np.array([row.capacity.refusal for row in rows], dtype=object)
    variables["refusal"] = ("matrization", refusals)
    variables["density"] = (("matrization", "bin"), np.stack([row.density for row in rows]))
    variables["edge"] = (("matrization", "edge_index"), np.stack([row.edge for row in rows]))
    return xr.Dataset(variables)


def model_dataset(
    rows: Sequence[xr.Dataset],
    layers: Sequence[LinearLayer],
    matrizations: Sequence[Matrization],
) -> xr.Dataset:
    """The group ``capacity/MODEL``: all layers of a model, and its α̂ (Eq. 12).

    Parameters
    ----------
    rows
        of ``layer_spectra``, in the order of ``layers``.
    """
    order = ("matrization", ..., "layer", "bin", "edge_index")
    joined = xr.concat(rows, dim="layer").transpose(*order)
    hats = [alpha_hat(_capacities(joined.isel(matrization=i))) for i in range(len(matrizations))]
    if "boundary_largest" in joined:
        joined = joined.assign_coords(boundary=("boundary", np.array(BOUNDARIES, dtype=object)))
    alpha_hats: dict[str, Any] = {
        variable: ("matrization", np.array([getattr(hat, name) for hat in hats]))
        for variable, name in {**ALPHA_HAT, **FLAGS, "left_out": "left_out"}.items()
    }
    return joined.assign(
        **alpha_hats,
        shape=("layer", np.array([" × ".join(map(str, layer.shape)) for layer in layers], object)),
        kind=("layer", np.array([layer.kind for layer in layers], dtype=object)),
    ).assign_coords(
        layer=("layer", np.array([layer.name for layer in layers], dtype=object)),
        matrization=("matrization", np.array([str(m) for m in matrizations], dtype=object)),
    )


def cost(layer: LinearLayer) -> int:
    """Estimated cost of a layer's spectra, to compare layers: entries times positions."""
    positions = int(np.prod(layer.input_shape[1:])) if layer.kind.startswith("Conv") else 1
    return int(np.prod(layer.shape)) * positions


def folding_columns(folding: Folding, layer: str) -> dict[str, str]:
    """The BatchNorm folded into a layer, or the reason why none is; empty if there is neither."""
    batch_norm = folding.layers[layer].batch_norm if layer in folding.layers else ""
    return {"batch_norm": batch_norm, "not_folded": folding.refused.get(layer, "")}


def boundaries(weight: LayerWeight, side: int) -> dict[str, Any]:
    """How far the periodic spectrum lies from exact ones, at an input that allows them.

    Parameters
    ----------
    side
        rows or columns, the lesser, of exact Toeplitz matrices.

    Returns
    -------
    the variables of the group ``capacity/MODEL`` that begin with ``boundary``, of one layer
    """
    layer = weight.layer
    size, reason = None, ""
    steps: dict[str, Any] = {
        "stride": layer.stride,
        "dilation": layer.dilation,
        "groups": layer.groups,
        "padding": {"same": None, "valid": 0}.get(layer.padding, 0)
        if isinstance(layer.padding, str)
        else layer.padding,
    }
    if prod(layer.shape[2:]) == 1:
        reason = "one place of the image at a time: there is no boundary"
    elif not bool(torch.isfinite(weight.held).all()) or not bool(weight.held.any()):
        reason = "no spectrum"
    elif (size := checkable_size(weight.held.shape, weight.size, side, **steps)) is None:
        reason = f"more than {side} rows and columns at any input that holds the filter"
    differences = {} if size is None else boundary_differences(weight.held, size, **steps)
    variables: dict[str, Any] = {
        f"boundary_{name}": ("boundary", [getattr(differences[b], name) for b in BOUNDARIES])
        if differences
        else ("boundary", [np.nan] * len(BOUNDARIES))
        for name in ("largest", "frobenius", "spectrum")
    }
    variables["boundary_input"] = " × ".join(map(str, size)) if differences and size else ""
    variables["boundary_whole"] = bool(differences) and size == weight.size
    variables["boundary_refusal"] = reason
    return variables


def _capacities(layers: xr.Dataset) -> list[Capacity]:
    columns = {column.name: layers[column.name].to_numpy() for column in fields(Capacity)}
    return [
        Capacity(**{name: values[i] for name, values in columns.items()})
        for i in range(layers.sizes["layer"])
    ]


@dataclass(frozen=True, slots=True)
class _Row:
    """A layer under one matrization."""

    capacity: Capacity
    density: Floats
    """shape (bin,); share of the eigenvalues in each bin, NaN for a layer that is refused."""
    edge: Floats
    """shape (bin + 1,); edges of the bins, NaN for a layer that is refused."""


def _row(computed: Callable[[], Spectrum]) -> _Row:
    """A layer's capacity metric and its spectral distribution."""
    try:
        values = computed()
        metric = capacity(values)
    except ValueError as error:
        metric, values = refused_capacity(str(error)), None
    squares = np.zeros(0) if values is None else values.S[values.floor < values.S].square().numpy()
    if len(squares) == 0:
        return _Row(metric, np.full(BINS, np.nan), np.full(BINS + 1, np.nan))
    low, high = squares.min(), squares.max()
    if low == high:
        low, high = low / 2, high * 2
    edge = np.geomspace(low, high, BINS + 1)
    # geomspace rounds its ends; the extreme values belong to the first and last bin.
    edge[0], edge[-1] = low, high
    return _Row(metric, np.histogram(squares, bins=edge)[0] / len(squares), edge)


def _spectrum(
    weight: LayerWeight, matrization: Matrization, S: Tensor | None, blocks: Sequence[Tensor]
) -> Spectrum:
    layer = weight.layer
    # A fully connected layer has one position and no kernel: its matrix is its weight, always.
    if layer.kind == "Linear" or matrization is Matrization.UNFOLDED:
        return unfolded_spectrum(weight.filters, layer.groups, S)
    if matrization is not Matrization.TOEPLITZ:
        return spectrum(weight.filters, matrization, groups=layer.groups)
    known = spectrum(
        weight.held,
        matrization,
        size=weight.size,
        stride=layer.stride,
        dilation=layer.dilation,
        groups=layer.groups,
        run=(lambda *_: blocks) if blocks else map,
    )
    size = SpectrumSize.of(weight.held.shape, weight.size, layer.stride, layer.groups)
    if len(known.S) != size.values:
        raise RuntimeError(
            f"W̄2 of {layer.name} has {size.values} singular values; its blocks have {len(known.S)}"
        )
    return known


def _transposed(layer: LinearLayer) -> bool:
    return layer.kind.startswith("ConvTranspose")
