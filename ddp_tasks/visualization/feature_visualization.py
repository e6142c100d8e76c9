"""Feature visualisation: pictures optimised for singular vectors and their sums (Eqs. 19, 20).

Many pictures are optimised at once, in one forward pass that ends at the layer. Each has its own
random numbers and shares nothing with the others of a batch but the arithmetic.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ddp_tasks.networks.calling_convention import CallingConvention
from ddp_tasks.networks.float64_networks import float64_network
from ddp_tasks.networks.layers import LinearLayer
from ddp_tasks.visualization.layer_outputs import layer_outputs
from ddp_tasks.visualization.objectives import (
    kept_for,
    likeness,
    objectives,
    target_directions,
)
from ddp_tasks.visualization.parametrizations import parametrized
from ddp_tasks.visualization.pixels import PixelSpace, eight_bits
from ddp_tasks.visualization.targets import Parametrization, Target
from ddp_tasks.visualization.transformations import Extents, affine, drawn, transformed

if TYPE_CHECKING:
    from jaxtyping import Float64, UInt8

#: Sides in pixels between which settings are interpolated.
_SIDES = (32, 224)
#: Decay rates of Adam's two means, and what is added to the root of the second.
_BETAS = (0.9, 0.999)
_EPSILON = 1e-12
#: Weight of the likeness of a target's images against the logarithm of their objective.
_DIVERSITY = 0.1


@dataclass(frozen=True)
class Settings:
    """How pictures are optimised."""

    steps: int
    learning_rate: float
    """of Adam, for Fourier coefficients; see ``Fourier`` for their unit."""
    phase_rate: float
    """of Adam, for phases, in radians."""
    decay: float
    """of the amplitudes of Fourier coefficients with their frequency."""
    extents: Extents
    """of the random transformations."""
    precision: Literal["float32", "float64"] = "float32"
    """float64 gives the same bits in any batch and order: each picture passes alone."""

    @classmethod
    def for_size(
        cls,
        height: int,
        width: int,
        steps: int | None = None,
        precision: Literal["float32", "float64"] = "float32",
    ) -> Settings:
        """Settings for pictures of a size, as found by trying.

        Up to 32 pixels and from 224 pixels on they are constant, in between interpolated along the
        logarithm of the side.
        """
        small, large = _SIDES
        side = math.sqrt(height * width)
        part = math.log(side / small) / math.log(large / small)
        part = min(max(part, 0.0), 1.0)

        def between(at_small: float, at_large: float) -> float:
            return at_small + part * (at_large - at_small)

        return cls(
            steps=256 if steps is None else steps,
            learning_rate=between(0.02, 0.007),
            phase_rate=0.1,
            decay=between(1.5, 1.0),
            extents=Extents(shift=between(2, 16), scale=between(0.10, 0.15), rotation=10),
            precision=precision,
        )


@dataclass(frozen=True)
class Optimised:
    """An optimised picture."""

    picture: UInt8[npt.NDArray[np.uint8], "m n c"]
    failed: str = ""
    """why the optimisation ended before its last step; empty if it did not."""


def batch_size(device: torch.device, height: int, width: int) -> int:
    """How many pictures of a size to optimise at once on a device."""
    pixels = height * width
    if device.type == "cpu":
        return max(2, min(16, 16 * 32 * 32 * 4 // pixels))
    return max(16, min(512, 512 * 64 * 64 // pixels))


@dataclass(frozen=True)
class Visualized:
    """A layer of a network whose singular vectors pictures are optimised for."""

    model: nn.Module
    """in evaluation mode, on its device."""
    convention: CallingConvention
    layer: LinearLayer
    U: Float64[Tensor, "d r"]
    """left singular vectors of the layer."""
    natural_mean: Float64[Tensor, " r"]
    """mean signal of each over natural images."""
    pixels: PixelSpace

    @property
    def device(self) -> torch.device:
        """The network's."""
        return next(self.model.parameters()).device


