"""Pruned networks of a finished run: accuracy against parameters and time, beside controls."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor, nn

from ddp_tasks.interventions.batch_norm_statistics import estimate_again, normalising
from ddp_tasks.interventions.forward_time import forward_time_ratio
from ddp_tasks.interventions.pruned_networks import pruned_network
from ddp_tasks.interventions.pruning import (
    CRITERIA,
    RANDOM,
    SIGNAL_ENERGY,
    SINGULAR_VALUE,
    Kept,
    chosen_vectors,
    random_vectors,
)
from ddp_tasks.queries.prunable_network import PrunableNetwork
from ddp_tasks.queries.shown_images import ShownImages
from ddp_tasks.signals.sampled_accuracy import answers
from ddp_tasks.significance.confidence_intervals import shares_intervals
from ddp_tasks.significance.paired_shares import paired_difference_interval
from schemas.run_error import RunError

ORIGINAL = "original"
#: Shares of the parameters that are kept where none are asked for, as far as they can be reached.
SHARES = (0.9, 0.75, 0.5, 0.25)
#: Images that judge at most, and images that choose, where nothing else is asked for.
MOST_IMAGES = 2000
AS_TRAINED, ESTIMATED = "as trained", "estimated again"

Correct = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class PrunedNetwork:
    """One network with pairs of layers, and how it did on the images that judge."""

    criterion: str
    """``singular_value``, ``signal_energy``, ``random`` or ``original``."""
    asked: float
    """share of the parameters that was asked for."""
    parameters: int
    vectors: Mapping[str, int]
    """channels between the two layers of each pruned module; other modules are whole."""
    correct: Mapping[str, Correct]
    """whether each image's class was given, by the state of the BatchNorms."""
    time_ratio: float
    """seconds of a forward pass over those of the original, median of turns."""

    @property
    def last(self) -> Correct:
        """With BatchNorms estimated again where there are any."""
        return list(self.correct.values())[-1]


