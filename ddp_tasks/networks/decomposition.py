"""The stored form of a network's decomposition: one dataset over layers, and one for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from torch import nn

from ddp_tasks.networks.layers import LinearLayer, unfolded_weight
from ddp_tasks.weights.tensor_svd import Spectrum, TensorSVD, decompose, relative_gaps

#: Most entries of a V that is stored under ``auto`` (128 MiB).
_LARGE = 2**24


def layers_dataset(
    layers: tuple[LinearLayer, ...], spectra: Mapping[str, Spectrum | TensorSVD]
) -> xr.Dataset:
    """The group ``layers``: ranks and singular values, padded past each layer's rank."""
    ranks = [spectra[layer.name].rank for layer in layers]
    shape = (len(layers), max(ranks))
    singular_value, gap = np.full(shape, np.nan), np.full(shape, np.nan)
    block = np.full(shape, -1, dtype=np.int64)
    for i, layer in enumerate(layers):
        spectrum = spectra[layer.name]
        singular_value[i, : spectrum.rank] = spectrum.S
        gap[i, : spectrum.rank] = relative_gaps(spectrum.S)
        block[i, : spectrum.rank] = spectrum.block
    dims = ("layer", "singular_vector")
    return xr.Dataset(
        {
            "kind": ("layer", np.array([layer.kind for layer in layers], dtype=object)),
            "shape": ("layer", np.array([_times(layer.shape) for layer in layers], dtype=object)),
            "rank": ("layer", np.array(ranks)),
            "singular_value": (dims, singular_value),
            "relative_gap": (dims, gap),
            "block": (dims, block),
        },
        coords=layer_coordinates(layers, shape[1]),
    )


def layer_ranks(
    model: nn.Module, layers: Sequence[LinearLayer]
) -> tuple[dict[str, int], dict[str, str]]:
    """The rank of every linear layer's unfolded weight, without its singular vectors.

    Returns
    -------
    the ranks, and why other layers cannot be decomposed; both by name
    """
    ranks, refused = dict[str, int](), dict[str, str]()
    for layer in layers:
        W = unfolded_weight(model, layer)
        try:
            ranks[layer.name] = decompose(W, layer.groups, right_singular_vectors=False).rank
        except ValueError as error:
            refused[layer.name] = str(error)
    return ranks, refused


def layer_coordinates(layers: tuple[LinearLayer, ...], vectors: int) -> dict[str, object]:
    """Coordinates of every dataset with the axes layer and singular vector."""
    return {
        "layer": ("layer", np.array([layer.name for layer in layers], dtype=object)),
        "singular_vector": ("singular_vector", np.arange(vectors)),
    }


def stores_right_singular_vectors(
    unfolded: tuple[int, int], groups: int, right_singular_vectors: str
) -> bool:
    """Whether a layer's V is to be computed and stored; decided before the rank is known.

    Parameters
    ----------
    unfolded
        shape of the layer's unfolded weight, (d, c*k*k / groups).
    right_singular_vectors
        auto (if V would have at most 2**24 entries at full rank), always or never.
    """
    d, columns = unfolded
    full_rank = groups * min(d // groups, columns)
    small = groups * columns * full_rank <= _LARGE
    return right_singular_vectors == "always" or (right_singular_vectors == "auto" and small)


def decomposition_dataset(svd: TensorSVD, right_singular_vectors: str) -> xr.Dataset:
    """The group ``decomposition/LAYER``.

    Parameters
    ----------
    right_singular_vectors
        auto (if V has at most 2**24 entries), always or never.

    Raises
    ------
    ValueError
        If V is always to be stored but was not computed.
    """
    variables = {
        "U": (("channel", "singular_vector"), svd.U.numpy()),
        "S": (("singular_vector",), svd.S.numpy()),
    }
    if svd.V is None:
        if right_singular_vectors == "always":
            raise ValueError("V is always to be stored, and this decomposition has none")
    elif right_singular_vectors == "always" or (
        right_singular_vectors == "auto" and svd.V.numel() <= _LARGE
    ):
        variables["V"] = (("receptive_field", "singular_vector"), svd.V.numpy())
    return xr.Dataset(variables)


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))
