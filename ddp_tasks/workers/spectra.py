"""What a Dask worker does for the capacity metric: one layer under every matrization."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache, partial
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr
from distributed import get_worker, worker_client
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
from ddp_tasks.capacity.toeplitz import Boundary, image_of_transposed, per_axis
from ddp_tasks.capacity.toeplitz_matrix import boundary_differences, checkable_size
from ddp_tasks.networks.batch_norm_folding import FoldedLayer, Folding, fold_batch_norms
from ddp_tasks.networks.layers import Layers, LinearLayer, without_zeros
from ddp_tasks.networks.models import open_model
from ddp_tasks.networks.tracing import UnsteadyNetworkError, trace_layers
from ddp_tasks.prepared_run import content_of, listed, reason_of
from ddp_tasks.weights.unfolding import transposed_filters
from ddp_tasks.workers.decomposition import folding_once
from ddp_tasks.workers.once import check_same_model, prepared_once
from ddp_tasks.workers.stored_run import StoredRun
from schemas.parameters import ModelParameters, RunError

Floats = npt.NDArray[np.float64]

#: Bins of the stored spectral distributions.
BINS = 60

#: Exact boundaries that the periodic spectrum is held against.
BOUNDARIES: tuple[Boundary, ...] = ("zeros", "valid")

#: Stored variables of α̂, by what they are of ``AlphaHat``: its figures, and what speaks against
#: trusting them, counted over layers.
ALPHA_HAT = {
    "alpha_hat": "total",
    "alpha_hat_error": "error",
    "alpha_hat_mean": "mean",
    "alpha_hat_mean_error": "mean_error",
}
FLAGS = {"few_tails": "few", "unstable_tails": "unstable", "below_one": "below_one"}

#: Bytes that one block of Toeplitz frequencies may take on a worker.
_BLOCK_MEMORY = 1 << 28

#: Blocks of a layer that is begun go before other layers, whose costs are all below this.
_FIRST = 1 << 62


@dataclass(frozen=True)
class ModelAsked:
    """What is asked of every layer of one model; small enough to send with each."""

    model: str
    """model parameters as JSON; the model is opened once per worker."""
    model_digest: str
    """of the weights that the flow opened."""
    input_size: tuple[int, ...]
    """(c, m, n) of one input."""
    matrizations: tuple[Matrization, ...]
    fold_batch_norm: bool = False
    boundary_side: int = 0
    """rows or columns, the lesser, of exact Toeplitz matrices; 0 for none."""
    topic: str = ""
    """of Dask's events that tell how many singular values of which layer are found."""


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
    return _traced(model, input_size, name).linear


def _traced(model: nn.Module, input_size: Sequence[int], name: str) -> Layers:
    try:
        # Only weights are asked for, so it does not matter what images do to each other.
        traced = without_zeros(model, trace_layers(model, _example(input_size), alone=True))
    except UnsteadyNetworkError as error:
        raise RunError(f"{name!r}: {error}") from error
    except Exception as error:  # a network is the person's own code
        raise RunError(
            f"{name!r} does not take inputs of {tuple(input_size)}: {reason_of(error)}"
        ) from error
    if not traced.linear:
        raise RunError(f"{name!r} has no linear layer to analyse{listed(traced.not_analysed)}")
    return traced


def layer_spectra(asked: ModelAsked, layer: str) -> xr.Dataset:
    """Power law, norms and spectral distribution of one layer of a model, and its boundaries.

    Parameters
    ----------
    layer
        name of the layer.

    Returns
    -------
    the variables of the group ``capacity/MODEL`` that belong to one layer, without its dim

    Raises
    ------
    RunError
        If the model cannot be opened.
    """
    network, traced = _opened(asked)
    found = next(one for one in traced.linear if one.name == layer)
    folded = _folded(asked) if asked.fold_batch_norm else Folding({}, {})
    weight = LayerWeight.of(network, found, folded.layers.get(layer))
    rows = spectra(weight, asked.matrizations, topic=asked.topic)
    if asked.fold_batch_norm:
        rows = rows.assign(_folding_told(folded, layer))
    if asked.boundary_side and Matrization.TOEPLITZ in asked.matrizations:
        rows = rows.assign(_boundaries(weight, asked.boundary_side))
    return rows


@dataclass(frozen=True)
class RunAsked:
    """What is asked of every layer of a run's model."""

    stored: StoredRun
    """the run, whose model is opened once per worker."""
    matrizations: tuple[Matrization, ...]
    topic: str
    """as of ``ModelAsked``."""