@dataclass(frozen=True)
class Pruning:
    """All pruned networks of a run beside the original."""

    network: PrunableNetwork
    original: PrunedNetwork
    networks: tuple[PrunedNetwork, ...]
    images: int
    """that judge."""
    notes: tuple[str, ...]

    @property
    def confidence(self) -> float:
        """Level at which all intervals of the table hold together."""
        return self.network.finished.run.significance.confidence

    @property
    def shares(self) -> list[float]:
        """Shares of the parameters that were asked for, descending."""
        return sorted({one.asked for one in self.networks}, reverse=True)

    @property
    def beside(self) -> str:
        """The criterion by which a layer keeps as many vectors as are drawn at random."""
        return _beside([one.criterion for one in self.networks])

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row for each network and state of its BatchNorms.

        Returns
        -------
        columns criterion, asked, parameters, kept (share of the parameters), layers (pruned),
        batch_norm, correct, images, accuracy, low, high (exact intervals that hold together) and
        time_ratio
        """
        every = (self.original, *self.networks)
        rows = [
            {
                "criterion": one.criterion,
                "asked": one.asked,
                "parameters": one.parameters,
                "kept": one.parameters / self.original.parameters,
                "layers": len(one.vectors),
                "batch_norm": state,
                "correct": int(correct.sum()),
                "images": self.images,
                "time_ratio": one.time_ratio,
            }
            for one in every
            for state, correct in one.correct.items()
        ]
        frame = pd.DataFrame(rows)
        counts = frame["correct"].to_numpy(), np.full(len(frame), self.images)
        low, high = shares_intervals(*counts, self.confidence, len(frame))
        ends = {"accuracy": counts[0] / self.images, "low": low, "high": high}
        for place, (name, values) in enumerate(ends.items(), start=8):
            frame.insert(place, name, values)
        return frame

    def verdict(self) -> str:
        """Which criterion kept more accuracy at which share, in plain sentences."""
        criteria = list(dict.fromkeys(one.criterion for one in self.networks))
        pairs = [
            (a, b)
            for a, b in combinations((SIGNAL_ENERGY, SINGULAR_VALUE, RANDOM), 2)
            if a in criteria and b in criteria
        ]
        searched = len(pairs) * len(self.shares)
        return " ".join(self._comparison(*pair, searched) for pair in pairs)

    def _comparison(self, a: str, b: str, searched: int) -> str:
        """How one criterion did beside another at every share; paired by image."""
        found: dict[str, list[str]] = {"better": [], "worse": [], "not shown to differ": []}
        for share in self.shares:
            first, second = (self._at(criterion, share).last for criterion in (a, b))
            both, one, other = (
                np.array([part.sum()], dtype=np.int64) for part in (first & second, first, second)
            )
            level = 1 - (1 - self.confidence) / searched
            images = np.array([self.images])
            low, high = paired_difference_interval(both, one, other, images, level)
            kind = "better" if low[0] > 0 else "worse" if high[0] < 0 else "not shown to differ"
            difference = float(first.mean() - second.mean())
            found[kind].append(f"{share:g} ({difference:+.1%})")
        parts = [f"{kind} at {', '.join(at)}" for kind, at in found.items() if at]
        return f"{words(a).capitalize()} beside {words(b)}: {'; '.join(parts)}."

    def _at(self, criterion: str, share: float) -> PrunedNetwork:
        return next(o for o in self.networks if (o.criterion, o.asked) == (criterion, share))


def words(criterion: str) -> str:
    """How pages and texts write a criterion."""
    return {RANDOM: "random vectors"}.get(criterion, criterion.replace("_", " "))


def check_shares(network: PrunableNetwork, shares: Sequence[float] | None) -> list[float]:
    """Shares of the parameters to keep, descending; those that can be reached if None are given.

    Raises
    ------
    RunError
        If one cannot be reached, naming the least.
    """
    least = network.least
    if shares is None:
        shares = [share for share in SHARES if share >= least]
        if not shares:
            raise RunError(
                f"parameters: with one singular vector in each layer {least:.4f} of them are left; "
                "name a share above that and below 1"
            )
    for share in shares:
        if not least <= share < 1:
            layers = len(network.layers)
            raise RunError(
                f"parameters: {share:g} cannot be kept; shares from {least:.4f}, with one singular "
                f"vector in each of {layers} layer{'s' * (layers != 1)}, to below 1 are allowed"
            )
    return sorted(set(shares), reverse=True)


def prune(
    network: PrunableNetwork,
    shares: Sequence[float],
    criteria: Sequence[str] = CRITERIA,
    *,
    most_images: int = MOST_IMAGES,
    device: torch.device | None = None,
    reading: Callable[[str], None] = lambda what: None,
    made: Callable[[PrunedNetwork, nn.Module], object] = lambda pruned, model: None,
) -> Pruning:
    """Prune a network by each criterion, and at random, to each share of its parameters.

    Parameters
    ----------
    shares
        as ``check_shares`` returns them.
    criteria
        some of ``CRITERIA``.
    most_images
        that judge at most, and as many that choose to estimate BatchNorms; drawn by the run's seed.
    reading
        is told what is being done.
    made
        takes each network that a criterion made, in evaluation mode, BatchNorms estimated again.

    Raises
    ------
    RunError
        If an image cannot be read any more, or a BatchNorm cannot be estimated.
    """
    measuring = _Measuring.of(network, most_images, device or torch.device("cpu"))
    reading("the network as it is")
    original = measuring.measured(ORIGINAL, 1.0, {}, network.prepared.model)
    networks = []
    for criterion, share, kept in _choices(network, shares, criteria):
        reading(f"{share:g} of the parameters by {words(criterion)}")
        model = pruned_network(
            network.prepared.model, network.svd, kept, network.prepared.layers.convention
        )
        networks.append(measuring.measured(criterion, share, kept, model))
        if criterion != RANDOM:
            made(networks[-1], model.cpu())
    return Pruning(network, original, tuple(networks), len(measuring.judging), measuring.notes)


def _choices(
    network: PrunableNetwork, shares: Sequence[float], criteria: Sequence[str]
) -> Iterator[tuple[str, float, Kept]]:
    """Criteria, shares and the vectors then kept; random ones beside those by singular value."""
    seed = network.finished.run.significance.seed
    for share in shares:
        parameters = network.weights_within(share)
        for criterion in criteria:
            yield criterion, share, chosen_vectors(network.ranked[criterion], parameters)
        ranked = network.ranked[_beside(criteria)]
        yield RANDOM, share, random_vectors(ranked, chosen_vectors(ranked, parameters), seed)


def _beside(criteria: Sequence[str]) -> str:
    return SINGULAR_VALUE if SINGULAR_VALUE in criteria else criteria[0]


@dataclass(frozen=True)
class _Measuring:
    """The images that networks are shown, and the network that they stand beside."""

    network: PrunableNetwork
    device: torch.device
    choosing: ShownImages
    judging: ShownImages
    beside: nn.Module
    """the original, on the device."""
    notes: tuple[str, ...]

    @staticmethod
    def of(network: PrunableNetwork, most: int, device: torch.device) -> _Measuring:
        """Draw the images, those that choose in random order: their batches mix the classes."""
        prepared = network.prepared
        rng = np.random.default_rng(network.finished.run.significance.seed)
        choosing = rng.permutation(network.choosing)[:most]
        judging = np.sort(rng.permutation(network.judging)[:most])
        batch = network.finished.run.shards.batch_size
        notes = [network.split]
        if len(judging) < len(network.judging) or len(choosing) < len(network.choosing):
            notes.append(
                f"Of them {len(choosing):,} and {len(judging):,} were drawn at random; the others "
                "are unused."
            )
        model = prepared.layers.convention.laid_out(copy.deepcopy(prepared.model)).to(device)
        return _Measuring(
            network,
            device,
            ShownImages(prepared.images, choosing, batch, device),
            ShownImages(prepared.images, judging, batch, device),
            model,
            tuple(notes),
        )

    def measured(self, criterion: str, asked: float, kept: Kept, model: nn.Module) -> PrunedNetwork:
        """Judge a network, which is left with its BatchNorms estimated again."""
        convention = self.network.prepared.layers.convention
        model = (copy.deepcopy(model) if criterion == ORIGINAL else model).to(self.device)
        correct = {AS_TRAINED: self._correct(model)}
        if norms := normalising(model):
            try:
                estimate_again(model, self.choosing.batches(), convention)
            except ValueError as error:
                raise RunError(
                    f"{len(norms)} BatchNorms cannot be estimated again: {error}"
                ) from None
            correct[ESTIMATED] = self._correct(model)
        first = next(self.judging.batches())
        return PrunedNetwork(
            criterion=criterion,
            asked=asked,
            parameters=sum(p.numel() for p in model.parameters()),
            vectors={name: self._channels(model, name) for name in kept},
            correct=correct,
            time_ratio=forward_time_ratio(self.beside, model, first, convention),
        )

    @staticmethod
    def _channels(model: nn.Module, name: str) -> int:
        weight: Tensor = model.get_submodule(f"{name}.US").weight  # type: ignore[assignment]
        groups = int(getattr(model.get_submodule(f"{name}.US"), "groups", 1))
        return weight.shape[1] * groups

    def _correct(self, model: nn.Module) -> Correct:
        convention = self.network.prepared.layers.convention
        with torch.inference_mode():
            predicted = np.concatenate(
                [answers(model, batch, convention) for batch in self.judging.batches()]
            )
        if (of_output := self.network.prepared.images.class_of_output) is not None:
            predicted = of_output[predicted]
        correct: Correct = predicted == self.judging.target
        return correct
