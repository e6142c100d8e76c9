"""The stages of a run as Prefect tasks: open, call, write.

Every stage reads its inputs from the store and writes its outputs there, so tasks pass paths
and parameters, never arrays; and every stage may run twice.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast
from uuid import UUID

import numpy as np
import numpy.typing as npt
import torch
from distributed import Client
from prefect import Task, get_run_logger, task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ddp_tasks import decomposition, exemplars, hif, reductions, report, store
from ddp_tasks.bounded_futures import outcomes, results
from ddp_tasks.cube import cube_size
from ddp_tasks.identity import Identity
from ddp_tasks.images import open_images
from ddp_tasks.layer_decompositions import Decomposed, cost, decompose_layer, folding_of
from ddp_tasks.layer_hypergraphs import layer_hypergraph
from ddp_tasks.layers import LinearLayer
from ddp_tasks.models import model_digest, open_model
from ddp_tasks.preparation import Prepared, prepare
from ddp_tasks.semantic_hierarchy import hierarchy_dataset
from ddp_tasks.shard_sizes import ImageCost, forward_operations, images_per_shard, worker_size
from ddp_tasks.significance import layer_table, share, tables_dataset
from ddp_tasks.slabs import Slab, slabs
from ddp_tasks.summary import Summary, summarise
from ddp_tasks.tensor_svd import GAP_TOLERANCE, relative_gaps
from ddp_tasks.training import images_trained_on, train
from schemas.parameters import ModelParameters, RunError, RunParameters, stored_identity

#: Attempts after the first that a slab gets.
_RETRIES = 2

_SECONDS_BETWEEN_UPDATES = 2.0

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def stage(name: str) -> Callable[[Callable[Arguments, Result]], Task[Arguments, Result]]:
    """A Prefect task that is never looked up in a cache: the store itself knows what is done."""
    return task(name=name, cache_policy=NO_CACHE, persist_result=False)


@contextmanager
def progress(key: str, description: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how far a stage is, as a bar in the terminal and as an artifact in Prefect.

    Yields a function that is told the number of items just finished.
    """
    artifact = cast("UUID", create_progress_artifact(0.0, key=key, description=description))
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    finished, shown = 0, time.monotonic()

    def advance(items: int) -> None:
        nonlocal finished, shown
        finished += items
        bar.update(line, completed=finished)
        if time.monotonic() - shown > _SECONDS_BETWEEN_UPDATES:
            shown = time.monotonic()
            update_progress_artifact(artifact, progress=100 * finished / total)
            if bar.disable:
                get_run_logger().info("%s: %d of %d", description, finished, total)

    with bar:
        line = bar.add_task(description, total=total)
        yield advance
    update_progress_artifact(artifact, progress=100 * finished / total if total else 100.0)


@stage("train")
def train_model(run: RunParameters, checkpoint: Path) -> ModelParameters:
    """Train the run's network where it asks for that, and keep it; give the trained model.

    A checkpoint that the same training left is used again.

    Raises
    ------
    RunError
        If the checkpoint comes from another training.
    """
    training = run.model.training
    if training is None:
        return run.model
    trained = run.model.model_copy(update={"weights": str(checkpoint), "training": None})
    asked = run.model_dump_json(include={"model": True, "images": {"factory", "kwargs"}})
    if checkpoint.exists():
        kept = torch.load(checkpoint, map_location="cpu", weights_only=True)
        if kept.get("trained_by") != asked:
            raise RunError(f"{checkpoint} comes from another training. Choose another --out")
        get_run_logger().info("using the network trained before, %s", checkpoint)
        return trained
    images = open_images(run.images.training_set(training))
    with progress(
        "training", f"training {run.name}", images_trained_on(len(images), training)
    ) as done:
        model = train(partial(open_model, run.model), images, training, done)
    part = checkpoint.with_suffix(".part")
    torch.save({"state_dict": model.state_dict(), "trained_by": asked}, part)
    part.replace(checkpoint)
    return trained


@stage("decompose")
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
    if path.exists():
        store.check_continuable(path, identity)
        log.info("continuing %s", path)
        return
    not_analysed = dict(prepared.layers.not_analysed)
    for name, why in not_analysed.items():
        log.warning("not analysed: %s (%s)", name, why)
    for name, why in folding_of(run, prepared).refused.items():
        log.warning("no BatchNorm is folded into %s: %s", name, why)
    with Client(scheduler, set_as_default=False) as client:
        found, refused = _decompositions(run, prepared.layers.linear, client)
        not_analysed |= refused
        if not found:
            raise RunError(f"no layer of {run.model.factory!r} has a decomposition: {refused}")
        run = _with_shards(run, prepared, [one.svd.rank for one in found.values()], client)
    layers = tuple(layer for layer in prepared.layers.linear if layer.name in found)
    svd = {name: decomposed.svd for name, decomposed in found.items()}
    datasets = {"layers": decomposition.layers_dataset(layers, svd)}
    for name, decomposed in found.items():
        datasets[f"decomposition/{name}"] = decomposition.decomposition_dataset(
            decomposed.svd, run.right_singular_vectors
        ).assign_attrs(batch_norm=decomposed.batch_norm)
    vectors = datasets["layers"].sizes["singular_vector"]
    coordinates = decomposition.layer_coordinates(layers, vectors)
    store.create(
        path,
        run,
        replace(identity, parameters=stored_identity(run)),
        not_analysed=not_analysed,
        groups=datasets,
        signals=prepared.images.described().assign_coords(coordinates),
    )


