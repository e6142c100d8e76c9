"""What a Dask worker does for the capacity metric: one layer under every matrization."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import xarray as xr
from distributed import worker_client
from torch import nn

from ddp_tasks import layers as network_layers
from ddp_tasks.capacity import (
    Capacity,
    Matrization,
    Spectrum,
    alpha_hat,
    capacity,
    refused_capacity,
    spectrum,
)
from ddp_tasks.layers import LinearLayer
from ddp_tasks.models import open_model
from schemas.parameters import ModelParameters, RunError

#: Bins of the stored spectral distributions.
BINS = 60

#: Bytes that one block of Toeplitz frequencies may take on a worker.
_BLOCK_MEMORY = 1 << 28


def trace(model: nn.Module, input_size: Sequence[int], name: str) -> tuple[LinearLayer, ...]:
    """The linear layers of a model that takes inputs of a size.

    Parameters
    ----------
    input_size
        (c, m, n) of one input.

    Raises
    ------
    RunError
        If the model does not take such inputs or has no linear layer.
    """
    # Not zeros: some networks take branches by what their input holds.
    generator = torch.Generator().manual_seed(0)
    example = torch.rand(1, *input_size, generator=generator)
    try:
        found = network_layers.trace_layers(model, example).linear
    except (RuntimeError, ValueError, TypeError) as error:
        raise RunError(f"{name!r} does not take inputs of {tuple(input_size)}: {error}") from None
    if not found:
        raise RunError(f"{name!r} has no linear layer to analyse")
    return found


def layer_spectra(
    model: str, input_size: tuple[int, ...], layer: str, matrizations: tuple[Matrization, ...]
) -> xr.Dataset:
    """Power law, norms and spectral distribution of one layer, one row for each matrization.

    Parameters
    ----------
    model
        model parameters as JSON; the model is opened once per worker.
    layer
        name of the layer.

    Returns
    -------
    the variables of the group ``capacity/MODEL`` with dims (matrization,), and ``density``
    (matrization, bin) and ``edge`` (matrization, edge)

    Raises
    ------
    RunError
        If the model cannot be opened.
    """
    network, traced = _opened(model, input_size)
    found = next(one for one in traced if one.name == layer)
    rows, densities, edges = [], [], []
    for matrization in matrizations:
        row, density, edge = _row(network, found, matrization)
        rows.append(row)
        densities.append(density)
        edges.append(edge)
    variables: dict[str, Any] = {
        column.name: ("matrization", np.array([getattr(row, column.name) for row in rows]))
        for column in fields(Capacity)
        if column.name != "refusal"
    }
    variables["refusal"] = ("matrization", np.array([r.refusal for r in rows], dtype=object))
    variables["density"] = (("matrization", "bin"), np.stack(densities))
    variables["edge"] = (("matrization", "edge_index"), np.stack(edges))
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
    found = xr.concat(rows, dim="layer").transpose("matrization", "layer", ...)
    hats = [alpha_hat(_capacities(found.isel(matrization=i))) for i in range(len(matrizations))]
    return found.assign(
        alpha_hat=("matrization", np.array([hat.total for hat in hats])),
        alpha_hat_mean=("matrization", np.array([hat.mean for hat in hats])),
        left_out=("matrization", np.array([hat.left_out for hat in hats])),
        shape=("layer", np.array([" × ".join(map(str, one.shape)) for one in layers], object)),
        kind=("layer", np.array([one.kind for one in layers], dtype=object)),
    ).assign_coords(
        layer=("layer", np.array([one.name for one in layers], dtype=object)),
        matrization=("matrization", np.array([str(m) for m in matrizations], dtype=object)),
    )


def cost(layer: LinearLayer) -> int:
    """About how long a layer's spectra take beside other layers': entries times positions."""
    positions = int(np.prod(layer.input_shape[1:])) if layer.kind.startswith("Conv") else 1
    return int(np.prod(layer.shape)) * positions


def _capacities(layers: xr.Dataset) -> list[Capacity]:
    columns = {column.name: layers[column.name].to_numpy() for column in fields(Capacity)}
    return [
        Capacity(**{name: values[i] for name, values in columns.items()})
        for i in range(layers.sizes["layer"])
    ]


@lru_cache(maxsize=1)
def _opened(model: str, input_size: tuple[int, ...]) -> tuple[nn.Module, tuple[LinearLayer, ...]]:
    parameters = ModelParameters.model_validate_json(model)
    network = open_model(parameters)
    return network, trace(network, input_size, parameters.factory)


def _row(
    network: nn.Module, layer: LinearLayer, matrization: Matrization
) -> tuple[Capacity, Any, Any]:
    """A layer's row and its spectral distribution; a layer that is refused has an empty one."""
    try:
        found = _spectrum(network, layer, matrization)
        row = capacity(found)
    except ValueError as error:
        row, found = refused_capacity(str(error)), None
    squares = np.zeros(0) if found is None else found.S[found.floor < found.S].square().numpy()
    if len(squares) == 0:
        return row, np.full(BINS, np.nan), np.full(BINS + 1, np.nan)
    low, high = squares.min(), squares.max()
    if low == high:
        low, high = low / 2, high * 2
    edge = np.geomspace(low, high, BINS + 1)
    # geomspace rounds its ends; the extreme values belong to the first and last bin.
    edge[0], edge[-1] = low, high
    return row, np.histogram(squares, bins=edge)[0] / len(squares), edge


def _spectrum(network: nn.Module, layer: LinearLayer, matrization: Matrization) -> Spectrum:
    W = network_layers.weight(network, layer)
    if matrization is not Matrization.TOEPLITZ:
        return spectrum(W, matrization, groups=layer.groups)
    if layer.kind == "Linear":
        # A fully connected layer has one position: W̄2 is W̄1.
        return spectrum(W, Matrization.UNFOLDED)
    if layer.kind.startswith("ConvTranspose"):
        raise ValueError("W̄2 of a transposed convolution is not computed")
    module = network.get_submodule(layer.module)
    return spectrum(
        W,
        matrization,
        size=layer.input_shape[1:],
        stride=module.stride,  # type: ignore[arg-type]
        dilation=module.dilation,  # type: ignore[arg-type]
        groups=layer.groups,
        memory=_BLOCK_MEMORY,
        run=_over_workers,
    )


def _over_workers(block_spectrum: Callable[..., Any], blocks: Iterable[Any]) -> Iterable[Any]:
    """Map over blocks of frequencies: on all workers where there are several, else here."""
    listed = list(blocks)
    if len(listed) < 2:
        return map(block_spectrum, listed)
    with worker_client(separate_thread=True) as client:
        found: Iterable[Any] = client.gather(client.map(block_spectrum, listed, pure=False))
    return found
