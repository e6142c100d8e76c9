"""Whether singular vectors are described better than random directions of the same outputs.

    python -m benchmarks.descriptions [--data DIR]     (a quarter of an hour on two cores)

Runs the preset digits and, with DIR, ResNet-20 on CIFAR-10's test images, 200 a class, and
describes every signed vector as ``ddp describe`` does: by classes, two classes and their groups,
and again with attributes measured on the pictures. Half of the images choose a description, the
others judge it. Appends to benchmarks/RESULTS.md, layer by layer, how well the descriptions predict
unseen images and how many vectors stand above the 95th percentile of random directions. DIR is that
of benchmarks.validation.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.samples import ANIMALS
from benchmarks.validation import RESULTS, VEHICLES, cifar10, without_extras
from ddp_tasks.images.image_sets import open_images
from ddp_tasks.queries.descriptions import PERCENTILE, Descriptions, describe
from ddp_tasks.significance.concepts import ATTRIBUTE
from schemas.parameters import RunParameters
from schemas.run_files import load_run

PER_CLASS = 200
RUNS = ("digits", "resnet20")


def run_of(name: str, data: Path | None, per_class: int) -> RunParameters:
    """A run without what descriptions do not need; CIFAR-10's classes in two groups."""
    if name == "digits":
        run = load_run("digits", ["cluster=local"])
    else:
        assert data is not None
        run = cifar10(data, per_class, name)
        groups = {"animals": list(ANIMALS), "vehicles": list(VEHICLES)}
        levels = run.significance.model_copy(update={"superclasses": groups})
        run = run.model_copy(update={"significance": levels})
    return without_extras(run)


def attributes_of(run: RunParameters) -> pd.DataFrame:
    """What is measured on each picture of a run: a table with a column ``id``."""
    images = open_images(run.images)
    rows = [measured(images.picture(i).astype(np.float64) / 255) for i in range(len(images.ids))]
    return pd.DataFrame({"id": list(images.ids), **pd.DataFrame(rows)})


def measured(picture: npt.NDArray[np.float64]) -> dict[str, float]:
    """Light, colours and edges of a picture.

    Parameters
    ----------
    picture
        shape (m, n, 3), from 0 to 1.
    """
    grey = picture.mean(axis=2)
    red, green, blue = picture.mean(axis=(0, 1)).tolist()
    middle = tuple(slice(side // 4, side - side // 4) for side in grey.shape)
    return {
        "brightness": float(grey.mean()),
        "contrast": float(grey.std()),
        "redness": red - green,
        "blueness": blue - (red + green) / 2,
        "horizontal edges": float(np.abs(np.diff(grey, axis=0)).mean()),
        "vertical edges": float(np.abs(np.diff(grey, axis=1)).mean()),
        "brighter above": float(grey[: len(grey) // 2].mean() - grey[len(grey) // 2 :].mean()),
        "brighter within": float(grey[middle].mean() - grey.mean()),
    }


def described(run: RunParameters) -> dict[str, tuple[Descriptions, float]]:
    """Carry a run out and describe its vectors, by words for the sets that were offered.

    Returns
    -------
    the descriptions, and the seconds that they took
    """
    from flows.pipeline import run_pipeline

    found = {}
    with tempfile.TemporaryDirectory() as place:
        folder, table = Path(place) / "out", Path(place) / "attributes.csv"
        run_pipeline(run, folder)
        attributes_of(run).to_csv(table, index=False)
        for words, attributes in (("classes", None), ("classes and attributes", table)):
            start = time.perf_counter()
            of_run = describe(folder, attributes=attributes)
            of_run.table  # noqa: B018 - intervals and rates are part of the time
            found[words] = of_run, time.perf_counter() - start
    return found


def section(title: str, found: Descriptions, seconds: float) -> list[str]:
    """The descriptions of one run, layer by layer, as Markdown."""
    table = found.table
    lines = [
        f"### {title}",
        "",
        f"{found.concepts} sets of images, {found.judged:,} images that judge; {seconds:.0f} s.",
        "",
        "| layer | signed vectors | median AUROC | of random directions | variances kept | above "
        "the 95th percentile | by chance | variances kept | by attributes |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for one in found.layers:
        rows = table[table["layer"] == one.layer]
        medians = [rows["estimation"], one.described.random, one.described.varied]
        above = [
            int((rows[name] > PERCENTILE).sum()) for name in ("percentile", "percentile_variance")
        ]
        cells = [
            one.layer,
            len(rows),
            *(f"{np.median(of):.3f}" if len(of) else "–" for of in medians),
            above[0],
            f"{(1 - PERCENTILE / 100) * len(rows):.1f}",
            above[1],
            int((rows["kind"] == ATTRIBUTE).sum()),
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    best = ", ".join(
        f"{row['layer']} {row['vector']} for {row['description']} (AUROC {row['estimation']:.3f}, "
        f"percentile {row['percentile']:.1f})"
        for row in table.head(5).to_dict("records")
    )
    return [*lines, "", *(f"- {sentence}" for sentence in found.verdict()), f"- First: {best}.", ""]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the page of results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of images and models")
    parser.add_argument("--only", nargs="+", choices=RUNS, default=list(RUNS))
    parser.add_argument("--per-class", type=int, default=PER_CLASS)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    data = options.data and options.data.expanduser().resolve()
    wanted = [name for name in options.only if data is not None or name == "digits"]
    lines = [
        f"## Descriptions of vectors beside random directions, "
        f"{datetime.datetime.now(datetime.UTC).date()}",
        "",
        f"`python -m benchmarks.descriptions{' --data DIR' if data else ''} --only "
        f"{' '.join(wanted)}`: {os.cpu_count()} cores, Python {platform.python_version()}, NumPy "
        f"{np.__version__}. Both directions; half of each class's images choose a description, the "
        "others judge it.",
        "",
    ]
    for name in wanted:
        found = described(run_of(name, data, options.per_class))
        for words, (of_run, seconds) in found.items():
            lines += section(f"{name}, by {words}", of_run, seconds)
    print("\n".join(lines))
    with options.results.open("a") as file:
        file.write("\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
