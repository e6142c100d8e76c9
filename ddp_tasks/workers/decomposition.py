"""What a Dask worker does before the signals: decompose one linear layer."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from torch import Tensor

from ddp_tasks.networks.batch_norm_folding import Folding, fold_batch_norms
from ddp_tasks.networks.decomposition import decomposition_dataset, stores_right_singular_vectors
from ddp_tasks.networks.layers import LinearLayer, unfolded_weight
from ddp_tasks.prepared_run import Prepared
from ddp_tasks.store.groups import write
from ddp_tasks.weights.tensor_svd import Spectrum, decompose
from ddp_tasks.weights.unfolding import unfold_weight
from ddp_tasks.workers.once import ONE_AT_A_TIME, content_of_run, prepared_once
from ddp_tasks.workers.stored_run import StoredRun
from schemas.names import group_path
from schemas.parameters import RunParameters


def decompose_layer(stored: StoredRun, layer: str) -> Spectrum:
    """Decompose one layer of a run's model and write the group ``decomposition/LAYER``.

    The model is opened once per worker.

    Parameters
    ----------
    stored
        the run, and the store that is being made.
    layer
        name of the layer.

    Raises
    ------
    ValueError
        If the layer's weight has no decomposition, as ``decompose`` says.
    """
    prepared, asked = prepared_once(stored), stored.parameters.right_singular_vectors
    found = next(one for one in prepared.layers.linear if one.name == layer)
    with ONE_AT_A_TIME:
        folded = folding_once(stored).layers.get(layer)
    W = unfolded_weight(prepared.model, found) if folded is None else unfold_weight(folded.weight)
    keep = stores_right_singular_vectors(found.unfolded_shape, found.groups, asked)
    svd = decompose(W, found.groups, right_singular_vectors=keep)
    dataset = decomposition_dataset(svd, asked)
    batch_norm = "" if folded is None else folded.batch_norm
    dataset = dataset.assign_attrs(layer=layer, batch_norm=batch_norm)
    write(stored.path, group_path("decomposition", layer), dataset)
    return svd.spectrum


def cost(layer: LinearLayer) -> int:
    """About how long a layer's decomposition takes beside other layers'."""
    d, columns = layer.unfolded_shape
    rows = d // layer.groups
    return layer.groups * rows * columns * min(rows, columns)


def folding_of(run: RunParameters, prepared: Prepared) -> Folding:
    """The BatchNorms that a run folds into its layers: none, unless it asks for it."""
    if not run.fold_batch_norm:
        return Folding({}, {})
    layers = tuple(one for one in prepared.layers.linear if _folds(one))
    traced = prepared.layers
    return fold_batch_norms(prepared.model, layers, traced.images, traced.convention)


def vectors_for_means(U: Mapping[str, Tensor], folding: Folding) -> dict[str, Tensor]:
    """What to multiply mean outputs by for the signals of layers, folded or not.

    Parameters
    ----------
    U
        left singular vectors of each layer, shape (d, r).

    Returns
    -------
    by layer, shape (d, r)
    """
    folded = folding.layers
    return {
        name: folded[name].vectors_for_unfolded_means(u) if name in folded else u
        for name, u in U.items()
    }


def _folds(layer: LinearLayer) -> bool:
    # Transposed convolutions keep their filters along the second axis; they stay as they are.
    return layer.kind == "Linear" or not layer.kind.startswith("ConvTranspose")


def folding_once(stored: StoredRun) -> Folding:
    """What ``folding_of`` gives for a run, once in each worker process."""
    return _folding(stored.anywhere(), content_of_run(stored))


@lru_cache(maxsize=1)
def _folding(stored: StoredRun, content: str) -> Folding:
    return folding_of(stored.parameters, prepared_once(stored))
