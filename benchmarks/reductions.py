"""Reductions over a stored cube beside xarray's, and the cube's size and reading speed.

    python -m benchmarks.reductions [--gigabytes 2] [--folder DIR]

Makes a cube of signals with the ranks of VGG-16 by the store's own means, its classes in the
order of the images as in a tree of folders, and once more scattered; then measures side by side,
each part in a process of its own, and appends a section to benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from ddp_tasks.significance.splits import Split
from ddp_tasks.store import shards

RESULTS = Path(__file__).with_name("RESULTS.md")
VGG16 = (64, 64, 128, 128, 256, 256, 256, *[512] * 6, 4096, 4096, 1000)
BLOCK, CLASSES, SEED = 256, 20, 0
QUANTILES = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.99)

#: All images choose and judge, as in what is compared with.
WHOLE = Split(None, 0)

#: What is asked for.
FASTER, MOST_GIB, MOST_STORED, LEAST_READING = 5.0, 1.5, 1.08, 0.5

#: xarray takes this long over the whole cube; it is measured on these layers, and its seconds a
#: signal stand for the others.
XARRAY_LAYERS = (3, 7)


def make(path: Path, images: int, scattered: bool, ranks: tuple[int, ...] = VGG16) -> None:
    """A store whose cube has these ranks, and signals whose means depend on the class."""
    import xarray as xr

    from ddp_tasks.networks.decomposition import layer_coordinates
    from ddp_tasks.networks.layers import LinearLayer
    from ddp_tasks.store import creation
    from ddp_tasks.store.identity import Identity
    from schemas.run_files import load_run

    names = [f"layer {i}" for i in range(len(ranks))]
    linear = [LinearLayer(n, n, 1, "Linear", (r, 2), 1) for n, r in zip(names, ranks, strict=True)]
    vectors = max(ranks)
    coordinates = layer_coordinates(linear, vectors)
    grid = ("layer", "singular_vector")
    unknown = (grid, np.full((len(names), vectors), np.nan))
    layers = xr.Dataset(
        {
            "kind": ("layer", np.array(["Linear"] * len(names), dtype=object)),
            "shape": ("layer", np.array([f"{r} x 2" for r in ranks], dtype=object)),
            "rank": ("layer", np.array(ranks)),
            "singular_value": unknown,
            "relative_gap": unknown,
            "block": (grid, np.full((len(names), vectors), -1)),
        },
        coords=coordinates,
    )
    random = np.random.default_rng(SEED)
    target = np.arange(images) * CLASSES // images
    if scattered:
        random.shuffle(target)
    signals = xr.Dataset(
        {"target": ("image", target), "dataset_index": ("image", np.arange(images))},
        coords={
            "image": np.array([f"{i:07}" for i in range(images)], dtype=object),
            "target_class": np.array([f"class {c}" for c in range(CLASSES)], dtype=object),
            **coordinates,
        },
    )
    run = load_run("digits", [f"shards.images={BLOCK}"])
    groups = {"layers": layers}
    identity = Identity.of_run(run, "model", "images")
    creation.create(path, run, identity, not_analysed={}, groups=groups, signals=signals)
    means = [random.normal(size=(CLASSES, rank)).astype(np.float32) for rank in ranks]
    signal = np.full((BLOCK, len(ranks), vectors), np.nan, dtype=np.float32)
    for shard in shards.shards(path):
        classes = target[shard.start : shard.stop]
        for layer, rank in enumerate(ranks):
            noise = random.standard_normal((len(shard), rank), dtype=np.float32)
            # Singular values fall off, and the signals with them.
            noise = (noise + means[layer][classes]) / np.sqrt(1 + np.arange(rank))
            signal[: len(shard), layer, :rank] = noise
        confidence = np.ones(len(shard), dtype=np.float32)
        error = np.full(len(shard), "", dtype=object)
        values = {"signal": signal[: len(shard)], "predicted": classes, "confidence": confidence}
        values["error"] = error
        values["content_size"] = np.ones(len(shard), dtype=np.int64)
        values["content_digest"] = np.ones(len(shard), dtype=np.uint64)
        shards.write_shard(path, shard, values)


def significant_images(path: Path, threshold: np.ndarray, slab: Any) -> int:
    """Counts a slab's fractions; gives the sum of those of its first vector."""
    from ddp_tasks.workers import reductions

    layer_threshold = threshold[:, :, slab.layer]
    counts = reductions.significant_counts(path, layer_threshold, CLASSES, WHOLE, slab)
    return int(counts.significant[..., 0].sum())


