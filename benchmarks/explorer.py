"""Time to look: how soon the explorer opens, redraws and answers, and what memory it takes.

    python -m benchmarks.explorer [--only NAME ...]

Writes made-up stores by the project's own means, serves each with ``ddp explore`` in a process of
its own, and drives Chromium, without a network, as a person would:

* ``sliders``: one layer of 10 classes x 512 singular vectors on 10,000 images, all signals there;
* ``layers``: 56 layers of 10 classes x 64 singular vectors on 1,000 images, all signals there;
* ``large``: 60,000 images x 16 layers x 4,096 singular vectors x 1,000 classes. Its class tables,
  hierarchies, pictures and exemplars are there, written as a run writes them; its signals (16 GB)
  are not, so its sliders stay at stored levels;
* ``deep`` and ``quarter``: one layer of 10 classes x 4,096 singular vectors on 60,000 images (1 GB
  of signals, all there, more than the explorer holds) and on a quarter of them.

Appends a section to benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import compileall
import datetime
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from playwright.sync_api import Page, sync_playwright

from ddp_tasks.hypergraphs.semantic_hierarchy import hierarchy_dataset, semantic_hierarchy
from ddp_tasks.networks.decomposition import layer_coordinates
from ddp_tasks.networks.layers import LinearLayer
from ddp_tasks.significance.layer_table import LayerTable
from ddp_tasks.significance.significance import ClassFractions, significance_dataset, tables_dataset
from ddp_tasks.significance.splits import split_images
from ddp_tasks.store import creation, groups, regions, shards
from ddp_tasks.store.identity import Identity
from ddp_tasks.visualization.exemplars import (
    Exemplars,
    StrongestImages,
    exemplars_template,
)
from ddp_tasks.weights.layer_vectors import LayerVectors
from ddp_tasks.weights.signed_vectors import DIRECTIONS, SignedVectors
from schemas.control_variables import MEASURES
from schemas.names import group_path
from schemas.parameters import RunParameters

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "RESULTS.md"

QUANTILE, PERCENTAGE, SHARD, PICTURES, PLACES = 0.9, 75.0, 1000, 400, 9
LEVELS = (0.5, 0.6, 0.7, 0.8, QUANTILE, 0.95)

_MOVE = """([name, value]) => new Promise((done, failed) => {
  const within = (root) => root.querySelector(".app") ??
    [...root.querySelectorAll("*")].map((e) => e.shadowRoot && within(e.shadowRoot)).find(Boolean);
  const app = within(document);
  const input = app.querySelector(`[name=${name}]`);
  const start = performance.now();
  input.value = value;
  input.dispatchEvent(new Event("input", { bubbles: true }));
  const waits = () => app.hasAttribute("aria-busy") || app.querySelector(".waits").textContent;
  // Two frames later what came last is on the screen.
  const wait = () => {
    const refused = app.querySelector(".notice").textContent;
    if (refused) failed(new Error(refused));
    else if (waits()) requestAnimationFrame(wait);
    else requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - start)));
  };
  requestAnimationFrame(wait);
})"""


@dataclass(frozen=True)
class Shape:
    """The sizes of a made-up run."""

    classes: int
    images: int
    """of all classes."""
    layers: int
    vectors: int
    signals: bool
    """whether its signals are there."""


SHAPES = {
    "sliders": Shape(10, 10_000, 1, 512, signals=True),
    "layers": Shape(10, 1_000, 56, 64, signals=True),
    "large": Shape(1_000, 60_000, 16, 4_096, signals=False),
    "deep": Shape(10, 60_000, 1, 4_096, signals=True),
    "quarter": Shape(10, 15_000, 1, 4_096, signals=True),
}
#: Bytes of signals from which a level between those stored is counted beside the server.
_COUNTED = 1 << 27


def make_store(path: Path, shape: Shape) -> None:
    """Write all that the explorer reads of a finished run."""
    run = RunParameters.model_validate(
        {
            "name": f"{shape.layers} layers",
            "model": {"factory": "benchmarks.explorer:none"},
            "images": {"factory": "benchmarks.explorer:none"},
            "significance": {"quantile": QUANTILE, "percentage": PERCENTAGE},
            "shards": {"images": SHARD},
        }
    )
    linear = tuple(
        LinearLayer(f"layer{i}", f"layer{i}", 1, "Linear", (shape.vectors, shape.vectors), 1)
        for i in range(shape.layers)
    )
    coordinates = layer_coordinates(linear, shape.vectors)
    grid = ("layer", "singular_vector")
    sizes = (shape.layers, shape.vectors)
    layers = xr.Dataset(
        {
            "kind": ("layer", np.array(["Linear"] * shape.layers, dtype=object)),
            "shape": (
                "layer",
                np.array([f"{shape.vectors} x {shape.vectors}"] * shape.layers, dtype=object),
            ),
            "rank": ("layer", np.full(shape.layers, shape.vectors)),
            "singular_value": (grid, np.tile(np.linspace(9, 1, shape.vectors), (shape.layers, 1))),
            "relative_gap": (grid, np.ones(sizes)),
            "block": (grid, np.zeros(sizes, dtype=np.int64)),
        },
        coords=coordinates,
    )
    target = np.arange(shape.images) % shape.classes
    names = _names(shape)
    ids = [f"{i:06}" for i in range(shape.images)]
    described = xr.Dataset(
        {
            "target": ("image", target),
            "target_name": ("image", np.array(names, dtype=object)[target]),
            "dataset_index": ("image", np.arange(shape.images)),
        },
        coords={
            "image": np.array(ids, dtype=object),
            "target_class": np.array(names, dtype=object),
            **coordinates,
        },
    )
    identity = Identity.of_run(run, "none", "none")
    creation.create(
        path, run, identity, not_analysed={}, groups={"layers": layers}, signals=described
    )
    write = _write_signals if shape.signals else _write_tables
    write(path, shape, target, layers)
    if not shape.signals:
        groups.record(path, "signals", {})  # as if there were no shards to be written
    _write_pictures(path, ids)
    _write_exemplars(path, shape, layers, names, ids)
    _write_controls(path, layers)
    _write_hierarchies(path, shape, layers, names, ids)


def _names(shape: Shape) -> list[str]:
    return [f"class {c}" for c in range(shape.classes)]


def _write_signals(path: Path, shape: Shape, target: np.ndarray, layers: xr.Dataset) -> None:
    """Signals of classes and groups of them with noise, and the tables counted over these."""
    names, part = _names(shape), split_images(target, 0.5, 0)
    random = np.random.default_rng(0)
    sizes = (shape.layers, shape.vectors)
    of_group = random.normal(0, 0.9, (3, *sizes))
    of_class = random.normal(0, 0.7, (shape.classes, *sizes))
    of_class = (of_class + of_group[np.arange(shape.classes) % 3]).astype(np.float32)

    def part_of(shard: range) -> tuple[np.ndarray, np.ndarray]:
        rows = target[shard.start : shard.stop]
        of_shard = np.random.default_rng([1, shard.start])
        noise = of_shard.standard_normal((len(rows), *sizes), dtype=np.float32)
        noise *= np.float32(0.7)
        noise += of_class[rows]
        return noise, rows

    cut = [range(one.start, one.stop) for one in shards.shards(path)]
    for shard in shards.shards(path):
        signal, rows = part_of(range(shard.start, shard.stop))
        shards.write_shard(path, shard, _of_images(signal, rows, names))
    tables = significance_dataset(lambda: map(part_of, cut), layers, names, LEVELS, part)
    groups.write(path, "significance", tables)


def _of_images(signal: np.ndarray, rows: np.ndarray, names: list[str]) -> dict[str, Any]:
    return {
        "signal": signal,
        "predicted": rows,
        "predicted_name": np.array(names, dtype=object)[rows],
        "confidence": np.ones(len(rows), dtype=np.float32),
        "error": np.full(len(rows), "", dtype=object),
        "content_size": np.ones(len(rows), dtype=np.int64),
        "content_digest": np.ones(len(rows), dtype=np.uint64),
    }


def _write_tables(path: Path, shape: Shape, target: np.ndarray, layers: xr.Dataset) -> None:
    """Class tables, in the files that a run writes them to."""
    names, part = _names(shape), split_images(target, 0.5, 0)
    whole = (2, 2, len(LEVELS), shape.classes, shape.layers, shape.vectors)
    images = np.stack([np.bincount(target[part == one], minlength=shape.classes) for one in (0, 1)])
    none_yet = ClassFractions(
        fraction=np.broadcast_to(np.float32(np.nan), whole),
        images=images,
        reached=np.repeat(images[:, :, None], shape.layers, axis=2),
        eta_squared=np.full((2, shape.layers, shape.vectors), 0.1, dtype=np.float32),
    )
    tables = tables_dataset(
        np.tile(np.linspace(0, 1, len(LEVELS))[:, None], (2, 1, shape.layers)),
        none_yet,
        part,
        layers=layers,
        target_classes=names,
        quantiles=LEVELS,
    )
    region = (*whole[:4], 1, min(512, shape.vectors))
    within = {"fraction": (1, 1, 1, *region[3:])}
    regions.write_template(path, "significance", tables, {"fraction": region}, within=within)
    random = np.random.default_rng(0)
    # A vector stands for some of fifty groups of classes.
    for layer in range(shape.layers):
        for first in range(0, shape.vectors, region[5]):
            vectors = slice(first, first + region[5])
            sets = random.random((50, region[5])) < 0.04
            fraction = np.where(sets[np.arange(shape.classes) % 50], 0.9, 0.1).astype(np.float32)
            every = np.broadcast_to(fraction, (2, 2, len(LEVELS), *fraction.shape)).copy()
            # Of each class some images more or fewer.
            every[:, :, :, :, ::2] -= np.float32(0.05)
            regions.write_region(
                path, "significance", "fraction", (..., slice(None), layer, vectors), every
            )
    groups.record(path, "significance", {})


def _write_pictures(path: Path, ids: list[str]) -> None:
    count = min(PICTURES, len(ids))
    random = np.random.default_rng(1)
    groups.write(
        path,
        "pictures",
        xr.Dataset(
            {
                "picture": (
                    ("image", "y", "x", "channel"),
                    random.integers(0, 255, (count, 32, 32, 3), dtype=np.uint8),
                ),
                "height": ("image", np.full(count, 32)),
                "width": ("image", np.full(count, 32)),
            },
            coords={"image": np.array(ids[:count], dtype=object)},
        ),
    )


def _write_exemplars(
    path: Path, shape: Shape, layers: xr.Dataset, names: list[str], ids: list[str]
) -> None:
    """The same few images for every vector, in the files that a run writes them to."""
    template = exemplars_template(layers, PLACES, names)
    by_region = {
        name: (2, 1, *template[name].shape[2:])
        for name in ("image", "signal", "class_image", "class_signal")
    }
    regions.write_template(path, "exemplars", template, by_region)
    images = np.array([ids[i % min(PICTURES, len(ids))] for i in range(PLACES)], dtype=object)
    at = (slice(None), 0)
    vectors = (2, shape.vectors)
    values = {
        "image": np.broadcast_to(images, (*vectors, PLACES)),
        "signal": np.broadcast_to(np.linspace(2, 1, PLACES, dtype=np.float32), (*vectors, PLACES)),
        "class_image": np.broadcast_to(
            np.arange(shape.classes, dtype=np.int32) % PICTURES, (*vectors, shape.classes)
        ),
        "class_signal": np.broadcast_to(np.float32(1), (*vectors, shape.classes)),
    }
    for layer in range(shape.layers):
        for name, value in values.items():
            regions.write_region(path, "exemplars", name, (at[0], layer), value)
    groups.record(path, "exemplars", {})


def _write_controls(path: Path, layers: xr.Dataset) -> None:
    measured, sizes = ("layer", "measure"), (layers.sizes["layer"], len(MEASURES))
    value = np.full(sizes, 0.5)
    drawn = np.broadcast_to(np.linspace(0, 1, 39), (*sizes, 39))
    controls = dict.fromkeys(("value", "channels", "pca", "permutation_p"), (measured, value))
    controls |= {
        name: (measured, np.full(sizes, 50.0)) for name in ("percentile", "percentile_variance")
    }
    controls |= {
        "images": ("layer", np.full(sizes[0], 1000)),
        "rotation": ((*measured, "draw"), drawn),
        "variance_rotation": ((*measured, "draw"), drawn),
        "permutation": ((*measured, "permutation"), drawn),
    }
    coords = {"layer": layers["layer"], "measure": np.array(list(MEASURES), dtype=object)}
    attributes = {"seed": 0, "rotations": 39, "permutations": 39, "pairs": 0}
    groups.write(path, "controls", xr.Dataset(controls, coords=coords).assign_attrs(attributes))


def _write_hierarchies(
    path: Path, shape: Shape, layers: xr.Dataset, names: list[str], ids: list[str]
) -> None:
    significance = groups.read(path, "significance")
    for position, layer in enumerate(layers["layer"].to_numpy().tolist()):
        table = LayerTable.of(significance.sel(layer=layer), QUANTILE, PERCENTAGE)
        found = semantic_hierarchy(table.significant)
        nodes = SignedVectors(LayerVectors.of(layers.isel(layer=position)), DIRECTIONS)
        strongest = StrongestImages(
            np.zeros((2, len(found), PLACES), dtype=np.int64),
            np.ones((2, len(found), PLACES), dtype=np.float32),
        )
        of_class = StrongestImages(
            np.tile(np.arange(shape.classes) % PICTURES, (2, len(found), 1)),
            np.ones((2, len(found), shape.classes), dtype=np.float32),
        )
        stored = hierarchy_dataset(found, nodes, names, Exemplars(strongest, of_class), ids)
        groups.write(path, group_path("hierarchies", layer), stored)


@dataclass(frozen=True)
class Looked:
    """What one store took."""

    served: float
    """seconds from the command to its address."""
    first: float
    """seconds from asking for the page to its figures."""
    redrawn: dict[str, list[float]]
    """milliseconds of each move, by what was moved."""
    memory: float
    """peak of the server's process, in MiB."""