def run_layer_spectra(asked: RunAsked, layer: str, S: Floats) -> xr.Dataset:
    """Power law, norms and spectral distribution of one layer of a run.

    Parameters
    ----------
    layer
        name of the layer.
    S
        shape (rank,), descending: its singular values, as the run's decomposition found them.

    Returns
    -------
    as of ``spectra``; the weight is the one that the run decomposes, with a BatchNorm folded into
    it where the run asks for that.
    """
    prepared = prepared_once(asked.stored)
    found = next(one for one in prepared.layers.linear if one.name == layer)
    folded = folding_once(asked.stored)
    weight = LayerWeight.of(prepared.model, found, folded.layers.get(layer))
    values = torch.from_numpy(S.astype(np.float64))
    rows = spectra(weight, asked.matrizations, S=values, topic=asked.topic)
    if not asked.stored.parameters.fold_batch_norm:
        return rows
    return rows.assign(_folding_told(folded, layer))


@dataclass(frozen=True)
class LayerWeight:
    """A layer's weight in both forms that matrizations take, with what W̄2 needs of the layer."""

    layer: LinearLayer
    filters: Tensor
    """output channels first, shape ``layer.shape``."""
    held: Tensor
    """of a transposed convolution as torch holds it, (c, d / groups, k, ...); else as above."""
    size: tuple[int, ...]
    """of a convolution's input along each axis, of a transposed one's periodic output."""

    @staticmethod
    def of(network: nn.Module, layer: LinearLayer, folded: FoldedLayer | None) -> LayerWeight:
        """A layer's weight, with the BatchNorm folded into it where one is given."""
        held = layer.weight.of(network) if folded is None else folded.weight
        transposed = layer.kind.startswith("ConvTranspose")
        filters = transposed_filters(held, layer.groups) if transposed else held
        axes = len(layer.shape) - 2
        size = layer.input_shape[len(layer.input_shape) - axes :]
        module = network.get_submodule(layer.module)
        if transposed:
            size = image_of_transposed(size, layer.stride)
        elif axes and getattr(module, "padding_mode", "zeros") != "zeros":
            # Padded before the convolution is called; the pairs of the last axis come first.
            around = [int(n) for n in module._reversed_padding_repeated_twice]  # type: ignore[union-attr]
            pairs = list(zip(around[::2], around[1::2], strict=True))[::-1]
            size = tuple(m - sum(pair) for m, pair in zip(size, pairs, strict=True))
        return LayerWeight(layer, filters, held, size)


