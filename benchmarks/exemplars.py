"""The exemplars of a cube, in both directions and by class, beside plain reading of that cube.

    python -m benchmarks.exemplars [--images 60000] [--rounds 5] [--folder DIR]

Makes cubes of signals of ResNet-20's and VGG-16's ranks, classes scattered over the images. Then,
in one process and by turns: reads the cube as the pass does and computes nothing; and finds all
exemplars. Appends a section to benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks import reductions as cubes
from ddp_tasks.store.cube import cube_size, slab_parts
from ddp_tasks.workers import reductions

RESULTS = Path(__file__).with_name("RESULTS.md")
RESNET20 = (16,) * 7 + (32,) * 6 + (64,) * 6 + (10,)
PLACES = 9

#: What is asked for: speed of the pass over speed of reading.
LEAST = 0.5


def read(path: Path, bands: list[reductions.Band]) -> None:
    """Read every signal as the pass does."""
    for band in bands:
        for slab in band.slabs:
            for _ in slab_parts(path, slab):
                pass


def find(path: Path, bands: list[reductions.Band]) -> None:
    """Find all exemplars."""
    for band in bands:
        for slab in band.slabs:
            reductions.exemplars_of_slab(path, PLACES, cubes.CLASSES, slab)


def processor_seconds(
    work: Callable[[Path, list[reductions.Band]], None], path: Path, bands: list[reductions.Band]
) -> float:
    """Seconds of the processor that a piece of work takes."""
    start = time.process_time()
    work(path, bands)
    return time.process_time() - start


def measured(folder: Path, images: int, rounds: int) -> list[str]:
    """Rows of the table."""
    lines = []
    for name, ranks in (("ResNet-20", RESNET20), ("VGG-16", cubes.VGG16)):
        path = folder / f"{name}.zarr"
        cubes.make(path, images, scattered=True, ranks=ranks)
        bands = reductions.exemplar_bands(cube_size(path), PLACES, cubes.CLASSES)
        size = 4 * images * sum(ranks) / 1e6
        turns = np.array(
            [
                [processor_seconds(work, path, bands) for work in (read, find)]
                for _ in range(rounds + 1)
            ]
        )[1:]
        reading, finding = size / np.median(turns, axis=0)
        ratio = np.median(turns[:, 0] / turns[:, 1])
        verdict = "reached" if ratio >= LEAST else "not reached"
        lines.append(
            f"| {name}, {size:.0f} MB | {reading:.3g} | {finding:.3g} | {ratio:.2f} | {verdict} |"
        )
    return lines


def main() -> None:
    """Measure and append."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the cubes are made: 4 GB")
    asked = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        lines = measured(Path(folder), asked.images, asked.rounds)
    section = [
        f"\n## Exemplars in one pass over the cube, {datetime.date.today().isoformat()}",
        "",
        f"`python -m benchmarks.exemplars --images {asked.images}`; load {load:.1f} at the start, "
        f"{platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}. "
        f"{PLACES} places in both directions, and one image for each of {cubes.CLASSES} classes; "
        "one process, seconds of the processor, by turns; medians.",
        "",
        f"| cube | MB/s read | MB/s of the pass | ratio | asked for {LEAST:g} |",
        "| --- | ---: | ---: | ---: | --- |",
        *lines,
    ]
    with RESULTS.open("a") as file:
        file.write("\n".join(section) + "\n")
    print("\n".join(section))


if __name__ == "__main__":
    main()