def look(folder: Path, shape: Shape) -> Looked:
    """Serve a store and move through it."""
    with sync_playwright() as playwright:
        path = shutil.which("chromium")
        options = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
        browser = playwright.chromium.launch(executable_path=path, args=options)
        # It waits for the command, as a person's does, so that neither has time to spare.
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(300_000)
        start = time.perf_counter()
        with _served(folder) as (process, address):
            served = time.perf_counter() - start
            page.goto(address)
            page.locator("main svg").first.wait_for()
            first = time.perf_counter() - start - served
            page.locator("[data-waits]").first.wait_for(state="detached")
            redrawn = dict(_moved(page, shape))
            status = Path(f"/proc/{process.pid}/status").read_text()
        browser.close()
    memory = re.search(r"VmHWM:\s+(\d+)", status)
    return Looked(served, first, redrawn, int(memory.group(1)) / 1024 if memory else float("nan"))


def _moved(page: Page, shape: Shape) -> Iterator[tuple[str, list[float]]]:
    def moves(name: str, values: list[Any]) -> list[float]:
        return [float(page.evaluate(_MOVE, [name, str(value)])) for value in values]

    moves("p", [70])  # what a process loads once
    yield "p", moves("p", list(range(60, 90, 2)))
    moves("p", [PERCENTAGE])
    if shape.signals:
        between = [0.905, 0.91, 0.915, 0.88, 0.87, 0.86, 0.855, 0.93, 0.94, 0.96]
        large = 4 * shape.images * shape.vectors > _COUNTED
        yield "q, between stored levels", moves("q", between[:3] if large else between)
    yield "q, stored", moves("q", [0.95, 0.8, 0.95, 0.9])
    if shape.signals:
        yield "map of images, and back", [_clicked(page, view) for view in ("images", "layer")]
    if shape.layers > 1:
        step = max(1, shape.layers // 12)
        yield (
            "layer, not seen before",
            moves("where", [f"1/layer{i}" for i in range(0, shape.layers - 1, step)]),
        )


def _clicked(page: Page, view: str) -> float:
    """Milliseconds from choosing a view to its figure."""
    start = time.perf_counter()
    page.locator(f"nav [data-view={view}]").click()
    page.locator(f"nav [data-view={view}][aria-current]").wait_for()
    page.locator("main svg").first.wait_for()
    return 1000 * (time.perf_counter() - start)


@contextmanager
def _served(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    code = "import sys; sys.argv[0] = 'ddp'; from flows.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "explore", str(folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


def section(found: Mapping[str, Looked], shapes: Mapping[str, Shape] = SHAPES) -> list[str]:
    """The lines of RESULTS.md."""
    lines = [
        f"\n## Time to look: the explorer, {datetime.date.today().isoformat()}",
        "",
        f"`python -m benchmarks.explorer`; {os.cpu_count()} cores, {platform.machine()}, Python "
        f"{platform.python_version()}, load {os.getloadavg()[0]:.1f} at the end; Chromium with no "
        "network, 1440 × 900. Made-up stores; of the large one the signals are left out.",
        "",
    ]
    for name, one in found.items():
        shape = shapes[name]
        lines += [
            f"{shape.images:,} images × {shape.layers} layers × {shape.vectors:,} singular vectors "
            f"× {shape.classes:,} classes:",
            "",
            "| | median | most |",
            "| --- | ---: | ---: |",
            f"| from the command to its address, s | {one.served:.1f} | |",
            f"| from the address to the first figures, s | {one.first:.1f} | |",
            *(
                f"| {what}: a redraw, ms | {statistics.median(times):.0f} | {max(times):.0f} |"
                for what, times in one.redrawn.items()
            ),
            f"| peak memory of the server, MiB | {one.memory:.0f} | |",
            "",
        ]
    return lines[:-1]


def main(arguments: list[str] | None = None) -> None:
    """Measure and append."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=list(SHAPES), default=list(SHAPES))
    parser.add_argument("--folder", type=Path, help="for the stores; default a temporary one")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file to append to")
    asked = parser.parse_args(arguments)
    found = {}
    # As pip does with what it installs.
    for folder in ("schemas", "ddp_tasks", "flows"):
        compileall.compile_dir(ROOT / folder, quiet=1)
    with tempfile.TemporaryDirectory() as temporary:
        for name in asked.only:
            folder = (asked.folder or Path(temporary)) / name
            if not folder.exists():
                folder.mkdir(parents=True)
                make_store(folder / "store.zarr", SHAPES[name])
            found[name] = look(folder, SHAPES[name])
            print(name, found[name], flush=True)
    lines = section(found)
    with asked.results.open("a") as file:
        file.write("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
