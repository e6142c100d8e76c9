"""From the cube of a layer of 1,000 classes and 4,096 vectors to its hierarchy, and its family.

    python -m benchmarks.family

Writes a store with synthetic signals of the shape of an ImageNet classifier's layer (1,000
classes x 50 images x 4,096 singular vectors), then measures each step in a process of its own,
so that the peak memory is the step's: thresholds and fractions, one hypergraph with its semantic
hierarchy, that hypergraph as HyperNetX's with the relations of classes and its HIF file, slices
of the family, the whole family's sizes, and the bootstrap. Appends a section to
benchmarks/RESULTS.md. `--classes 10 --images 1000 --vectors 512` has the shape of CIFAR-10.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

from ddp_tasks.store import shards

RESULTS = Path(__file__).with_name("RESULTS.md")

LAYER, QUANTILE, PERCENTAGE = "classifier.3", 0.9, 75.0
_IMPORTED = (
    "hypergraphs.family",
    "significance.stability",
    "store.groups",
    "workers.hypergraphs",
    "workers.reductions",
)
_GROUPS, _SHARD = 25, 1000


def make_store(path: Path, classes: int, images: int, vectors: int) -> None:
    """Write a finished cube of one layer, and what of a run's store the later steps read.

    Each class's signals are the sum of a level of its vector, of its group of classes, of the
    class itself, and noise: some vectors are general, some belong to groups, some to classes.
    """
    import xarray as xr

    from ddp_tasks.store import creation
    from ddp_tasks.store.identity import Identity
    from schemas.parameters import RunParameters

    run = RunParameters.model_validate(
        {
            "name": "family",
            "model": {"factory": "benchmarks.family:none"},
            "images": {"factory": "benchmarks.family:none"},
            "significance": {"quantile": QUANTILE, "percentage": PERCENTAGE},
            "shards": {"images": _SHARD},
        }
    )
    total = classes * images
    one = (1, vectors)
    layers = xr.Dataset(
        {
            "kind": ("layer", np.array(["Linear"], dtype=object)),
            "shape": ("layer", np.array([f"{vectors} x {vectors}"], dtype=object)),
            "rank": ("layer", np.array([vectors])),
            "singular_value": (("layer", "singular_vector"), np.linspace(9, 1, vectors)[None]),
            "relative_gap": (("layer", "singular_vector"), np.ones(one)),
            "block": (("layer", "singular_vector"), np.zeros(one, dtype=np.int64)),
        },
        coords={
            "layer": np.array([LAYER], dtype=object),
            "singular_vector": np.arange(vectors),
        },
    )
    # As in most image sets, a class's images do not lie together.
    target = np.tile(np.arange(classes), images)
    signals = xr.Dataset(
        {"target": ("image", target), "dataset_index": ("image", np.arange(total))},
        coords={
            "image": np.array([f"{i:06d}" for i in range(total)], dtype=object),
            "target_class": np.array([f"class {c}" for c in range(classes)], dtype=object),
            "layer": layers["layer"],
            "singular_vector": layers["singular_vector"],
        },
    )
    identity = Identity.of_run(run, "none", "none")
    creation.create(
        path, run, identity, not_analysed={}, groups={"layers": layers}, signals=signals
    )
    random = np.random.default_rng(0)
    general = random.normal(0, 0.5, vectors)
    of_group = random.normal(0, 0.8, (_GROUPS, vectors))
    of_class = random.normal(0, 0.6, (classes, vectors)).astype(np.float32)
    of_class += general + of_group[np.arange(classes) % _GROUPS]
    for shard in shards.shards(path):
        rows = target[shard.start : shard.stop]
        noise = random.standard_normal((len(rows), vectors), dtype=np.float32)
        shards.write_shard(
            path,
            shard,
            {
                "signal": (of_class[rows] + np.float32(0.7) * noise)[:, None],
                "predicted": rows,
                "confidence": np.ones(len(rows), dtype=np.float32),
                "error": np.full(len(rows), "", dtype=object),
                "content_size": np.ones(len(rows), dtype=np.int64),
                "content_digest": np.ones(len(rows), dtype=np.uint64),
            },
        )


def measure_significance(path: Path) -> str:
    """From the cube to thresholds and fractions at all eleven levels, both directions.

    The pipeline's own reductions, slab by slab in this process instead of on Dask workers.
    """
    from ddp_tasks.significance.significance import ClassFractions, tables_dataset
    from ddp_tasks.significance.splits import Split
    from ddp_tasks.store import groups, regions
    from ddp_tasks.store.cube import cube_size
    from ddp_tasks.store.slabs import slabs
    from ddp_tasks.workers import reductions

    quantiles, cube = _levels().quantiles, cube_size(path)
    names = groups.read(path, "signals")["target_class"].to_numpy().tolist()
    split = Split.of(_levels())
    parts, one = len(split.names), reductions.one_by_one
    narrow = reductions.fraction_slabs(cube, len(quantiles), len(names), parts)
    threshold = reductions.thresholds(path, slabs(cube), quantiles, split, one)
    ranks = (len(cube.ranks), max(cube.ranks))
    shape = (parts, *threshold.shape[:2], len(names), *ranks)
    none_yet = ClassFractions(
        fraction=np.broadcast_to(np.float32(np.nan), shape),
        images=np.zeros((parts, len(names)), dtype=np.int64),
        reached=np.zeros((parts, len(names), len(cube.ranks)), dtype=np.int64),
        eta_squared=np.full((parts, *ranks), np.nan, dtype=np.float32),
    )
    tables = tables_dataset(
        threshold,
        none_yet,
        split.parts(groups.read(path, "signals")["target"].to_numpy()),
        layers=groups.read(path, "layers").load(),
        target_classes=names,
        quantiles=quantiles,
    )
    region = (*shape[:4], 1, max(slab.width for slab in narrow))
    within = {"fraction": (1, 1, 1, *region[3:])}
    regions.write_template(path, "significance", tables, {"fraction": region}, within=within)
    every = slice(None)
    for slab in narrow:
        counts = reductions.write_fractions(path, len(names), split, slab)
        regions.write_region(
            path, "significance", "reached", (every, every, slab.layer), counts.reached
        )
    regions.write_region(path, "significance", "images", (every,), counts.images)
    groups.record(path, "significance", {})
    return f"{len(quantiles)} levels, {len(threshold)} directions"


def build_hierarchy(path: Path) -> str:
    """The hypergraph's equivalence classes and the diagram of their partial order."""
    from ddp_tasks.hypergraphs.family import Family
    from ddp_tasks.hypergraphs.semantic_hierarchy import semantic_hierarchy
    from ddp_tasks.store import groups

    at = Family.of(groups.read(path, "significance"), LAYER).at(QUANTILE, PERCENTAGE)
    found = semantic_hierarchy(at.significant)
    return (
        f"{int(at.significant.sum()):,} incidences, {len(found):,} equivalence classes, "
        f"{int(found.covers.sum()):,} edges, depth {found.depth}"
    )


