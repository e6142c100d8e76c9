"""Decomposing one linear layer in a Dask worker, before the signals."""

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
        the run, and its store, which is being made.
    layer
        name of the layer.

    Raises
    ------
    ValueError
        If the layer's weight has no decomposition; see ``decompose``.
    """
    prepared, policy = prepared_once(stored), stored.parameters.right_singular_vectors
    linear = next(each for each in prepared.layers.linear if each.name == layer)
    with ONE_AT_A_TIME:
        folded = folding_once(stored).layers.get(layer)
    W = unfolded_weight(prepared.model, linear) if folded is None else unfold_weight(folded.weight)
    keep = stores_right_singular_vectors(linear.unfolded_shape, linear.groups, policy)
    svd = decompose(W, linear.groups, right_singular_vectors=keep)
    dataset = decomposition_dataset(svd, policy)
    batch_norm = "" if folded is None else folded.batch_norm
    dataset = dataset.assign_attrs(layer=layer, batch_norm=batch_norm)
    write(stored.path, group_path("decomposition", layer), dataset)
    return svd.spectrum


def cost(layer: LinearLayer) -> int:
    """Estimated cost of decomposing a layer, to compare layers; multiplications."""
    d, columns = layer.unfolded_shape
    rows = d // layer.groups
    return layer.groups * rows * columns * min(rows, columns)


def folding_of(run: RunParameters, prepared: Prepared) -> Folding:
    """The BatchNorms that a run folds into its layers; none unless ``fold_batch_norm`` is set."""
    if not run.fold_batch_norm:
        return Folding({}, {})
    layers = tuple(linear for linear in prepared.layers.linear if _folds(linear))
    traced = prepared.layers
    return fold_batch_norms(prepared.model, layers, traced.images, traced.convention)


def vectors_for_means(U: Mapping[str, Tensor], folding: Folding) -> dict[str, Tensor]:
    """Vectors by which mean outputs are multiplied to give the signals of layers, folded or not.

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
    # Transposed convolutions hold their filters along the second axis; they are not folded.
    return layer.kind == "Linear" or not layer.kind.startswith("ConvTranspose")


def folding_once(stored: StoredRun) -> Folding:
    """The result of ``folding_of`` for a run, computed once in each worker process."""
    return _folding(stored.anywhere(), content_of_run(stored))


@lru_cache(maxsize=1)
def _folding(stored: StoredRun, content: str) -> Folding:
    return folding_of(stored.parameters, prepared_once(stored))