def optimised(
    visualized: Visualized,
    targets: Sequence[Target],
    seeds: Sequence[int],
    settings: Settings,
    step_done: Callable[[int], None] = lambda images: None,
) -> list[Optimised]:
    """Pictures that maximise, or minimise, weighted sums of a layer's signals.

    The network is left as it is. A picture depends on its target, its seed and the settings, not on
    the others: to the bit in float64, to rounding in float32. Several images of one target, which
    are pushed apart, are optimised together: those that are not asked for are optimised too.

    Parameters
    ----------
    seeds
        one for each target.
    step_done
        called after each step with the number of pictures that took it; may raise to end the work.

    Returns
    -------
    one for each target, in their order

    Raises
    ------
    ValueError
        If a target has a vector past the layer's rank, or there is not one seed for each.
    """
    _check(visualized, targets, seeds)
    most = batch_size(visualized.device, visualized.pixels.height, visualized.pixels.width)
    if settings.precision == "float64":
        model, convention = float64_network(visualized.model, visualized.convention)
        visualized, most = replace(visualized, model=model, convention=convention), 1
    made: dict[tuple[Target, int], Optimised] = {}
    for batch in _batches(targets, seeds, most):
        pictures = _Batch(visualized, batch, settings).optimised(step_done)
        made |= dict(zip(batch, pictures, strict=True))
    return [made[asked] for asked in zip(targets, seeds, strict=True)]


class _Batch:
    """Pictures of one parametrisation and one objective that are optimised together."""

    def __init__(
        self, visualized: Visualized, batch: Sequence[tuple[Target, int]], settings: Settings
    ) -> None:
        targets = [target for target, _ in batch]
        pixels, device = visualized.pixels, visualized.device
        dtype = torch.float64 if settings.precision == "float64" else torch.float32
        like = torch.empty(0, dtype=dtype, device=device)
        self._visualized = visualized
        self._objective = targets[0].objective
        kind: Parametrization = targets[0].parametrization
        self._rate = settings.phase_rate if kind == "maco" else settings.learning_rate
        self._parametrized = parametrized(kind, pixels, settings.decay, like)
        generators = [_generator(target, seed) for target, seed in batch]
        starts = [self._parametrized.start(generator) for generator in generators]
        self._parameters = torch.stack(starts).to(like)
        draws = [drawn(settings.extents, settings.steps, one) for one in generators]
        maps = affine(torch.stack(draws, dim=1), pixels.height, pixels.width)
        self._maps = maps.to(like)
        U = visualized.U.to(device, torch.float64)
        self._directions = target_directions(U, targets)
        self._natural = U @ visualized.natural_mean.to(U)
        names = [(replace(target, number=0), seed) for target, seed in batch]
        groups = [names.index(name) for name in names]
        together = any(target.images > 1 for target in targets)
        self._groups = torch.tensor(groups, device=device) if together else None
        self._failed = [""] * len(batch)

    def optimised(self, step_done: Callable[[int], None]) -> list[Optimised]:
        """All steps; a picture whose objective is not finite stays as it was."""
        adam = _Adam(self._parameters, self._rate)
        of = self._visualized
        keep = partial(kept_for, self._objective)
        with (
            torch.enable_grad(),
            layer_outputs(of.model, [of.layer], of.convention, keep) as outputs,
        ):
            for step, maps in enumerate(self._maps, start=1):
                parameters = self._parameters.requires_grad_()
                seen = transformed(self._squashed(parameters), maps)
                kept = outputs(of.pixels.inputs(seen))[of.layer.name]
                values = objectives(self._objective, kept, self._directions.to(kept))
                (gradient,) = torch.autograd.grad(self._total(values, kept), parameters)
                self._parameters = parameters.detach()
                adam.step(self._parameters, gradient, self._going(step, values, gradient))
                step_done(len(values))
                if all(self._failed):
                    break
        with torch.no_grad():
            pictures = eight_bits(self._squashed(self._parameters))
        return [
            Optimised(picture, failed)
            for picture, failed in zip(pictures, self._failed, strict=True)
        ]

    def _squashed(self, parameters: Tensor) -> Tensor:
        return self._visualized.pixels.squashed(self._parametrized.latents(parameters))

    def _total(self, values: Tensor, kept: Tensor) -> Tensor:
        """The sum of all objectives, whose gradient is that of each picture's own."""
        if self._groups is None:
            return values.sum()
        # The gradient of the logarithm, so that the unit of the signals does not matter.
        relative = values / values.detach().abs().clamp_min(1e-30)
        directions, natural = self._directions.to(kept), self._natural.to(kept)
        alike = likeness(kept, directions, self._groups, natural)
        return (relative - _DIVERSITY * alike).sum()

    def _going(self, step: int, values: Tensor, gradient: Tensor) -> Tensor | None:
        """Which pictures take the step: None for all of them."""
        finite = values.detach().isfinite() & gradient.flatten(1).sum(dim=1).isfinite()
        if not any(self._failed) and bool(finite.all()):
            return None
        for picture, (value, going) in enumerate(
            zip(values.tolist(), finite.tolist(), strict=True)
        ):
            if not going and not self._failed[picture]:
                what = "gradient" if math.isfinite(value) else "objective"
                became = "infinite" if math.isinf(value) else "NaN"
                self._failed[picture] = f"its {what} became {became} at step {step}"
        return torch.tensor([not failed for failed in self._failed], device=values.device)


