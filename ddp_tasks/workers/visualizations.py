"""Optimised images of one layer, made, measured and stored in a Dask worker (section 6)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr
from torch import Tensor, nn

from ddp_tasks.networks.calling_convention import CallingConvention
from ddp_tasks.networks.float64_networks import float64_network
from ddp_tasks.networks.layers import LinearLayer
from ddp_tasks.prepared_run import Prepared
from ddp_tasks.store import groups
from ddp_tasks.visualization import feature_visualization, trust
from ddp_tasks.visualization.feature_visualization import (
    Optimised,
    Settings,
    Visualized,
    optimised,
)
from ddp_tasks.visualization.pixels import PixelSpace, pixel_space
from ddp_tasks.visualization.targets import Target
from ddp_tasks.workers import kept
from ddp_tasks.workers.devices import best_device
from ddp_tasks.workers.natural_signals import (
    layers_up_to,
    mean_signals,
    natural_of_layer,
    signal_vectors,
    sums_of_targets,
)
from ddp_tasks.workers.once import ONE_AT_A_TIME, content_of_run, prepared_once
from ddp_tasks.workers.stored_run import StoredRun
from ddp_tasks.workers.stored_visualizations import Batch, part_of, settings_text
from schemas.names import group_path
from schemas.parameters import RunError
from schemas.visualization_parameters import VisualizationParameters

#: Natural exemplars of a target that its path through the network is compared with.
_EXEMPLARS = 5
#: Least share of the greatest excess over the seeds that a picture chosen for its likeness has.
_NEARLY = 0.9
#: Steps after which the time that a batch needs is known.
_STEPS_TIMED = 8


@dataclass(frozen=True)
class Made:
    """What a worker made of a batch."""

    images: int = 0
    failed: tuple[str, ...] = ()
    """targets whose objective became NaN or infinite, and when."""
    needed: float | None = None
    """seconds that the batch would have taken; None if it was made whole, or never begun."""


class _TooLateError(Exception):
    """A batch cannot be finished in time."""

    def __init__(self, needed: float) -> None:
        super().__init__(needed)
        self.needed = needed
        """seconds that it would take."""


def batch_size(stored: StoredRun, threads: int, memory: int | None) -> int:
    """Images that this worker makes at once of the run's pictures."""
    height, width = prepared_once(stored).layers.images.shape[-2:]
    return feature_visualization.batch_size(best_device(), height, width)


def refusal(prepared: Prepared) -> str:
    """Why no picture of a run's inputs can be optimised; an empty text if one can."""
    try:
        PixelSpace.of(prepared.layers.images, prepared.images.transform)
    except RunError as error:
        return str(error)
    return ""


def visualize(
    stored: StoredRun, options: VisualizationParameters, deadline: float | None, batch: Batch
) -> Made:
    """Make the images of a batch, measure how far to trust them, and store them.

    Parameters
    ----------
    deadline
        in seconds since the epoch; of a batch that cannot be finished before it, as many targets
        are made as can be.

    Raises
    ------
    RunError
        If the layer cannot be visualised; the message names it.
    """
    if deadline is not None and time.time() >= deadline:
        return Made()
    with ONE_AT_A_TIME:
        try:
            dataset, failed = _made(stored, options, deadline, batch)
        except _TooLateError as late:
            assert deadline is not None
            return _of_fewer(stored, options, deadline, batch, late.needed)
        except (ValueError, RuntimeError) as error:
            raise RunError(f"{batch}: {error}") from error
    groups.write(stored.path, part_of(batch, options), dataset, kept.of_cube(stored.path))
    return Made(len(batch), failed)