def build_files(path: Path) -> str:
    """What a worker of the flow makes of a layer: HyperNetX, relations of classes, HIF."""
    from ddp_tasks.store import groups
    from ddp_tasks.workers.hypergraphs import build_hypergraph
    from schemas.run_files import load_run

    with tempfile.TemporaryDirectory() as folder:
        run = load_run("digits").model_copy(update={"name": "family", "significance": _levels()})
        build_hypergraph(str(path), folder, run, LAYER)
        (file,) = Path(folder).iterdir()
        size = file.stat().st_size / 2**20
    relations = groups.read(path, f"hypergraphs/{LAYER}")
    walked = (relations["left_out"] == "").sum().item()
    return f"HIF of {size:.2g} MiB, s-walks at {walked} of {relations.sizes['s']} values of s"


def take_slice(path: Path) -> str:
    """One hypergraph of the family as a table, at levels that are not the run's, then others."""
    from ddp_tasks.hypergraphs.family import Family
    from ddp_tasks.store import groups

    family = Family.of(groups.read(path, "significance"), LAYER)
    at = family.at(0.8, 60, ("negative",))
    start = time.perf_counter()
    others = [family.at(level, 60, ("negative",)) for level in _levels().quantiles]
    each = (time.perf_counter() - start) / len(others)
    return (
        f"{int(at.significant.sum()):,} incidences; each of {len(others)} more {1e3 * each:.0f} ms"
    )


def map_family(path: Path) -> str:
    """Sizes and depth at all levels, percentages and directions."""
    from ddp_tasks.hypergraphs.family import family_dataset
    from ddp_tasks.store import groups

    found = family_dataset(groups.read(path, "significance"), _levels().all_percentages)
    groups.write(path, "family", found)
    return f"{found['depth'].size} hypergraphs, greatest depth {int(found['depth'].max())}"


