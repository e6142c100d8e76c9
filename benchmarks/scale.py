"""What 1.28 million images of VGG-16 cost besides their computing: store, schedule, memory.

    python -m benchmarks.scale [--images 1281167] [--workers 2] [--shrink 100]

Creates the real store's template for that many images, writes whole shards of it, and opens it as
every stage does. Then the flow's own loop sends every shard to a real LocalCluster, whose workers
sleep for the time that a shard takes (``--seconds`` an image, divided by ``--shrink``) and write it
in a store of as many images and shards that has one narrow layer, so that the whole takes minutes.
Prints each figure as a row of a table; ``docs/scale.md`` says what they mean.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import numpy as np
import psutil
import xarray as xr
from distributed import Client, LocalCluster
from PIL import Image
from torchvision.datasets import ImageFolder

from ddp_tasks.callables import factories
from ddp_tasks.images.image_sets import open_images
from ddp_tasks.networks.decomposition import layer_coordinates
from ddp_tasks.networks.layers import LinearLayer
from ddp_tasks.stages.bounded_futures import OverWorkers
from ddp_tasks.store import creation, shards
from ddp_tasks.store import groups as store
from ddp_tasks.store.identity import Identity
from ddp_tasks.workers.shard_sizes import ImageCost, WorkerSize, images_per_shard
from flows.clusters import ending
from schemas.parameters import ImageParameters, ModelParameters, RunParameters, ShardParameters

#: Ranks of torchvision's VGG-16, and its operations at 224 x 224.
RANKS = (27, 64, 128, 128, 256, 256, 256, *[512] * 6, 4096, 4096, 1000)
OPERATIONS = 30_940_528_640

#: The one layer of the store that all shards are sent to.
NARROW = (27,)

Result = TypeVar("Result")


def timed(name: str, function: Callable[[], Result]) -> Result:
    """Call a function and print how long it took, and what it added to this process."""
    process = psutil.Process()
    before = process.memory_info().rss
    start, spent = time.perf_counter(), time.process_time()
    result = function()
    seconds, spent = time.perf_counter() - start, time.process_time() - spent
    grown = (process.memory_info().rss - before) / 2**20
    print(
        f"| {name} | {seconds:.2f} s, {spent:.2f} s of processor | {grown:+.0f} MiB |", flush=True
    )
    return result


class Listing(ImageFolder):
    """What walking through ImageNet's folders gives; every file is the same grey picture."""

    def __init__(self, images: int) -> None:
        self.root, self.transform, self.target_transform = "/data/imagenet/train", None, None
        self.targets = (np.arange(images) * 1000 // images).tolist()
        self.classes = [f"n{t:08d}" for t in range(1000)]
        self.class_to_idx = {name: t for t, name in enumerate(self.classes)}
        self.samples = self.imgs = [
            (f"{self.root}/n{t:08d}/n{t:08d}_{i}.JPEG", t) for i, t in enumerate(self.targets)
        ]
        self.loader = lambda _: Image.new("RGB", (8, 8), (127, 127, 127))


def image_set(images: int) -> None:
    """Ids, targets and names of classes from such a listing, less the time to make it."""
    listing = Listing(images)
    with mock.patch.object(factories, "call", return_value=listing):
        parameters = ImageParameters(factory="torchvision.datasets:ImageNet")
        timed("ids and targets of a listing of files", lambda: open_images(parameters))


def template(path: Path, images: int, block: int, ranks: tuple[int, ...] = RANKS) -> None:
    """The store of a run over so many images, with ids as ImageFolder gives them."""
    vectors = max(ranks)
    layers = tuple(
        LinearLayer(f"layer{i}", f"layer{i}", 1, "Linear", (rank, vectors), 1)
        for i, rank in enumerate(ranks)
    )
    target = np.arange(images) * 1000 // images
    described = xr.Dataset(
        {"target": ("image", target), "dataset_index": ("image", np.arange(images))},
        coords={
            "image": np.array(
                [f"n{t:08d}/n{t:08d}_{i}.JPEG" for i, t in enumerate(target)], dtype=object
            ),
            "target_class": np.array([f"n{t:08d}" for t in range(1000)], dtype=object),
            **layer_coordinates(layers, vectors),
        },
    )
    run = RunParameters(
        name="scale",
        model=ModelParameters(factory="torchvision.models:vgg16"),
        images=ImageParameters(factory="torchvision.datasets:ImageNet"),
        shards=ShardParameters(images=block),
    )
    grid = ("layer", "singular_vector")
    unknown = (grid, np.full((len(ranks), vectors), np.nan))
    of_layers = xr.Dataset(
        {
            "kind": ("layer", np.array(["Linear"] * len(ranks), dtype=object)),
            "shape": ("layer", np.array([f"{rank} x {vectors}" for rank in ranks], dtype=object)),
            "rank": ("layer", np.array(ranks)),
            "singular_value": unknown,
            "relative_gap": unknown,
            "block": (grid, np.full((len(ranks), vectors), -1)),
        },
        coords=layer_coordinates(layers, vectors),
    )
    identity = Identity.of_run(run, "model", "images")
    groups = {"layers": of_layers}
    creation.create(path, run, identity, not_analysed={}, groups=groups, signals=described)


def rows(shard: shards.Shard, ranks: tuple[int, ...]) -> dict[str, Any]:
    """Noise in the place of a shard's signals, which compresses as little as they do."""
    random = np.random.default_rng(shard.index)
    signal = np.full((len(shard), len(ranks), max(ranks)), np.nan, np.float32)
    for layer, rank in enumerate(ranks):
        signal[:, layer, :rank] = random.normal(size=(len(shard), rank))
    return {
        "signal": signal,
        "predicted": np.zeros(len(shard), np.int64),
        "confidence": np.ones(len(shard), np.float32),
        "error": np.full(len(shard), "", dtype=object),
        "content_size": np.full(len(shard), 110_000, np.int64),
        "content_digest": random.integers(0, 2**64, len(shard), np.uint64),
    }


def sleep_and_write(path: str, seconds: float, shard: shards.Shard) -> float:
    """What a worker does with a shard, its computing left out; gives the seconds of the rest."""
    time.sleep(seconds * len(shard))
    start = time.perf_counter()
    store.stamp(Path(path))
    shards.write_shard(Path(path), shard, rows(shard, NARROW))
    return time.perf_counter() - start


def write_whole_shards(path: Path, count: int = 3) -> None:
    """Write the first shards of VGG-16's cube in full, and print what one costs."""
    seconds, processor = [], []
    for shard in shards.shards(path)[:count]:
        made = rows(shard, RANKS)
        start, spent = time.perf_counter(), time.process_time()
        shards.write_shard(path, shard, made)
        seconds.append(time.perf_counter() - start)
        processor.append(time.process_time() - spent)
    size = sum(f.stat().st_size for f in (path / "signals/signal/c").rglob("*") if f.is_file())
    print(
        f"| write one shard of {len(shard)} images | {min(seconds):.2f} s, "
        f"{min(processor):.2f} s of processor | {size / count / 2**20:.1f} MiB of file |"
    )


def schedule(path: Path, workers: int, seconds: float) -> None:
    """Send every missing shard to the workers, as the stage of the signals does."""
    missing = shards.missing_shards(path)
    process = psutil.Process()
    with (
        ending(
            LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
            )
        ) as cluster,
        Client(cluster.scheduler_address, set_as_default=False) as client,
    ):
        work = partial(sleep_and_write, str(path), seconds)
        writing, memory = [], []
        start, processor = time.perf_counter(), process.cpu_times()
        for _, written in OverWorkers(client, patience=60)(work, missing):
            writing.append(written)
            memory.append(process.memory_info().rss)
        whole, after = time.perf_counter() - start, process.cpu_times()
    asked = seconds * sum(map(len, missing)) / workers
    spent = after.user + after.system - processor.user - processor.system
    count, tenth = len(missing), memory[len(memory) // 10] / 2**20
    print(
        f"| {count} shards on {workers} workers, {seconds * 1e3:.3g} ms an image | {whole:.1f} s, "
        f"of which asleep {asked:.1f} s, writing {sum(writing) / workers:.1f} s | flow and "
        f"scheduler {1e3 * spent / count:.1f} ms of processor a shard; {tenth:.0f} MiB after a "
        f"tenth of the shards, {memory[-1] / 2**20:.0f} MiB after all |"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1_281_167)
    parser.add_argument("--workers", type=int, default=2, help="of the cluster that sleeps")
    parser.add_argument("--gpus", type=int, default=8, help="for which shards are chosen")
    parser.add_argument("--seconds", type=float, default=1 / 1500, help="one image takes on a GPU")
    parser.add_argument("--shrink", type=float, default=40, help="sleep so many times less")
    parser.add_argument("--folder", type=Path, default=None, help="on the file system to measure")
    asked = parser.parse_args()
    gpus = [WorkerSize(1, 8, 64 * 2**30, "cuda")] * asked.gpus
    block = images_per_shard(asked.images, 64, ImageCost(RANKS, OPERATIONS), gpus)
    print(f"{asked.images} images, {block} a shard; load {os.getloadavg()[0]:.1f}\n")
    print("| what | time | memory |\n| --- | ---: | ---: |")
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        image_set(asked.images)
        path, whole = Path(folder) / "store.zarr", Path(folder) / "whole.zarr"
        timed("create the store", lambda: template(whole, asked.images, block))
        write_whole_shards(whole)
        template(path, asked.images, block, NARROW)
        timed("list the missing shards, none written", lambda: shards.missing_shards(path))
        timed("open the signals (ids and all coordinates)", lambda: store.read(path, "signals"))
        schedule(path, asked.workers, asked.seconds / asked.shrink)
        timed("list the missing shards, all written", lambda: shards.missing_shards(path))
        timed("seal", lambda: store.seal(path))
        timed("open the tree", lambda: xr.open_datatree(path, engine="zarr"))
        predicted = store.read(path, "signals")["predicted"]
        timed("read every image's predicted class", predicted.to_numpy)
        files = [file.stat().st_size for file in path.rglob("*") if file.is_file()]
        print(f"| files | {len(files)} | {sum(files) / 2**20:.0f} MiB |")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(f"| peak of the flow's process | | {peak:.0f} MiB |")


if __name__ == "__main__":
    main()