def _decompositions(
    run: RunParameters, layers: Sequence[LinearLayer], client: Client
) -> tuple[dict[str, Decomposed], dict[str, str]]:
    """Decompose layers on the Dask workers, the costliest first.

    Returns
    -------
    decompositions in forward order, and why layers without one have none
    """
    log = get_run_logger()
    found: dict[str, Decomposed] = {}
    refused: dict[str, str] = {}
    by_name = {layer.name: layer for layer in sorted(layers, key=cost, reverse=True)}
    decompose = partial(decompose_layer, run.model_dump_json())
    with progress("decomposition", "decomposing layers", len(layers)) as done:
        for outcome in outcomes(
            client, decompose, by_name, retries=0, patience=run.shards.patience
        ):
            layer = by_name[outcome.item]
            done(1)
            if isinstance(outcome.error, ValueError):
                refused[layer.name] = str(outcome.error)
                log.warning("not analysed: %s (%s)", layer.name, outcome.error)
                continue
            if outcome.error is not None:
                raise RunError(f"layer {layer.name}: {outcome.error}") from outcome.error
            assert outcome.result is not None
            found[layer.name] = outcome.result
            svd = outcome.result.svd
            log.info("%s: %s, rank %d", layer.name, "×".join(map(str, layer.shape)), svd.rank)
            if close := int((relative_gaps(svd.S) < GAP_TOLERANCE).sum()):
                log.warning(
                    "%s: %d singular values are too close to tell their vectors apart",
                    layer.name,
                    close,
                )
    return {one.name: found[one.name] for one in layers if one.name in found}, refused


def _with_shards(
    run: RunParameters, prepared: Prepared, ranks: Sequence[int], client: Client
) -> RunParameters:
    """The run with the images of one shard chosen, where it leaves that to us."""
    shards = run.shards
    if shards.images != "auto":
        return run
    workers = list(client.run(worker_size).values())
    operations = forward_operations(prepared.model, prepared.images.batch(0, 1))
    images = images_per_shard(
        len(prepared.images), shards.batch_size, ImageCost(ranks, operations), workers
    )
    get_run_logger().info(
        "%d images a shard: %.3g MB of signals, %.3g operations an image, %d threads",
        images,
        4e-6 * sum(ranks) * images,
        operations,
        sum(worker.threads for worker in workers),
    )
    return run.model_copy(update={"shards": shards.model_copy(update={"images": images})})


@stage("significance")
def measure_significance(run: RunParameters, path: Path, scheduler: str) -> None:
    """Compute thresholds and class tables at all quantile levels of the run.

    What was computed of the finished cube before is kept.
    """
    if _kept(path, "significance"):
        return
    layers = store.read(path, "layers").load()
    target_classes = store.read(path, "signals")["target_class"].to_numpy().tolist()
    quantiles, classes = run.significance.quantiles, len(target_classes)
    cube = cube_size(path)
    pieces, narrow = slabs(cube), reductions.fraction_slabs(cube, len(quantiles), classes)
    total = 2 * len(pieces) + len(narrow)
    with _over_workers(run, scheduler, "significance", "thresholds and fractions", total) as mapped:
        threshold = reductions.thresholds(path, pieces, quantiles, mapped)
        # An array of this shape may be larger than memory; only its shape is used.
        shape = (*threshold.shape[:2], classes, len(cube.ranks), max(cube.ranks))
        tables: dict[str, npt.NDArray[Any]] = {
            "threshold": threshold,
            "fraction": np.broadcast_to(np.float32(np.nan), shape),
            "images": np.zeros(classes, dtype=np.int64),
        }
        empty = tables_dataset(tables, layers, target_classes, quantiles)
        # The widest slab sets the width: each of them is then written to a file of its own.
        region = (*shape[:3], 1, max(slab.width for slab in narrow))
        store.write_template(path, "significance", empty, {"fraction": region})
        for found in reductions.significant_counts(path, narrow, threshold, classes, mapped):
            place = (slice(None), slice(None), slice(None), found.layer, found.vectors)
            fraction = share(found.significant, found.images)
            store.write_region(path, "significance", "fraction", place, fraction)
        store.write_region(path, "significance", "images", (slice(None),), found.images)
    store.finish(path, "significance")