class _Adam:
    """Adam, written so that no picture of a batch changes another's step.

    References
    ----------
    Kingma and Ba 2015, "Adam: A Method for Stochastic Optimization".
    """

    def __init__(self, parameters: Tensor, rate: float) -> None:
        self._rate, self._step = rate, 0
        self._first, self._second = torch.zeros_like(parameters), torch.zeros_like(parameters)

    def step(self, parameters: Tensor, gradient: Tensor, going: Tensor | None) -> None:
        """Move the parameters along the gradient, in place; only those of ``going`` pictures."""
        self._step += 1
        if going is not None:
            going = going.reshape(-1, *[1] * (gradient.ndim - 1))
            gradient = torch.where(going, gradient, 0)
        one, two = _BETAS
        self._first.lerp_(gradient, 1 - one)
        self._second.mul_(two).addcmul_(gradient, gradient, value=1 - two)
        root = (self._second / (1 - two**self._step)).sqrt_().add_(_EPSILON)
        moved = self._first / root
        if going is not None:
            moved = torch.where(going, moved, 0)
        parameters.add_(moved, alpha=self._rate / (1 - one**self._step))


def _generator(target: Target, seed: int) -> torch.Generator:
    """Random numbers of one picture, which depend on its seed and its target alone."""
    digest = hashlib.sha256(f"{seed} {target.key}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def _batches(
    targets: Sequence[Target], seeds: Sequence[int], most: int
) -> Iterator[list[tuple[Target, int]]]:
    """Targets with their seeds, in batches of one parametrisation and one objective.

    All images of one target are in one batch.
    """
    alike: dict[tuple[str, str], dict[tuple[Target, int], None]] = {}
    for target, seed in zip(targets, seeds, strict=True):
        kind = (target.parametrization, target.objective)
        alike.setdefault(kind, {})[replace(target, number=0), seed] = None
    for firsts in alike.values():
        batch: list[tuple[Target, int]] = []
        for first, seed in firsts:
            if batch and len(batch) + first.images > most:
                yield batch
                batch = []
            batch += [(replace(first, number=number), seed) for number in range(first.images)]
        yield batch


def _check(visualized: Visualized, targets: Sequence[Target], seeds: Sequence[int]) -> None:
    rank, layer = visualized.U.shape[1], visualized.layer.name
    for target in targets:
        if (most := max(target.singular_vectors)) >= rank:
            raise ValueError(f"layer {layer} has {rank} singular vectors, so no v{most}")
        if not 0 <= target.number < target.images:
            raise ValueError(f"image {target.number} of {target.images} of {target.key!r}")
    if len(seeds) != len(targets):
        raise ValueError(f"{len(seeds)} seeds for {len(targets)} targets")
