"""A finished run opened for pruning: what may be pruned, and its singular vectors ranked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ddp_tasks.interventions.pruned_networks import unfaithful
from ddp_tasks.interventions.pruning import (
    CRITERIA,
    SIGNAL_ENERGY,
    SINGULAR_VALUE,
    RankedLayer,
    least_parameters,
)
from ddp_tasks.networks.factorised_layers import Factorisable, factorisable
from ddp_tasks.networks.layers import unfolded_weight
from ddp_tasks.prepared_run import Prepared
from ddp_tasks.queries.finished_run import FinishedRun
from ddp_tasks.queries.image_parts import image_parts
from ddp_tasks.queries.layer_names import matching_layers
from ddp_tasks.queries.significance import open_significance
from ddp_tasks.significance.signal_variances import signal_variances
from ddp_tasks.store import groups
from ddp_tasks.store.cube import layer_parts
from ddp_tasks.weights.tensor_svd import TensorSVD
from schemas.names import group_path
from schemas.run_error import RunError

#: Layers and reasons that a refusal lists.
_LISTED = 6


@dataclass(frozen=True)
class PrunableNetwork:
    """A finished run's network, and all that pruning it needs."""

    finished: FinishedRun
    prepared: Prepared
    svd: Mapping[str, TensorSVD]
    """of the unfolded weight of each module that may be pruned."""
    ranked: Mapping[str, Sequence[RankedLayer]]
    """its singular vectors, by criterion."""
    left_out: Mapping[str, str]
    """why other layers stay whole."""
    choosing: npt.NDArray[np.int64]
    """positions in the run of images that choose, those that could be read."""
    judging: npt.NDArray[np.int64]
    split: str
    """a sentence on where the split comes from."""

    @property
    def layers(self) -> list[Factorisable]:
        """That may be pruned."""
        return [ranked.layer for ranked in self.ranked[SINGULAR_VALUE]]

    @property
    def parameters(self) -> int:
        """Of the whole network."""
        return sum(p.numel() for p in self.prepared.model.parameters())

    @property
    def least(self) -> float:
        """Share of the parameters that is left with one singular vector a block in each layer."""
        prunable = sum(layer.parameters for layer in self.layers)
        return (self.parameters - prunable + least_parameters(self.layers)) / self.parameters

    def weights_within(self, share: float) -> int:
        """Parameters that the weights of all layers that may be pruned have within a share."""
        prunable = sum(layer.parameters for layer in self.layers)
        return int(share * self.parameters) - (self.parameters - prunable)


def open_prunable(finished: FinishedRun, globs: Sequence[str] = ("*",)) -> PrunableNetwork:
    """Open a finished run's network and images, and rank the singular vectors of its layers.

    Signals of the images that choose give their energy; the images that judge have no part in it.

    Parameters
    ----------
    globs
        names and globs of layers that may be pruned.

    Raises
    ------
    RunError
        If the run is not finished, a glob matches no layer, no layer may be pruned, or the model
        or images are not those of the store.
    """
    path = finished.store
    stored = open_significance(path.parent)
    names = [str(name) for name in finished.layers["layer"].to_numpy()]
    asked = matching_layers(names, globs, path)
    target = finished.signals["target"].to_numpy().astype(np.int64)
    read = finished.signals["error"].to_numpy().astype(object) == ""
    seed = stored.run.significance.seed
    part, split = image_parts(stored.significance, np.where(read, target, -1), seed, path)
    prepared = finished.prepared()
    layers, left_out = _factorisable(finished, prepared, asked)
    svd = {layer.module: _decomposition(finished, prepared, layer) for layer in layers}
    why = unfaithful(prepared.model, svd, prepared.layers.images, prepared.layers.convention)
    left_out |= {
        name: why[layer.module]
        for layer in layers
        for name in layer.layers
        if why.get(layer.module)
    }
    layers = [layer for layer in layers if layer.module not in why]
    if not layers:
        reasons = [f"{name}: {reason}" for name, reason in left_out.items()]
        more = f"; and {len(reasons) - _LISTED} more" * (len(reasons) > _LISTED)
        raise RunError(f"no layer of {path} can be pruned: {'; '.join(reasons[:_LISTED])}{more}")
    return PrunableNetwork(
        finished=finished,
        prepared=prepared,
        svd={layer.module: svd[layer.module] for layer in layers},
        ranked=_ranked(finished, layers, svd, (part == 0) & read),
        left_out=left_out,
        choosing=np.flatnonzero((part == 0) & read),
        judging=np.flatnonzero((part == 1) & read),
        split=split,
    )


def _factorisable(
    finished: FinishedRun, prepared: Prepared, asked: Sequence[str]
) -> tuple[list[Factorisable], dict[str, str]]:
    """The layers that are asked for and may be pruned, and why others stay whole."""
    layers, left_out = factorisable(prepared.model, prepared.layers.linear)
    chosen = []
    for layer in layers:
        folded = [_folded(finished.store, name) for name in layer.layers]
        if not set(asked).intersection(layer.layers):
            why = "not asked for"
        elif any(folded):
            why = (
                f"its singular vectors are those of the layer with {next(filter(None, folded))} "
                "folded into it; a run with fold_batch_norm: false has its own"
            )
        else:
            chosen.append(layer)
            continue
        left_out |= dict.fromkeys(layer.layers, why)
    return chosen, left_out


def _folded(store: Path, layer: str) -> str:
    """The BatchNorm that a layer was decomposed together with; empty without one."""
    attributes = groups.group_attributes(store, group_path("decomposition", layer))
    return str(attributes.get("batch_norm") or "")


def _decomposition(finished: FinishedRun, prepared: Prepared, layer: Factorisable) -> TensorSVD:
    linear = {one.name: one for one in prepared.layers.linear}[layer.layers[0]]
    W = unfolded_weight(prepared.model, linear)
    return finished.decomposition(layer.layers[0], W, layer.groups)


def _ranked(
    finished: FinishedRun,
    layers: Sequence[Factorisable],
    svd: Mapping[str, TensorSVD],
    choosing: npt.NDArray[np.bool_],
) -> dict[str, list[RankedLayer]]:
    ranked: dict[str, list[RankedLayer]] = {criterion: [] for criterion in CRITERIA}
    for layer in layers:
        block = svd[layer.module].block.numpy()
        energies = {
            SINGULAR_VALUE: svd[layer.module].S.numpy() ** 2,
            # A module that is called twice carries what both calls carry.
            SIGNAL_ENERGY: sum(_variances(finished, name, choosing) for name in layer.layers),
        }
        for criterion, energy in energies.items():
            ranked[criterion].append(RankedLayer.of(layer, block, np.asarray(energy)))
    return ranked


def _variances(
    finished: FinishedRun, layer: str, choosing: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """Variance of a layer's signals over the images that choose, shape (r,)."""
    place = finished.layers["layer"].to_numpy().tolist().index(layer)
    rank = int(finished.layers["rank"][place])

    def parts() -> Iterator[npt.NDArray[np.float32]]:
        first = 0
        for signals, _ in layer_parts(finished.store, place, rank):
            yield signals[choosing[first : first + len(signals)]]
            first += len(signals)

    return signal_variances(parts(), rank)
