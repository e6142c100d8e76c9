"""Shards of a cube written and read by ``shard_files``, beside Zarr itself.

    python -m benchmarks.sharding [--turns 9]

Cubes with the ranks of ResNet-20, ResNet-18 and VGG-16, cut as runs cut them. Three things are
measured, in turns: the signals of one shard are written; one layer, the widest, is read over all
shards, shard by shard, as the passes over the cube do; the same layer is read at once. Zarr reads
and writes with the threads that a worker of two cores has, one; where the package ``zarrs`` is
installed, its pipeline of codecs, made of Rust, stands beside it. ``shard_files`` holds all that it
reads against the checksums that the group keeps; Zarr holds each chunk against its own alone.
Appends a section to benchmarks/RESULTS.md: milliseconds of processor time, the median of all turns,
and the greatest memory that NumPy and Python allocate meanwhile.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import importlib.util
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from ddp_tasks.store import sharded_group
from ddp_tasks.store.shard_files import ShardFiles
from ddp_tasks.store.slabs import vectors_per_chunk

RESULTS = Path(__file__).with_name("RESULTS.md")

#: Ranks of the layers, images of a shard, and shards.
CUBES: dict[str, tuple[list[int], int, int]] = {
    "ResNet-20": ([16] * 7 + [32] * 6 + [64] * 6 + [10], 64, 16),
    "ResNet-18": ([64] * 5 + [128] * 5 + [256] * 5 + [512] * 5 + [512], 128, 8),
    "VGG-16": ([27, 64, 128, 128, *[256] * 3, *[512] * 6, 4096, 4096, 1000], 192, 4),
}
#: Zarr's own pipeline of codecs, and that of zarrs.
PIPELINES = {
    "Zarr": "zarr.core.codec_pipeline.BatchedCodecPipeline",
    "Zarr with zarrs": "zarrs.ZarrsCodecPipeline",
}


@dataclass(frozen=True)
class Cube:
    """A written cube and the signals of one of its shards."""

    folder: Path
    block: int
    shards: int
    layer: int
    """the widest"""
    rank: int
    """of that layer"""
    rows: npt.NDArray[np.float32]


def cube(path: Path, ranks: list[int], block: int, shards: int) -> Cube:
    """A store of signals and their checksums alone, every shard of it written here."""
    folder = path / "signals"
    zarr.open_group(store=path, mode="w", zarr_format=3).create_group(folder.name)
    shape = (block * shards, len(ranks), max(ranks))
    signal = sharded_group.signals_template(shape, block, min(vectors_per_chunk(ranks), max(ranks)))
    templates = {"signal": signal, "checksum": sharded_group.checksum_template(signal)}
    sharded_group.create_arrays(path, folder.name, templates, shards)
    rows = np.full((block, *shape[1:]), np.nan, dtype=np.float32)
    random = np.random.default_rng(0)
    for layer, rank in enumerate(ranks):
        rows[:, layer, :rank] = random.normal(size=(block, rank))
    for shard in range(shards):
        images = slice(shard * block, (shard + 1) * block)
        sharded_group.write_shard(folder, shard, images, {"signal": rows})
    layer = int(np.argmax(ranks))
    return Cube(folder, block, shards, layer, ranks[layer], rows)


def ways(one: Cube) -> dict[str, dict[str, Callable[[], Any]]]:
    """What is measured, by its name and by who does it."""
    files = ShardFiles.of_group(one.folder)
    width = slice(0, one.rank)

    def read(shard: int, into: npt.NDArray[np.float32]) -> None:
        files.read(shard, slice(0, one.block), one.layer, width, into)

    def whole() -> npt.NDArray[np.float32]:
        signals = np.empty((one.block * one.shards, one.rank), dtype=np.float32)
        for shard in range(one.shards):
            read(shard, signals[shard * one.block : (shard + 1) * one.block])
        return signals

    def by_shard() -> None:
        part = np.empty((one.block, one.rank), dtype=np.float32)
        for shard in range(one.shards):
            read(shard, part)

    found: dict[str, dict[str, Callable[[], Any]]] = {
        "write a shard": {"shard_files": lambda: files.write(0, one.rows)},
        "read a layer by shards": {"shard_files": by_shard},
        "read a layer at once": {"shard_files": whole},
    }
    for name, pipeline in PIPELINES.items():
        if name != "Zarr" and importlib.util.find_spec("zarrs") is None:
            continue
        with zarr.config.set({"codec_pipeline.path": pipeline}):
            opened: Any = zarr.open_group(store=one.folder, mode="r+", use_consolidated=False)
            array = opened["signal"]
        blocks = [slice(i * one.block, (i + 1) * one.block) for i in range(one.shards)]
        found["write a shard"][name] = lambda a=array, b=blocks: a.__setitem__(b[0], one.rows)
        found["read a layer by shards"][name] = lambda a=array, b=blocks: [
            a[rows, one.layer, width] for rows in b
        ]
        found["read a layer at once"][name] = lambda a=array: a[:, one.layer, width]
        np.testing.assert_array_equal(array[:, one.layer, width], whole())
    return found


def milliseconds(work: Callable[[], Any]) -> float:
    """Processor time of one call, of all threads."""
    start = time.process_time()
    work()
    return (time.process_time() - start) * 1e3


def mebibytes(work: Callable[[], Any]) -> float:
    """The greatest memory allocated meanwhile."""
    tracemalloc.start()
    work()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / 2**20


def lines_of(folder: Path, turns: int) -> list[str]:
    """Rows of the table."""
    rows = []
    for name, (ranks, block, shards) in CUBES.items():
        made = cube(folder / f"{name}.zarr", ranks, block, shards)
        for what, by_whom in ways(made).items():
            taken: dict[str, list[float]] = {who: [] for who in by_whom}
            for turn in range(turns + 1):
                for who in list(by_whom)[:: 1 if turn % 2 else -1]:
                    spent = milliseconds(by_whom[who])
                    if turn:
                        taken[who].append(spent)
            memory = {who: mebibytes(work) for who, work in by_whom.items()}
            cells = [f"{median(taken[who]):.2f} ({memory[who]:.1f})" for who in by_whom]
            rows.append(f"| {name}, {shards} shards of {block} | {what} | {' | '.join(cells)} |")
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Measure and append."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=9)
    arguments = parser.parse_args()
    one = {"threading.max_workers": 1, "async.concurrency": 1}
    with tempfile.TemporaryDirectory() as folder, zarr.config.set(one):
        rows = lines_of(Path(folder), arguments.turns)
    there = [name for name in ("zarr", "zarrs") if importlib.util.find_spec(name)]
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in there)
    names = ["shard_files", *list(PIPELINES)[: len(there)]]
    lines = [
        f"\n## Shards by shard_files and by Zarr, {datetime.date.today().isoformat()}",
        "",
        f"`python -m benchmarks.sharding`: {versions}; milliseconds of processor time, and in "
        "brackets the greatest memory allocated meanwhile, MiB.",
        "",
        f"| cube | what | {' | '.join(names)} |",
        f"| --- | --- | {' | '.join(['---:'] * len(names))} |",
        *rows,
    ]
    with RESULTS.open("a") as results:
        results.write("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