def ours(path: Path, workers: int) -> dict[str, Any]:
    """Thresholds, then fractions of all levels; with 0 workers in this process."""
    from contextlib import ExitStack

    from distributed import Client

    from ddp_tasks.stages.bounded_futures import OverWorkers
    from ddp_tasks.store.cube import cube_size
    from ddp_tasks.store.slabs import slabs
    from ddp_tasks.workers import reductions
    from flows.clusters import ending, local_cluster

    with ExitStack() as stack:
        mapped: Any = reductions.one_by_one
        if workers:
            # As the flow starts them.
            cluster = stack.enter_context(ending(local_cluster(workers, 1)))
            client = stack.enter_context(Client(cluster, set_as_default=False))
            mapped = OverWorkers(client, patience=60)
        size = cube_size(path)
        whole, narrow = slabs(size), reductions.fraction_slabs(size, len(QUANTILES), CLASSES, 1)
        # The workers of a run have imported everything by then: they wrote the cube.
        first = [whole[0]] * max(1, workers)
        list(mapped(partial(reductions.upper_counts, path, WHOLE), first))
        start = Stopwatch()
        threshold = reductions.thresholds(path, whole, QUANTILES, WHOLE, mapped)
        quantile = start.lap()
        significant = sum(
            found
            for slab, found in mapped(partial(significant_images, path, threshold), narrow)
            if slab.layer == slab.first_vector == 0
        )
        fraction = start.lap()
        return {
            "quantile": quantile,
            "fraction": fraction,
            "threshold": threshold.tolist(),
            "significant": significant,
        }


def xarrays(path: Path, layers: tuple[int, ...]) -> dict[str, Any]:
    """The same of some layers by xarray: a layer loaded at a time, its rank known.

    No levels or directions are repeated for the quantiles; fractions take a comparison and a
    group-by for each of them.
    """
    import xarray as xr

    tree = xr.open_datatree(path, engine="zarr", consolidated=False)
    signals = tree["signals"].ds
    names = signals["target_class"][signals["target"]].astype(object).rename("class").load()
    levels = list(QUANTILES)
    quantile = np.zeros(2)
    fraction = np.zeros(2)
    threshold = {}
    for layer in layers:
        start = Stopwatch()
        loaded = signals["signal"].isel(layer=layer, singular_vector=slice(VGG16[layer])).load()
        doubles = loaded.astype(np.float64)
        q = [
            (sign * doubles).quantile(levels, dim=["image", "singular_vector"], skipna=False)
            for sign in (1, -1)
        ]
        quantile += start.lap()
        loaded = signals["signal"].isel(layer=layer, singular_vector=slice(VGG16[layer])).load()
        for sign, of_direction in zip((1, -1), q, strict=True):
            for level in of_direction:
                exceeds = sign * loaded > level
                exceeds.groupby(names).mean().load()
        fraction += start.lap()
        threshold[layer] = [of_direction.values.tolist() for of_direction in q]
    return {
        "quantile": quantile.tolist(),
        "fraction": fraction.tolist(),
        "threshold": threshold,
    }


def reading(path: Path, scattered: Path) -> dict[str, Any]:
    """MB a second of one layer and one class: ours, plain xarray's, and numpy.load's."""
    import xarray as xr

    from ddp_tasks.store.cube import layer_signals, open_cube, rows_of_layer

    layer, name = "layer 13", "class 7"
    values = layer_signals(path, layer, name).to_numpy()
    with tempfile.TemporaryDirectory() as folder:
        one_class, whole = Path(folder) / "class.npy", Path(folder) / "layer.npy"
        np.save(one_class, values)
        everything = layer_signals(path, layer).to_numpy()
        np.save(whole, everything)
        size, all_bytes = values.nbytes, everything.nbytes
        del everything

        opened = {path: open_cube(path), scattered: open_cube(scattered)}

        def of_class(path: Path, everything: bool = False) -> None:
            # Opened once, as a person or a pass over the cube does.
            cube = opened[path]
            wanted = np.ones(len(cube.target), dtype=bool) if everything else cube.target == 7
            rows_of_layer(cube, 13, VGG16[13], wanted)

        def by_xarray() -> None:
            signals = xr.open_zarr(path, group="signals", consolidated=False, chunks=None)
            of_class = signals["target_class"].to_numpy().tolist().index(name)
            wanted = np.flatnonzero(signals["target"].to_numpy() == of_class)
            rows = slice(int(wanted[0]), int(wanted[-1]) + 1)
            signals["signal"].sel(layer=layer)[rows].load()

        return {
            "bytes": size,
            "numpy.load of one class": rate(size, lambda: np.load(one_class)),
            "one class, classes in order": rate(size, lambda: of_class(path)),
            "the same with the images' ids": rate(size, partial(layer_signals, path, layer, name)),
            "the same by plain xarray": rate(size, by_xarray),
            "numpy.load of the layer": rate(all_bytes, lambda: np.load(whole)),
            "the whole layer": rate(all_bytes, lambda: of_class(path, everything=True)),
            "one class, scattered": rate(size, lambda: of_class(scattered)),
        }


