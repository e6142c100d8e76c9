"""The quickest way of removing directions from a layer that gives what the plain way gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from ddp_tasks.interventions.vector_removal import CutLayer, Removals, removing
from ddp_tasks.networks.calling_convention import CallingConvention
from ddp_tasks.networks.float64_networks import float64_network
from ddp_tasks.networks.layers import LinearLayer
from schemas.shown import error_shown

#: Greatest difference of scores from the plain way's, in float64, over the greatest score. Both
#: round at 1e-16; folding a BatchNorm divides by scales of at least 1e-3 of the greatest.
TOLERANCE = 1e-8


@dataclass(frozen=True)
class Candidate:
    """A network that gives the scores of the run's network."""

    model: nn.Module
    scale: Tensor | None = None
    """shape (d,); directions are those of scale · (Y - b), Y being the layer's output in this
    network; None for 1."""


@dataclass(frozen=True)
class Way:
    """How directions are removed from a layer."""

    cut: CutLayer
    scale: Tensor | None
    """as in ``Candidate``."""
    together: bool
    """as in ``removing``."""
    refused: tuple[str, ...] = ()
    """why quicker ways were not taken."""

    def removals(self, directions: Sequence[Tensor]) -> Removals:
        """The removals of sets of directions, as this network takes them."""
        return Removals.of(directions, self.scale)


def quickest_way(
    candidates: Sequence[Candidate],
    convention: CallingConvention,
    layer: LinearLayer,
    images: Tensor,
    directions: Sequence[Tensor],
) -> Way:
    """The first network whose vectorised removals give the plain scores, or else the plain way.

    Parameters
    ----------
    candidates
        the quickest first; the last is the run's own network.
    images
        shape (n, ...), a few; what is compared.
    directions
        shape (d, m) each, float64; what is removed for it.
    """
    own = candidates[-1]
    try:
        expected = _exact_scores(own, convention, layer, images, directions, together=False)
    except Exception as error:  # noqa: BLE001 - a person's network may not run in float64
        refused = (f"not comparable in float64: {error_shown(error)}",)
        return Way(CutLayer(own.model, convention, layer), own.scale, False, refused)
    why: list[str] = []
    for candidate in candidates:
        name = "as it is" if candidate is own else "with BatchNorms folded"
        try:
            scores = _exact_scores(candidate, convention, layer, images, directions, together=True)
        except Exception as error:  # noqa: BLE001 - torch.func and networks raise anything
            why.append(f"{name}: {error_shown(error)}")
            continue
        apart = float((scores - expected).abs().max() / expected.abs().max().clamp_min(1e-300))
        if apart <= TOLERANCE:
            cut = CutLayer(candidate.model, convention, layer)
            return Way(cut, candidate.scale, True, tuple(why))
        why.append(f"{name}: scores differ by {apart:.1e} of the greatest")
    return Way(CutLayer(own.model, convention, layer), own.scale, False, tuple(why))


def _exact_scores(
    candidate: Candidate,
    convention: CallingConvention,
    layer: LinearLayer,
    images: Tensor,
    directions: Sequence[Tensor],
    *,
    together: bool,
) -> Tensor:
    """Scores without each set of directions in float64."""
    model, exact = float64_network(candidate.model, convention)
    with removing(CutLayer(model, exact, layer), together=together) as scores:
        return scores(images, Removals.of(directions, candidate.scale))