def bootstrap(path: Path) -> str:
    """Two hundred resamples of incidences, equivalence classes and edges, in both directions."""
    from ddp_tasks.hypergraphs.family import Family
    from ddp_tasks.hypergraphs.semantic_hierarchy import semantic_hierarchy
    from ddp_tasks.significance import stability
    from ddp_tasks.significance.significance import of_part
    from ddp_tasks.store import cube, groups

    at = Family.of(groups.read(path, "significance"), LAYER).at(QUANTILE, PERCENTAGE)
    found = semantic_hierarchy(at.significant)
    members = tuple(np.flatnonzero(row) for row in found.singular_vectors)
    hierarchy = stability.Hierarchy(members, *np.nonzero(found.covers))
    rank = at.fraction.shape[1] // len(at.directions)
    part = groups.read(path, "significance")["part"].to_numpy()
    parts = of_part(partial(cube.layer_parts, path, 0, rank), part, 0)
    threshold = dict(zip(at.directions, at.thresholds, strict=True))
    indicators = stability.indicators(parts, threshold, len(at.target_classes))
    judged = stability.bootstrap(indicators, PERCENTAGE, 200, hierarchy)
    sure = judged.incidence[at.significant] >= 0.95
    return f"{int(sure.sum()):,} of {len(sure):,} incidences hold in 95 % of resamples"


def _levels():
    from schemas.parameters import SignificanceParameters

    return SignificanceParameters(quantile=QUANTILE, percentage=PERCENTAGE)


STEPS = {
    "thresholds and fractions": measure_significance,
    "hypergraph, classes, order": build_hierarchy,
    "the same as HyperNetX, HIF": build_files,
    "a slice, and others": take_slice,
    "family of sizes": map_family,
    "bootstrap": bootstrap,
}


def step_line(path: Path, step: str) -> str:
    """Carry out a step; a row of the table: seconds, processor's seconds, peak memory, found."""
    # Imported before the clock starts: the steps' own imports then cost nothing.
    for module in _IMPORTED:
        importlib.import_module(f"ddp_tasks.{module}")
    start, busy = time.perf_counter(), time.process_time()
    found = STEPS[step](path)
    seconds, cpu = time.perf_counter() - start, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return f"| {step} | {seconds:.3f} | {cpu:.3f} | {peak:.2f} | {found} |"


def section(classes: int, images: int, vectors: int, rows: list[str]) -> list[str]:
    """The section of RESULTS.md, by lines."""
    load = os.getloadavg()[0]
    return [
        f"\n## The family of hypergraphs, {datetime.date.today().isoformat()}",
        "",
        f"`python -m benchmarks.family --classes {classes} --images {images} --vectors {vectors}`: "
        f"{classes:,} classes x {images} images x a "
        f"layer of {vectors:,} singular vectors, synthetic signals in a real store; "
        f"{os.cpu_count()} cores, load {load:.1f} at the end, Python {platform.python_version()}. "
        "Each step in a process of its own; peak memory includes Python and the imports.",
        "",
        "| step | seconds | processor's seconds | peak, GiB | found |",
        "| --- | ---: | ---: | ---: | --- |",
        *rows,
    ]


def main(arguments: list[str] | None = None) -> None:
    """Measure and append."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--images", type=int, default=50, help="a class")
    parser.add_argument("--vectors", type=int, default=4096)
    parser.add_argument("--folder", type=Path, help="for the store; default a temporary one")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file to append to")
    parser.add_argument("--step", nargs=2, metavar=("STORE", "STEP"), help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.step:
        print(step_line(Path(asked.step[0]), asked.step[1]))
        return
    with contextlib.ExitStack() as stack:
        folder = asked.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        path = folder / "store.zarr"
        if not path.exists():
            make_store(path, asked.classes, asked.images, asked.vectors)
        rows = [_in_own_process(path, step) for step in STEPS]
    lines = section(asked.classes, asked.images, asked.vectors, rows)
    with asked.results.open("a") as file:
        file.write("\n".join(lines) + "\n")
    print("\n".join(lines))


def _in_own_process(path: Path, step: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.family", "--step", str(path), step],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{step}: {done.stderr}")
    print(done.stdout.strip(), flush=True)
    return done.stdout.strip().splitlines()[-1]


if __name__ == "__main__":
    main()