def rate(size: int, read: Callable[[], Any]) -> list[float]:
    """MB a second, median of 15, from the page cache: by the clock and of the processor."""
    laps = []
    for _ in range(16):
        start = time.perf_counter(), time.process_time()
        read()
        laps.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    return [size / 1e6 / middle for middle in np.median(laps[1:], axis=0).tolist()]


class Stopwatch:
    """Seconds by the clock and of this process's and its children's processors."""

    def __init__(self) -> None:
        self._last = self._now()

    def lap(self) -> list[float]:
        """Since the last call, or the beginning."""
        now = self._now()
        passed, self._last = now - self._last, now
        return passed.tolist()

    @staticmethod
    def _now() -> np.ndarray:
        own = psutil.Process()
        times = [own.cpu_times(), *(child.cpu_times() for child in own.children(recursive=True))]
        return np.array([time.perf_counter(), sum(t.user + t.system for t in times)])


def apart(function: str, *arguments: Any) -> tuple[dict[str, Any], float, float]:
    """Run a function of this file in a new process.

    Returns
    -------
    what it returned, and the peak GiB of all its processes together and of the largest
    """
    code = (
        "import json, sys\nfrom pathlib import Path\nfrom benchmarks import reductions\n"
        "if __name__ == '__main__':\n"
        f"    found = reductions.{function}(*{arguments!r})\n"
        "    print(json.dumps(found))\n"
    )
    code = code.replace("PosixPath(", "Path(")
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "part.py"
        script.write_text(code)
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "OMP_NUM_THREADS": "1",
        }
        with subprocess.Popen(
            [sys.executable, script], stdout=subprocess.PIPE, env=environment, text=True
        ) as process:
            watch = PeakMemory(process.pid)
            watch.start()
            output, _ = process.communicate()
            watch.ended.set()
            watch.join()
    if process.returncode:
        raise RuntimeError(f"{function} failed")
    return json.loads(output.splitlines()[-1]), watch.together, watch.largest


class PeakMemory(threading.Thread):
    """Watches the memory of a process and its children, in GiB.

    Together by proportional set size, which counts shared pages once; the largest as resident.
    """

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.process, self.ended = psutil.Process(pid), threading.Event()
        self.together = self.largest = 0.0

    def run(self) -> None:
        """Look ten times a second."""
        while not self.ended.wait(0.1):
            try:
                processes = [self.process, *self.process.children(recursive=True)]
                sizes = [p.memory_full_info() for p in processes]
            except psutil.Error:
                continue
            self.together = max(self.together, sum(s.pss for s in sizes) / 2**30)
            self.largest = max(self.largest, max(s.rss for s in sizes) / 2**30)


def identical(path: Path, threshold: list[Any], layer: int) -> bool:
    """Whether a layer's thresholds are numpy's to the bit."""
    from ddp_tasks.store.cube import layer_signals

    doubles = layer_signals(path, f"layer {layer}").to_numpy().ravel().astype(np.float64)
    found = np.array(threshold)[:, :, layer]
    both = [np.quantile(doubles, QUANTILES), np.quantile(-doubles, QUANTILES)]
    return bool(np.array_equal(found, np.stack(both)))