@stage("exemplars")
def find_exemplars(run: RunParameters, path: Path, scheduler: str) -> None:
    """Find the strongest images of every singular vector.

    What was found in the finished cube before is kept.
    """
    if _kept(path, "exemplars"):
        return
    ids = store.read(path, "signals")["image"].to_numpy().tolist()
    layers = store.read(path, "layers").load()
    pieces = slabs(cube_size(path))
    with _over_workers(run, scheduler, "exemplars", "strongest images", len(pieces)) as mapped:
        places = min(run.exemplars, len(ids))
        strongest = reductions.strongest_images(path, pieces, places, mapped)
    store.write(path, "exemplars", exemplars.exemplars_dataset(strongest, layers, ids))
    store.finish(path, "exemplars")


def _kept(path: Path, group: str) -> bool:
    """Whether a reduction of the cube is finished; refuses a cube that is not."""
    if missing := store.missing_shards(path):
        raise RunError(f"{len(missing)} shards of {path} are not written yet")
    if kept := store.is_finished(path, group):
        get_run_logger().info("%s: kept from before", group)
    return kept


@contextmanager
def _over_workers(
    run: RunParameters, scheduler: str, key: str, description: str, total: int
) -> Iterator[reductions.Mapped]:
    """Map over slabs on the Dask workers, a worker's death costing only what it worked on."""
    with (
        Client(scheduler, set_as_default=False) as client,
        progress(key, description, total) as done,
    ):

        def mapped(
            function: Callable[[Slab], Result], pieces: Iterable[Slab], /
        ) -> Iterator[tuple[Slab, Result]]:
            for slab, result in results(
                client, function, pieces, retries=_RETRIES, patience=run.shards.patience
            ):
                done(1)
                yield slab, result

        yield mapped


@stage("hypergraphs")
def build_hypergraphs(run: RunParameters, path: Path, folder: Path, scheduler: str) -> None:
    """Build each layer's hypergraph and semantic hierarchy; write HIF files and the store."""
    folder.mkdir(exist_ok=True)
    log = get_run_logger()
    layers = store.read(path, "layers").load()
    significance = store.read(path, "significance")
    ids = store.read(path, "signals")["image"].to_numpy().tolist()
    names = layers["layer"].to_numpy().tolist()
    target_classes = significance["target_class"].to_numpy().tolist()
    hierarchies = []
    with progress("hypergraphs", "hypergraphs of layers", len(names)) as done:
        for layer in names:
            quantile, percentage = run.significance.of_layer(layer)
            table = layer_table(significance, layer, quantile, percentage)
            found = layer_hypergraph(table, layers.sel(layer=layer), (quantile, percentage))
            metadata = {
                "run": run.name,
                "quantile": quantile,
                "percentage": percentage,
                "threshold": float(table["threshold"]),
            }
            if found.empty:
                log.warning("%s: %s", layer, found.empty)
                metadata["empty"] = found.empty
            hif.write_hif(found.graph, metadata, folder / f"{layer}.hif.json")
            store.write(path, f"hypergraphs/{layer}", found.relations)
            hierarchies.append(found.hierarchy)
            done(1)
    sets = [exemplars.vector_sets(found.singular_vectors) for found in hierarchies]
    pieces = slabs(cube_size(path))
    with _over_workers(
        run, scheduler, "class-exemplars", "exemplars of classes", len(pieces)
    ) as mapped:
        strongest = reductions.class_exemplars(path, pieces, sets, len(target_classes), mapped)
    for layer, hierarchy, best in zip(names, hierarchies, strongest, strict=True):
        of_layer = layers.sel(layer=layer)
        dataset = hierarchy_dataset(hierarchy, of_layer, target_classes, best, ids)
        store.write(path, f"hierarchies/{layer}", dataset)


@stage("report")
def write_report(run: RunParameters, path: Path, page: Path) -> Summary:
    """Seal the store and lay its figures out as one page that opens with no network."""
    store.seal(path)
    summary = summarise(
        run,
        store.read(path, "layers").load(),
        store.read(path, "signals"),
        store.read(path, "significance").load(),
    )
    names = store.read(path, "layers")["layer"].to_numpy().tolist()
    findings = report.Findings(
        run=run,
        summary=summary,
        attributes=store.root_attributes(path),
        not_analysed=json.loads(store.root_attributes(path)["not_analysed"]),
        layers=store.read(path, "layers").load(),
        signals=store.read(path, "signals"),
        significance=store.read(path, "significance").load(),
        family=store.read(path, "family").load(),
        stability={
            layer: store.read(path, f"stability/{layer}").load()
            for layer in store.read(path, "layers")["layer"].to_numpy().tolist()
            if store.group_attributes(path, f"stability/{layer}")
        },
        exemplars=store.read(path, "exemplars").load(),
        hypergraphs={n: store.read(path, f"hypergraphs/{n}").load() for n in names},
        hierarchies={n: store.read(path, f"hierarchies/{n}").load() for n in names},
        images=open_images(run.images),
        capacity=store.read(path, "capacity").load() if run.capacity else None,
    )
    part = page.with_suffix(".part")
    part.write_text(report.render(findings))
    part.replace(page)
    return summary
