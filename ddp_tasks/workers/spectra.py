"""What a Dask worker does for the capacity metric: one layer under every matrization.

W̄2 of a large layer comes in blocks of frequencies, each of which any worker may compute.
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

    def content(self) -> str:
        """What the code and the weights behind the model are now."""
        return content_of(ModelParameters.model_validate_json(self.model))

    def opened(self) -> tuple[nn.Module, Layers, Folding]:
        """The model, its layers and the BatchNorms folded into them, once per worker."""
        content = self.content()
        network, layers = _opened(self.model, self.model_digest, self.input_size, content)
        if not self.fold_batch_norm:
            return network, layers, Folding({}, {})
        return network, layers, _folded(self.model, self.model_digest, self.input_size, content)


@dataclass(frozen=True)
class RunAsked:
    """What is asked of every layer of a run's model."""

    stored: StoredRun
    """the run, whose model is opened once per worker."""
    matrizations: tuple[Matrization, ...]
    boundary_side: int = 0
    """as of ``ModelAsked``."""

    @property
    def fold_batch_norm(self) -> bool:
        """Whether the run folds BatchNorms into its layers."""
        return self.stored.parameters.fold_batch_norm

    def content(self) -> str:
        """As of ``ModelAsked``."""
        return content_of_run(self.stored)

    def opened(self) -> tuple[nn.Module, Layers, Folding]:
        """As of ``ModelAsked``."""
        prepared = prepared_once(self.stored)
        return prepared.model, prepared.layers, folding_once(self.stored)


@dataclass(frozen=True, eq=False)
class DecomposedLayer:
    """A layer of a run, as its decomposition left it."""

    name: str
    S: Floats
    """shape (rank,), descending: its singular values."""

    def __str__(self) -> str:
        return self.name


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


def layer_spectra(
    asked: ModelAsked | RunAsked, layer: str | DecomposedLayer, blocks: Sequence[Tensor] = ()
) -> xr.Dataset:
    """Power law, norms and spectral distribution of one layer, and its boundaries.

    Parameters
    ----------
    layer
        its name, or the layer with its singular values.
    blocks
        of its W̄2, as ``toeplitz_block`` gives them; without them they are computed here.

    Returns
    -------
    the variables of the group ``capacity`` or ``capacity/MODEL`` that belong to one layer, without
    its dim. The weight has a BatchNorm folded into it where that is asked for.

    Raises
    ------
    RunError
        If the model cannot be opened, or is another one than the flow opened.
    """
    name = str(layer)
    weight, folding = _weight(asked, name)
    S = None
    if isinstance(layer, DecomposedLayer):
        S = torch.from_numpy(layer.S.astype(np.float64))
    rows = spectra(weight, asked.matrizations, S=S, blocks=blocks)
    if asked.fold_batch_norm:
        rows = rows.assign(folding_columns(folding, name))
    if asked.boundary_side and Matrization.TOEPLITZ in asked.matrizations:
        rows = rows.assign(boundaries(weight, asked.boundary_side))
    return rows


def toeplitz_block(asked: ModelAsked | RunAsked, layer: str, block: Block) -> Tensor:
    """Singular values of W̄2 of one layer in one block of its frequencies.

    Parameters
    ----------
    layer
        name of the layer.

    Returns
    -------
    as ``block_spectrum`` gives them; none of a weight that has no W̄2, of which the layer's row
    says why
    """
    with ONE_AT_A_TIME:
        terms = _symbol(asked, layer, asked.content())
    return torch.zeros(0, dtype=torch.float64) if terms is None else block_spectrum(terms, block)


@lru_cache(maxsize=1)
def _symbol(asked: ModelAsked | RunAsked, layer: str, content: str) -> Symbol | None:
    """Of the layer at work, for all of its blocks that come to this worker."""
    weight, _ = _weight(asked, layer)
    of = weight.layer
    try:
        return symbol(
            weight.held, weight.size, stride=of.stride, dilation=of.dilation, groups=of.groups
        )
    except ValueError:
        return None


def _weight(asked: ModelAsked | RunAsked, layer: str) -> tuple[LayerWeight, Folding]:
    network, layers, folding = asked.opened()
    linear = next(one for one in layers.linear if one.name == layer)
    return LayerWeight.of(network, linear, folding.layers.get(layer)), folding


def _example(input_size: Sequence[int]) -> Tensor:
    # Not zeros: some networks take branches by what their input holds.
    return torch.rand(1, *input_size, generator=torch.Generator().manual_seed(0))


@lru_cache(maxsize=1)
def _opened(
    model: str, digest: str, input_size: tuple[int, ...], content: str
) -> tuple[nn.Module, Layers]:
    """The model for code and weights as they are, refused if the flow opened another."""
    parameters = ModelParameters.model_validate_json(model)
    network = open_model(parameters)
    check_same_model(network, digest)
    return network, _traced(network, input_size, parameters.factory)


@lru_cache(maxsize=1)
def _folded(model: str, digest: str, input_size: tuple[int, ...], content: str) -> Folding:
    network, traced = _opened(model, digest, input_size, content)
    return fold_batch_norms(network, traced.linear, traced.images, traced.convention)
