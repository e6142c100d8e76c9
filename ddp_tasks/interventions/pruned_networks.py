"""Networks in which pairs of layers keep some singular vectors, and whether they are faithful."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from ddp_tasks.interventions.pruning import Kept
from ddp_tasks.networks.calling_convention import CallingConvention
from ddp_tasks.networks.class_scores import whole_output
from ddp_tasks.networks.factorised_layers import factorised, replace_modules
from ddp_tasks.networks.float64_networks import float64_network
from ddp_tasks.weights.tensor_svd import TensorSVD
from schemas.shown import error_shown

#: Greatest difference of scores over the greatest score, when all singular vectors are kept. In
#: float64 both round at 1e-16, times the depth; in float32 they round at 1e-7.
_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-3}


def pruned_network(
    model: nn.Module, svd: Mapping[str, TensorSVD], kept: Kept, convention: CallingConvention
) -> nn.Module:
    """A copy of a network in which pairs of layers keep some singular vectors.

    Parameters
    ----------
    svd
        of the unfolded weight of each module, V included.
    """
    copied = copy.deepcopy(model)
    _replace(copied, svd, kept)
    return convention.laid_out(copied)


def _replace(model: nn.Module, svd: Mapping[str, TensorSVD], kept: Kept) -> None:
    pairs: dict[str, nn.Module] = {}
    for name, vectors in kept.items():
        module = model.get_submodule(name)
        pairs[name] = factorised(module, svd[name], torch.from_numpy(vectors))  # type: ignore[arg-type]
    replace_modules(model, pairs)


def unfaithful(
    model: nn.Module,
    svd: Mapping[str, TensorSVD],
    images: Tensor,
    convention: CallingConvention,
) -> dict[str, str]:
    """Modules whose pair of layers, with all singular vectors, does not give the network's scores.

    A network may use a layer in ways that no tracing sees: read its weight's shape, or a
    subclass's attributes. Scores are compared in float64 where the network runs in it.

    Parameters
    ----------
    images
        shape (n, ...), a few.

    Returns
    -------
    by module, why; empty if the network with all pairs gives the same scores
    """
    try:
        exact, of_exact = float64_network(model, convention)
        expected, tolerance = _scores(exact, images, of_exact), _TOLERANCE[torch.float64]
    except Exception:  # noqa: BLE001 - a person's network may not run in float64
        exact, of_exact = copy.deepcopy(model), convention
        expected, tolerance = _scores(exact, images, of_exact), _TOLERANCE[torch.float32]

    def difference(names: Mapping[str, TensorSVD]) -> str:
        every: Kept = {name: np.arange(names[name].rank) for name in names}
        try:
            paired = copy.deepcopy(exact)
            _replace(paired, names, every)
            scores = _scores(paired, images, of_exact)
        except Exception as error:  # noqa: BLE001 - networks raise anything
            return f"the network fails with two layers in its place: {error_shown(error)}"
        apart = float((scores - expected).abs().max() / expected.abs().max().clamp_min(1e-300))
        return "" if apart <= tolerance else f"two layers change scores by {apart:.1e}"

    if not (together := difference(svd)):
        return {}
    alone = {name: why for name in svd if (why := difference({name: svd[name]}))}
    return alone or dict.fromkeys(svd, together)


def _scores(model: nn.Module, images: Tensor, convention: CallingConvention) -> Tensor:
    with torch.no_grad():
        given = [
            convention.scores(whole_output(model(batch)), len(batch)).to(torch.float64)
            for batch in convention.batches(images)
        ]
    return torch.cat(given)