def measured(folder: Path, gigabytes: float) -> list[str]:
    """The section's lines."""
    images = int(gigabytes * 1e9 / 4 / sum(VGG16))
    path, scattered = folder / "ordered.zarr", folder / "scattered.zarr"
    watch = Stopwatch()
    make(path, images, False)
    make_seconds = watch.lap()
    make(scattered, images, True)
    ragged = 4 * sum(VGG16) * images
    files = (f for f in (path / "signals" / "signal").rglob("*") if f.is_file())
    stored = sum(f.stat().st_size for f in files) / ragged
    alone, alone_together, alone_largest = apart("ours", path, 0)
    both, both_together, both_largest = apart("ours", path, 2)
    theirs, their_together, _ = apart("xarrays", path, XARRAY_LAYERS)
    rates, _, _ = apart("reading", path, scattered)
    assert alone["threshold"] == both["threshold"]
    assert alone["significant"] == both["significant"]
    same = [identical(path, alone["threshold"], layer) for layer in (0, *XARRAY_LAYERS)]
    agree = all(
        np.array_equal(np.array(alone["threshold"])[:, :, layer], theirs["threshold"][str(layer)])
        for layer in XARRAY_LAYERS
    )
    scale = sum(VGG16) / sum(VGG16[layer] for layer in XARRAY_LAYERS)
    xarray_seconds = {part: [scale * s for s in theirs[part]] for part in ("quantile", "fraction")}
    lines = [
        f"A cube of {images:,} images with VGG-16's ranks ({ragged / 1e9:.2f} GB of signals), "
        f"{len(QUANTILES)} levels, both directions, {CLASSES} classes; xarray's seconds are "
        f"measured on layers {' and '.join(map(str, XARRAY_LAYERS))} and scaled by signals.",
        "",
        "| part | one process: clock, s | processor, s | 2 workers: clock, s | processor, s | "
        "xarray, one process: clock, s | processor, s | ratio, processor | "
        "ratio of one process each by the clock |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    total = np.zeros(6)
    for part in ("quantile", "fraction"):
        row = np.array([*alone[part], *both[part], *xarray_seconds[part]])
        total += row
        lines.append(_row(part, row))
    lines += [
        _row("both", total),
        "",
        f"Asked for {FASTER:g} times: {_reached(total[5] / total[1] >= FASTER)}. Peak memory in "
        f"one process {alone_largest:.2f} GiB; with 2 workers {both_together:.2f} GiB together, "
        f"{both_largest:.2f} GiB the largest; asked for {MOST_GIB:g}: "
        f"{_reached(max(alone_together, both_together) <= MOST_GIB)}. xarray, layer by layer: "
        f"{their_together:.2f} GiB.",
        "",
        f"Thresholds identical to numpy.quantile's of layers 0, {XARRAY_LAYERS}: "
        f"{_reached(all(same))}; to xarray's: {_reached(agree)}; of 2 workers to those of one "
        "process: reached.",
        "",
        f"Stored bytes over the signals' ragged size: {stored:.4f}; asked for at most "
        f"{MOST_STORED:g}: {_reached(stored <= MOST_STORED)}. Made and written at "
        f"{ragged / 1e6 / make_seconds[1]:.0f} MB a second of the processor, most of it drawing "
        "random numbers.",
        "",
        f"Reading a layer of rank 4096, of one class {rates['bytes'] / 1e6:.1f} MB, from the page "
        "cache:",
        "",
        "| | MB/s by the clock | MB/s of the processor | over numpy.load, processor |",
        "| --- | ---: | ---: | ---: |",
    ]
    load = rates.pop("numpy.load of one class"), rates.pop("numpy.load of the layer")
    rates.pop("bytes")
    for name, (clock, processor) in rates.items():
        against = load[name == "the whole layer"][1]
        lines.append(f"| {name} | {clock:.0f} | {processor:.0f} | {processor / against:.2f} |")
    reached = rates["one class, classes in order"][1] / load[0][1] >= LEAST_READING
    lines += [
        f"| numpy.load of one class | {load[0][0]:.0f} | {load[0][1]:.0f} | 1 |",
        "",
        f"Asked for {LEAST_READING:g} with the classes in order: {_reached(reached)}. Scattered "
        f"over the images, a class costs the reading of the shards that hold it: 1 in {CLASSES} "
        "of the rows read is wanted.",
    ]
    return lines


def _row(name: str, row: np.ndarray) -> str:
    clock, processor, _, _, xarray_clock, xarray_processor = row
    seconds = " | ".join(f"{s:.1f}" for s in row)
    return (
        f"| {name} | {seconds} | {xarray_processor / processor:.1f} | {xarray_clock / clock:.1f} |"
    )


def _reached(yes: bool) -> str:
    return "reached" if yes else "not reached"


def main() -> None:
    """Measure and append."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=2.0, help="of signals")
    parser.add_argument("--folder", type=Path, help="where the cubes are made, twice that size")
    asked = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        lines = measured(Path(folder), asked.gigabytes)
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}"
        for name in ("numpy", "xarray", "zarr", "distributed")
    )
    section = [
        f"\n## Reductions over the cube, {datetime.date.today().isoformat()}",
        "",
        f"`python -m benchmarks.reductions --gigabytes {asked.gigabytes:g}`; {os.cpu_count()} "
        f"cores, load {load:.1f} at the start, {platform.machine()}, Python "
        f"{platform.python_version()}, {versions}.",
        "",
        *lines,
    ]
    with RESULTS.open("a") as file:
        file.write("\n".join(section) + "\n")
    print("\n".join(section))


if __name__ == "__main__":
    main()
