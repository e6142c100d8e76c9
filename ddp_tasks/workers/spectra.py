"""Spectra of one layer under every matrization, computed in a Dask worker.

W̄2 of a large layer is cut into blocks of frequencies, which any worker may compute.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr
from torch import Tensor, nn

from ddp_tasks.capacity.layer_spectra import LayerWeight, boundaries, folding_columns, spectra
from ddp_tasks.capacity.metric import Matrization
from ddp_tasks.capacity.toeplitz import Block, Symbol, block_spectrum, symbol
from ddp_tasks.networks.batch_norm_folding import Folding, fold_batch_norms
from ddp_tasks.networks.layers import Layers, LinearLayer, without_zeros
from ddp_tasks.networks.models import open_model
from ddp_tasks.networks.tracing import UnsteadyNetworkError, trace_layers
from ddp_tasks.prepared_run import content_of, listed, reason_of
from ddp_tasks.workers.decomposition import folding_once
from ddp_tasks.workers.once import (
    ONE_AT_A_TIME,
    check_same_model,
    content_of_run,
    prepared_once,
)
from ddp_tasks.workers.stored_run import StoredRun
from schemas.parameters import ModelParameters, RunError

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ModelSpectra:
    """A model of a list and the spectra wanted of it; small enough to send with each layer."""

    model: str
    """model parameters as JSON; the model is opened once per worker."""
    model_digest: str
    """digest of the weights that the flow opened."""
    input_size: tuple[int, ...]
    """(c, m, n) of one input."""
    matrizations: tuple[Matrization, ...]
    fold_batch_norm: bool = False
    boundary_side: int = 0
    """rows or columns, the lesser, of exact Toeplitz matrices; 0 for none."""

    def content(self) -> str:
        """A digest of the model's code and weights as they are now."""
        return content_of(ModelParameters.model_validate_json(self.model))

    def opened(self) -> tuple[nn.Module, Layers, Folding]:
        """The model, its layers and the BatchNorms folded into them, once per worker."""
        content = self.content()
        network, layers = _opened(self.model, self.model_digest, self.input_size, content)
        if not self.fold_batch_norm:
            return network, layers, Folding({}, {})
        return network, layers, _folded(self.model, self.model_digest, self.input_size, content)


@dataclass(frozen=True)
class RunSpectra:
    """A run and the spectra wanted of its model."""

    stored: StoredRun
    """the run, whose model is opened once per worker."""
    matrizations: tuple[Matrization, ...]
    boundary_side: int = 0
    """as in ``ModelSpectra``."""

    @property
    def fold_batch_norm(self) -> bool:
        """Whether the run folds BatchNorms into its layers."""
        return self.stored.parameters.fold_batch_norm

    def content(self) -> str:
        """As in ``ModelSpectra``."""
        return content_of_run(self.stored)

    def opened(self) -> tuple[nn.Module, Layers, Folding]:
        """As in ``ModelSpectra``."""
        prepared = prepared_once(self.stored)
        return prepared.model, prepared.layers, folding_once(self.stored)


@dataclass(frozen=True, eq=False)
class DecomposedLayer:
    """A layer of a run, with the singular values of its decomposition."""

    name: str
    S: Floats
    """shape (rank,); singular values, descending."""

    def __str__(self) -> str:
        return self.name


def trace(model: nn.Module, input_size: Sequence[int], name: str) -> tuple[LinearLayer, ...]:
    """The linear layers of a model.

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
        # Only weights are needed, so it does not matter how the images of a batch interact.
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


def layer_spectra(
    request: ModelSpectra | RunSpectra, layer: str | DecomposedLayer, blocks: Sequence[Tensor] = ()
) -> xr.Dataset:
    """Power law, norms and spectral distribution of one layer, and its boundaries.

    Parameters
    ----------
    layer
        name of the layer, or the layer with its singular values.
    blocks
        singular values of its W̄2 from ``toeplitz_block``; without them, computed here.

    Returns
    -------
    the variables of the group ``capacity`` or ``capacity/MODEL`` that belong to one layer, without
    its dim. A BatchNorm is folded into the weight if that is asked for.

    Raises
    ------
    RunError
        If the model cannot be opened, or differs from the one that the flow opened.
    """
    name = str(layer)
    weight, folding = _weight(request, name)
    S = None
    if isinstance(layer, DecomposedLayer):
        S = torch.from_numpy(layer.S.astype(np.float64))
    rows = spectra(weight, request.matrizations, S=S, blocks=blocks)
    if request.fold_batch_norm:
        rows = rows.assign(folding_columns(folding, name))
    if request.boundary_side and Matrization.TOEPLITZ in request.matrizations:
        rows = rows.assign(boundaries(weight, request.boundary_side))
    return rows


def toeplitz_block(request: ModelSpectra | RunSpectra, layer: str, block: Block) -> Tensor:
    """Singular values of W̄2 of one layer in one block of its frequencies.

    Parameters
    ----------
    layer
        name of the layer.

    Returns
    -------
    as ``block_spectrum`` returns them; empty for a weight without W̄2: the layer's row says why
    """
    with ONE_AT_A_TIME:
        terms = _symbol(request, layer, request.content())
    return torch.zeros(0, dtype=torch.float64) if terms is None else block_spectrum(terms, block)


@lru_cache(maxsize=1)
def _symbol(request: ModelSpectra | RunSpectra, layer: str, content: str) -> Symbol | None:
    """The symbol of a layer, kept for all of its blocks that this worker computes."""
    weight, _ = _weight(request, layer)
    of = weight.layer
    try:
        return symbol(
            weight.held, weight.size, stride=of.stride, dilation=of.dilation, groups=of.groups
        )
    except ValueError:
        return None


def _weight(request: ModelSpectra | RunSpectra, layer: str) -> tuple[LayerWeight, Folding]:
    network, layers, folding = request.opened()
    linear = next(linear for linear in layers.linear if linear.name == layer)
    return LayerWeight.of(network, linear, folding.layers.get(layer)), folding


def _example(input_size: Sequence[int]) -> Tensor:
    # Not zeros: the branches that some networks take depend on their input.
    return torch.rand(1, *input_size, generator=torch.Generator().manual_seed(0))


@lru_cache(maxsize=1)
def _opened(
    model: str, digest: str, input_size: tuple[int, ...], content: str
) -> tuple[nn.Module, Layers]:
    """The model and its layers, for code and weights as they are now; refused if they differ."""
    parameters = ModelParameters.model_validate_json(model)
    network = open_model(parameters)
    check_same_model(network, digest)
    return network, _traced(network, input_size, parameters.factory)


@lru_cache(maxsize=1)
def _folded(model: str, digest: str, input_size: tuple[int, ...], content: str) -> Folding:
    network, traced = _opened(model, digest, input_size, content)
    return fold_batch_norms(network, traced.linear, traced.images, traced.convention)
