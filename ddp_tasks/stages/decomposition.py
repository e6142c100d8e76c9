"""Training a run's model if asked, and decomposing its layers into a store, as Prefect tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from prefect import get_run_logger
from torch import Tensor

from ddp_tasks.callables.called_code import ENDINGS
from ddp_tasks.files.whole import replacing
from ddp_tasks.images.image_sets import open_images
from ddp_tasks.networks import decomposition
from ddp_tasks.networks.layers import LinearLayer
from ddp_tasks.networks.models import check_weights, model_digest, open_model
from ddp_tasks.networks.training import images_trained_on, train
from ddp_tasks.prepared_run import (
    Prepared,
    by_reason,
    check_trained,
    prepare,
    reason_of,
    training_digest,
)
from ddp_tasks.stages.bounded_futures import on_each_worker
from ddp_tasks.stages.stage import over_workers, progress, stage
from ddp_tasks.store import creation, groups, trees, wholeness
from ddp_tasks.store.identity import Identity, MadeOf
from ddp_tasks.weights.layer_vectors import GAP_TOLERANCE
from ddp_tasks.weights.tensor_svd import Spectrum, relative_gaps
from ddp_tasks.workers.decomposition import cost, decompose_layer, folding_of
from ddp_tasks.workers.shard_sizes import (
    ImageCost,
    forward_operations,
    images_per_shard,
    worker_size,
)
from ddp_tasks.workers.stored_run import StoredRun
from schemas.parameters import RunError, RunParameters
from schemas.recording import stored_identity


def _trained(run: RunParameters, checkpoint: Path) -> str | None:
    """Why no network is trained; refuses a checkpoint of another training."""
    if run.model.training is None:
        return ""
    if not checkpoint.exists():
        return None
    check_trained(run, checkpoint)
    return f"using the network trained before, {checkpoint}"


@stage("train", unless=_trained)
def train_model(run: RunParameters, checkpoint: Path) -> None:
    """Train the run's network if it asks for that, and save it.

    A checkpoint of the same training is used again.

    Raises
    ------
    RunError
        If the checkpoint comes from another training, or the network cannot be trained: it fails
        in training mode, or its weights become infinite or NaN.
    """
    training = run.model.training
    assert training is not None
    images = open_images(run.images.training_set(training))
    with progress(
        "training", f"training {run.name}", images_trained_on(len(images), training)
    ) as advance:

        def done(images: int, loss: Tensor) -> None:
            advance(images, lambda: f"loss {loss.item():.4f}")

        build, part = partial(open_model, run.model), run.model.output
        try:
            model = train(build, images, training, done, None if part is None else str(part))
        except RunError:
            raise
        except ENDINGS as error:  # a network is the person's own code
            raise RunError(
                f"model.training: {run.model.factory!r} cannot be trained on images of shape "
                f"{images.shape}, {training.batch_size} at a time: {reason_of(error)}"
            ) from error
    check_weights(model, f"model.training of {run.name!r}")
    with replacing(checkpoint) as file:
        kept = {"state_dict": model.state_dict(), "trained_by": training_digest(run)}
        torch.save(kept, file)


def _continued(run: RunParameters, path: Path, _scheduler: str) -> str | None:
    """Whether there is a store; refuses that of another run, and makes it ready to go on."""
    if not trees.exists(path):
        return None
    prepared = prepare(run)
    identity = Identity.of_run(run, model_digest(prepared.model), prepared.images.digest())
    wholeness.check_continuable(path, identity)
    groups.unseal(path)
    return f"continuing {path}"


@stage("decompose", after=["train"], unless=_continued)
def decompose_layers(run: RunParameters, path: Path, scheduler: str) -> None:
    """Decompose every linear layer and create the store, or check that it may be continued.

    Raises
    ------
    RunError
        If the store at the path belongs to another run, or a layer has no decomposition.
    """
    log = get_run_logger()
    prepared = prepare(run)
    identity = Identity.of_run(run, model_digest(prepared.model), prepared.images.digest())
    if prepared.weights is not None:
        log.info("weights of %s: %s", run.model.weights, prepared.weights)
    not_analysed = dict(prepared.layers.not_analysed)
    for modules in by_reason(not_analysed):
        log.warning("not analysed: %s", modules)
    for some in by_reason(folding_of(run, prepared).refused):
        log.warning("no BatchNorm is folded into %s", some)
    begun = creation.begin(path)
    assert identity.model_digest is not None
    decompose = partial(
        decompose_layer,
        StoredRun(
            begun, run.model_dump_json(), MadeOf(identity.model_digest, identity.images_digest)
        ),
    )
    spectra, refused = _decompositions(run, decompose, prepared.layers.linear, scheduler)
    not_analysed |= refused
    if not spectra:
        raise RunError(f"no layer of {run.model.factory!r} has a decomposition: {refused}")
    if run.shards.images == "auto":
        ranks = [spectrum.rank for spectrum in spectra.values()]
        run = _with_shards(run, prepared, ranks, scheduler)
    layers = tuple(layer for layer in prepared.layers.linear if layer.name in spectra)
    layers_table = decomposition.layers_dataset(layers, spectra)
    coordinates = decomposition.layer_coordinates(layers, layers_table.sizes["singular_vector"])
    creation.create(
        path,
        run,
        replace(identity, parameters=stored_identity(run), weights=str(prepared.weights or "")),
        not_analysed=not_analysed,
        groups={"layers": layers_table},
        signals=prepared.images.described().assign_coords(coordinates),
    )


def _decompositions(
    run: RunParameters,
    decompose: Callable[[str], Spectrum],
    layers: Sequence[LinearLayer],
    scheduler: str,
) -> tuple[dict[str, Spectrum], dict[str, str]]:
    """Have the Dask workers decompose layers, the costliest first, and write the results.

    Parameters
    ----------
    decompose
        called on a worker with a layer's name.

    Returns
    -------
    spectra in forward order, and reasons why other layers have no decomposition
    """
    log = get_run_logger()
    spectra: dict[str, Spectrum] = {}
    refused: dict[str, str] = {}
    close: dict[str, str] = {}
    by_name = {layer.name: layer for layer in sorted(layers, key=cost, reverse=True)}
    with over_workers(
        scheduler,
        run.shards.patience,
        key="decomposition",
        description="decomposing layers",
        total=len(layers),
    ) as mapped:
        for outcome in mapped.outcomes(decompose, by_name):
            layer = by_name[outcome.item]
            if isinstance(outcome.error, ValueError) and not isinstance(outcome.error, RunError):
                refused[layer.name] = str(outcome.error)
                mapped.advance(1)
                log.warning("not analysed: %s (%s)", layer.name, outcome.error)
                continue
            if outcome.error is not None:
                raise RunError(f"layer {layer.name}: {outcome.error}") from outcome.error
            assert outcome.result is not None
            spectra[layer.name] = outcome.result
            shape, rank = "×".join(map(str, layer.shape)), outcome.result.rank
            log.info("%s: %s, rank %d", layer.name, shape, rank)
            if (relative_gaps(outcome.result.S) < GAP_TOLERANCE).any():
                close[layer.name] = "singular values so close that their vectors are arbitrary"
    for some in by_reason(close):
        log.warning("%s", some)
    return {layer.name: spectra[layer.name] for layer in layers if layer.name in spectra}, refused


def _with_shards(
    run: RunParameters, prepared: Prepared, ranks: Sequence[int], scheduler: str
) -> RunParameters:
    """The run with a number of images per shard that suits its workers."""
    shards = run.shards
    workers = on_each_worker(scheduler, shards.patience, worker_size)
    layers = prepared.layers
    operations = forward_operations(prepared.model, layers.images[:1], layers.convention)
    images = images_per_shard(
        len(prepared.images), shards.batch_size, ImageCost(ranks, operations), workers
    )
    get_run_logger().info(
        "%d images per shard: %.3g MB of signals, %.3g operations per image, %d threads",
        images,
        4e-6 * sum(ranks) * images,
        operations,
        sum(worker.threads for worker in workers),
    )
    return run.model_copy(update={"shards": shards.model_copy(update={"images": images})})