def spectra(
    weight: LayerWeight,
    matrizations: Sequence[Matrization],
    *,
    S: Tensor | None = None,
    topic: str = "",
) -> xr.Dataset:
    """Power law, norms and spectral distribution of a layer, one row for each matrization.

    Parameters
    ----------
    S
        singular values of the unfolded weight, where they are known.
    topic
        as of ``ModelAsked``.

    Returns
    -------
    columns of ``Capacity`` with dims (matrization,), and ``density`` (matrization, bin) and
    ``edge`` (matrization, edge_index)
    """
    found = [_row(partial(_spectrum, weight, m, S, topic)) for m in matrizations]
    variables: dict[str, Any] = {
        column.name: ("matrization", np.array([getattr(row, column.name) for row, _, _ in found]))
        for column in fields(Capacity)
        if column.name != "refusal"
    }
    refusals = np.array([row.refusal for row, _, _ in found], dtype=object)
    variables["refusal"] = ("matrization", refusals)
    variables["density"] = (("matrization", "bin"), np.stack([one[1] for one in found]))
    variables["edge"] = (("matrization", "edge_index"), np.stack([one[2] for one in found]))
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
    found = xr.concat(rows, dim="layer").transpose("matrization", ..., "layer", "bin", "edge_index")
    hats = [alpha_hat(_capacities(found.isel(matrization=i))) for i in range(len(matrizations))]
    if "boundary_largest" in found:
        found = found.assign_coords(boundary=("boundary", np.array(BOUNDARIES, dtype=object)))
    of_model: dict[str, Any] = {
        variable: ("matrization", np.array([getattr(hat, name) for hat in hats]))
        for variable, name in {**ALPHA_HAT, **FLAGS, "left_out": "left_out"}.items()
    }
    return found.assign(
        **of_model,
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


def toeplitz_values(layer: LinearLayer) -> int:
    """About how many singular values W̄2 of a layer has: the measure of progress."""
    axes = len(layer.shape) - 2
    positions = prod(layer.input_shape[len(layer.input_shape) - axes :])
    phases = prod(per_axis(layer.stride, axes))
    d, c = layer.shape[0] // layer.groups, layer.shape[1]
    if layer.kind.startswith("ConvTranspose"):
        return positions * layer.groups * min(c, d * phases)
    return positions // phases * layer.groups * min(d, c * phases)


def _example(input_size: Sequence[int]) -> Tensor:
    # Not zeros: some networks take branches by what their input holds.
    return torch.rand(1, *input_size, generator=torch.Generator().manual_seed(0))


def _capacities(layers: xr.Dataset) -> list[Capacity]:
    columns = {column.name: layers[column.name].to_numpy() for column in fields(Capacity)}
    return [
        Capacity(**{name: values[i] for name, values in columns.items()})
        for i in range(layers.sizes["layer"])
    ]


def _opened(asked: ModelAsked) -> tuple[nn.Module, Layers]:
    """The model, opened once per worker for code and weights as they are.

    Raises
    ------
    RunError
        If this worker opens another model than the flow did.
    """
    content = content_of(ModelParameters.model_validate_json(asked.model))
    return _opened_once(asked.model, asked.model_digest, asked.input_size, content)


@lru_cache(maxsize=1)
def _opened_once(
    model: str, digest: str, input_size: tuple[int, ...], content: str
) -> tuple[nn.Module, Layers]:
    parameters = ModelParameters.model_validate_json(model)
    network = open_model(parameters)
    check_same_model(network, digest)
    return network, _traced(network, input_size, parameters.factory)


def _folded(asked: ModelAsked) -> Folding:
    content = content_of(ModelParameters.model_validate_json(asked.model))
    return _folded_once(asked.model, asked.model_digest, asked.input_size, content)


@lru_cache(maxsize=1)
def _folded_once(model: str, digest: str, input_size: tuple[int, ...], content: str) -> Folding:
    network, traced = _opened_once(model, digest, input_size, content)
    return fold_batch_norms(network, traced.linear, traced.images, traced.convention)


def _folding_told(found: Folding, layer: str) -> dict[str, str]:
    batch_norm = found.layers[layer].batch_norm if layer in found.layers else ""
    return {"batch_norm": batch_norm, "not_folded": found.refused.get(layer, "")}


def _row(computed: Callable[[], Spectrum]) -> tuple[Capacity, Any, Any]:
    """A layer's row and its spectral distribution; a layer that is refused has an empty one."""
    try:
        found = computed()
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


def _spectrum(
    weight: LayerWeight, matrization: Matrization, S: Tensor | None, topic: str
) -> Spectrum:
    layer = weight.layer
    # A fully connected layer has one position and no kernel: its matrix is its weight, always.
    if layer.kind == "Linear" or matrization is Matrization.UNFOLDED:
        return unfolded_spectrum(weight.filters, layer.groups, S)
    if matrization is not Matrization.TOEPLITZ:
        return spectrum(weight.filters, matrization, groups=layer.groups)
    return spectrum(
        weight.held,
        matrization,
        size=weight.size,
        stride=layer.stride,
        dilation=layer.dilation,
        groups=layer.groups,
        memory=_BLOCK_MEMORY,
        run=partial(_over_workers, topic, layer.name),
    )


def _over_workers(
    topic: str, layer: str, work: Callable[..., Tensor], blocks: Iterable[Any]
) -> Iterable[Tensor]:
    """Map over blocks of frequencies: on all workers where there are several, else here."""
    listed = list(blocks)
    if len(listed) < 2:
        return map(work, listed)
    with worker_client(separate_thread=True) as client:
        # What all blocks share travels once to each worker, not with every block.
        sent = client.scatter(work, hash=False)
        tell = partial(_told, topic=topic, layer=layer)
        futures = client.map(tell, listed, work=sent, pure=False, priority=_FIRST)
        found: Iterable[Tensor] = client.gather(futures)
    return found


def _told(block: Any, work: Callable[..., Tensor], topic: str, layer: str) -> Tensor:
    """The values of one block, told under the topic so that progress is seen within a layer."""
    S = work(block)
    if topic:
        get_worker().log_event(topic, {"layer": layer, "values": len(S)})
    return S


def _boundaries(weight: LayerWeight, side: int) -> dict[str, Any]:
    """How far the periodic spectrum lies from exact ones, at an input that allows them."""
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
    found = {} if size is None else boundary_differences(weight.held, size, **steps)
    variables: dict[str, Any] = {
        f"boundary_{name}": ("boundary", [getattr(found[b], name) for b in BOUNDARIES])
        if found
        else ("boundary", [np.nan] * len(BOUNDARIES))
        for name in ("largest", "frobenius", "spectrum")
    }
    variables["boundary_input"] = " × ".join(map(str, size)) if found and size else ""
    variables["boundary_whole"] = bool(found) and size == weight.size
    variables["boundary_refusal"] = reason
    return variables