def _of_fewer(
    stored: StoredRun,
    options: VisualizationParameters,
    deadline: float,
    batch: Batch,
    needed: float,
) -> Made:
    """As many targets of a batch as can be made in time; images of one target stay together."""
    each = batch.targets[0].images * len(options.objectives)
    share = (deadline - time.time()) / needed
    fewer = batch.targets[: int(len(batch) * share) // each * each]
    if not fewer or len(fewer) == len(batch):
        return Made(needed=needed)
    made = visualize(stored, options, deadline, Batch(batch.layer, fewer))
    return replace(made, needed=needed)


class _Clock:
    """Ends a batch that cannot be finished in time, as soon as that is known."""

    def __init__(self, deadline: float | None, steps: int) -> None:
        self._deadline, self._steps = deadline, steps
        self._begun, self._done, self._calls = time.time(), 0, 0

    def advanced(self, images: int) -> None:
        """Count a step of so many images.

        Raises
        ------
        _TooLateError
            If the batch cannot be finished in time.
        """
        self._done += images
        self._calls += 1
        if self._deadline is None:
            return
        now = time.time()
        needed = (now - self._begun) * self._steps / self._done
        known = self._calls == _STEPS_TIMED
        if now >= self._deadline or (known and self._begun + needed > self._deadline):
            raise _TooLateError(needed)


@dataclass(frozen=True)
class _OpenedRun:
    """A run's network, ready to be optimised through and to measure with."""

    model: nn.Module
    convention: CallingConvention
    exact: tuple[nn.Module, CallingConvention]
    """the same in float64."""
    layers: Mapping[str, LinearLayer]
    pixels: PixelSpace


def _opened(stored: StoredRun) -> _OpenedRun:
    return _opened_once(stored, content_of_run(stored))


@lru_cache(maxsize=1)
def _opened_once(stored: StoredRun, content: str) -> _OpenedRun:
    prepared = prepared_once(stored)
    convention = prepared.layers.convention
    model = prepared.model.to(best_device())
    return _OpenedRun(
        model=convention.laid_out(model),
        convention=convention,
        exact=float64_network(model, convention),
        layers={layer.name: layer for layer in prepared.layers.linear},
        pixels=pixel_space(prepared.images),
    )


def _left_vectors(path: Path, layer: str) -> Tensor:
    U = groups.read(path, group_path("decomposition", layer))["U"].to_numpy()
    return torch.from_numpy(U).to(torch.float64)


def _made(
    stored: StoredRun, options: VisualizationParameters, deadline: float | None, batch: Batch
) -> tuple[xr.Dataset, tuple[str, ...]]:
    """The batch's pictures, the best seed of each, with their measures; and targets that failed."""
    run, path = _opened(stored), stored.path
    natural = natural_of_layer(path, batch.layer)
    targets = [target.weighted(natural.deviation) for target in batch.targets]
    pixels = run.pixels
    visualized = Visualized(
        run.model,
        run.convention,
        run.layers[batch.layer],
        _left_vectors(path, batch.layer),
        torch.from_numpy(natural.mean),
        pixels,
    )
    settings = Settings.for_size(pixels.height, pixels.width, options.steps, options.precision)
    # All targets with the first seed, then all with the second.
    every = targets * options.seeds
    seeds = [seed for seed in range(options.seeds) for _ in targets]
    clock = _Clock(deadline, settings.steps * len(every))
    pictures = optimised(visualized, every, seeds, settings, clock.advanced)
    sums = sums_of_targets(path, batch.layer, targets, _EXEMPLARS)
    measures = trust.measured(
        visualized,
        run.exact,
        _natural_path(path, run, batch.layer, sums.strongest.image, options.seeds),
        every,
        pictures,
        natural_mean=np.tile(sums.mean, options.seeds),
        best_natural=np.tile(sums.best.astype(np.float64), options.seeds),
        natural=natural,
    )
    chosen = _best_seeds(measures, pictures, len(targets))
    ids = groups.read(path, "signals")["image"].to_numpy().astype(object)
    best = sums.strongest.image[:, 0]
    dataset = _dataset(targets, pictures, measures, chosen, len(natural.mean)).assign(
        natural_mean=("target", sums.mean),
        best_natural=("target", sums.best.astype(np.float64)),
        best_natural_image=("target", ids[best]),
        settings=("target", np.array([settings_text(options)] * len(targets), dtype=object)),
    )
    failed = [
        f"{target.key}: {why}"
        for target, picture in zip(targets, chosen, strict=True)
        if (why := pictures[picture].failed)
    ]
    return dataset.assign_attrs(layer=batch.layer), tuple(failed)


def _natural_path(
    path: Path, run: _OpenedRun, layer: str, images: npt.NDArray[np.int64], seeds: int
) -> trust.NaturalPath:
    """The natural signals of the layers up to one, for each target with each seed."""
    names = layers_up_to(path, layer)
    exemplars = signal_vectors(path, names, images)
    return trust.NaturalPath(
        layers=tuple(run.layers[name] for name in names),
        U={name: _left_vectors(path, name) for name in names},
        means=mean_signals(path, names),
        exemplars={name: np.tile(vectors, (seeds, 1, 1)) for name, vectors in exemplars.items()},
    )


def _best_seeds(
    measures: trust.Measures, pictures: Sequence[Optimised], targets: int
) -> npt.NDArray[np.int64]:
    """For each target its best picture: one that can be trusted, if there is one.

    Of these it is the one most like natural exemplars on its way through the network, among those
    that keep nearly the greatest excess.
    """
    trusted = np.array([not why for why in measures.failed]).reshape(-1, targets)
    whole = np.array([not picture.failed for picture in pictures]).reshape(-1, targets)
    left = np.nan_to_num(measures.excess_unseen, nan=-np.inf).reshape(-1, targets)
    likeness = np.nan_to_num(measures.path_similarity, nan=-np.inf).reshape(-1, targets)
    strong = left >= _NEARLY * left.max(axis=0)
    order = np.lexsort((left, likeness, strong, trusted, whole), axis=0)
    chosen: npt.NDArray[np.int64] = order[-1] * targets + np.arange(targets)
    return chosen


def _dataset(
    targets: Sequence[Target],
    pictures: Sequence[Optimised],
    measures: trust.Measures,
    chosen: npt.NDArray[np.int64],
    rank: int,
) -> xr.Dataset:
    """Pictures of the chosen seeds and what is measured of them, by target."""
    by_vector = ("target", "singular_vector")
    count, seeds = len(targets), len(pictures) // len(targets)
    weights = np.stack([target.row(rank) for target in targets])
    with np.errstate(invalid="ignore"):
        excesses = measures.excess.reshape(seeds, count)
        deviation = excesses.std(axis=0, ddof=1) if seeds > 1 else np.full(count, np.nan)

    def texts(values: Sequence[str]) -> tuple[str, npt.NDArray[np.object_]]:
        return "target", np.array(values, dtype=object)

    measured = {
        field.name: ("target" if values.ndim == 1 else by_vector, values[chosen])
        for field in fields(measures)
        if isinstance(values := getattr(measures, field.name), np.ndarray)
    }
    return xr.Dataset(
        {
            "member": (by_vector, weights != 0),
            "weight": (by_vector, weights),
            "direction": texts([target.direction for target in targets]),
            "objective": texts([target.objective for target in targets]),
            "parametrization": texts([target.parametrization for target in targets]),
            "number": ("target", np.array([target.number for target in targets])),
            "seed": ("target", chosen // count),
            "picture": (
                ("target", "y", "x", "channel"),
                np.stack([pictures[picture].picture for picture in chosen]),
            ),
            **measured,
            "seeds": ("target", np.full(count, seeds)),
            "seed_deviation": ("target", deviation),
            "failed": texts([measures.failed[picture] for picture in chosen]),
        },
        coords={
            "target": np.array([target.key for target in targets], dtype=object),
            "singular_vector": np.arange(rank),
        },
    )
