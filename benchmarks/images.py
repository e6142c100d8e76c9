"""What reading pictures costs: beside PIL with torchvision's transforms, and within a run.

    python -m benchmarks.images --images FOLDER [--count 1000] [--runs 3]

FOLDER is a tree of JPEG files in one folder a class. Two things are measured, each side in turn
with the other: reading, decoding and resizing on one core; and the signals stage of a run over the
files against the same run over the same pictures decoded before, in a memory-mapped array. Appends
a section to benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from PIL import Image
from torch import Tensor
from torch.utils.data import Subset
from torchvision import transforms
from torchvision.datasets import ImageFolder

from ddp_tasks.images.image_sets import ImageSet, open_images
from ddp_tasks.store import groups as stores
from ddp_tasks.store import shards
from ddp_tasks.workers.signals import fill_shard
from ddp_tasks.workers.stored_run import StoredRun
from schemas.parameters import RunParameters, TransformParameters

RESULTS = Path(__file__).with_name("RESULTS.md")
HERE = Path(__file__).resolve()
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
BATCH = 32
#: Shorter side of ImageNet's own pictures, whose median is 500×375.
ORIGINAL = 375


class First(ImageFolder):
    """The first files of a tree of folders."""

    def __init__(self, root: str, count: int) -> None:
        super().__init__(root)
        self.samples = self.samples[:count]
        self.targets = self.targets[:count]


class Decoded:
    """The same pictures, decoded, resized and cropped before, in a memory-mapped file."""

    def __init__(self, file: str, root: str, count: int) -> None:
        self.pixels = np.load(file, mmap_mode="r")
        self.targets = First(root, count).targets

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.from_numpy(self.pixels[index].copy()).permute(2, 0, 1), self.targets[index]


def network() -> torch.nn.Module:
    """ResNet-18 with the same random weights in every process."""
    torch.manual_seed(0)
    return torchvision.models.resnet18()


def run_over(images: dict[str, Any], transform: dict[str, Any], **changes: Any) -> RunParameters:
    """A run of ResNet-18 with random weights; its time does not depend on them."""
    content = {
        "name": "images",
        "model": {"factory": f"{HERE}:network"},
        "images": {**images, "transform": {**transform, "mean": MEAN, "std": STD}},
        "shards": {"images": 128, "batch_size": BATCH},
        "cluster": "local",
        **changes,
    }
    return RunParameters.model_validate(content)


def in_turns(sides: Sequence[Callable[[], object]], runs: int) -> list[float]:
    """Least seconds of the processor of each side, taken in turns after one warm-up."""
    seconds: list[list[float]] = [[] for _ in sides]
    for turn in range(runs + 1):
        for taken, side in zip(seconds, sides, strict=True):
            started = time.process_time()
            side()
            if turn:
                taken.append(time.process_time() - started)
    return [min(taken) for taken in seconds]


def by_pil(root: Path, count: int, transform: TransformParameters) -> None:
    """Input batches as a person writes them with torchvision's transforms."""
    steps = transforms.Compose(
        [
            transforms.Resize(transform.resize),
            transforms.CenterCrop(transform.crop),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    pictures = Subset(ImageFolder(str(root), steps), range(count))
    for first in range(0, count, BATCH):
        torch.stack([pictures[i][0] for i in range(first, min(first + BATCH, count))])


def by_us(images: ImageSet) -> None:
    """The same batches as a run makes them, in the thread that asks for them."""
    memory: Tensor | None = None
    for first in range(0, len(images), BATCH):
        found = images.read(first, min(first + BATCH, len(images)))
        pictures = [picture for picture in found if isinstance(picture, Tensor)]
        batch = images.inputs(pictures, into=None if memory is None else memory[: len(pictures)])
        memory = batch if memory is None else memory


def enlarged(root: Path, count: int, folder: Path) -> Path:
    """The files with a shorter side of 375 pixels, encoded anew."""
    tree = First(str(root), count)
    for (path, _), (picture, _) in zip(tree.samples, tree, strict=True):
        factor = ORIGINAL / min(picture.size)
        place = folder / Path(path).relative_to(root).with_suffix(".jpg")
        place.parent.mkdir(parents=True, exist_ok=True)
        size = (round(picture.width * factor), round(picture.height * factor))
        picture.resize(size, Image.Resampling.BICUBIC).save(place, quality=90)
    return folder


def reading_lines(root: Path, count: int, runs: int, folder: Path) -> list[str]:
    """Reading alone: rows of a table."""
    sizes = sorted(min(picture.size) for picture, _ in First(str(root), count))
    rows = []
    for name, tree, transform in (
        ("shorter side to 256, crop 224", root, {"resize": 256, "crop": 224}),
        ("shorter side to 224, crop 224", root, {"resize": 224, "crop": 224}),
        (
            f"enlarged to {ORIGINAL} before; to 256, crop 224",
            enlarged(root, count, folder / "enlarged"),
            {"resize": 256, "crop": 224},
        ),
    ):
        images = {"factory": f"{HERE}:First", "kwargs": {"root": str(tree), "count": count}}
        run = run_over(images, transform)
        image_set = open_images(run.images)
        assert run.images.transform is not None
        asked = run.images.transform
        pil, ours = in_turns(
            [lambda t=tree, a=asked: by_pil(t, count, a), lambda s=image_set: by_us(s)],
            runs,
        )
        rows.append(
            f"| {name} | {1000 * pil / count:.2f} | {1000 * ours / count:.2f} | {pil / ours:.2f} |"
        )
    return [
        "### Reading, decoding, resizing and standardising on one core",
        "",
        f"{count} JPEG files, shorter side {sizes[len(sizes) // 2]} pixels (median), batches of "
        f"{BATCH}, torch with one thread; least of {runs} turns, processor seconds.",
        "",
        "| transform | PIL and torchvision, ms an image | ours, ms an image | ratio |",
        "| --- | ---: | ---: | ---: |",
        *rows,
    ]


def run_lines(root: Path, count: int, runs: int, folder: Path) -> list[str]:
    """A run's signals stage from files and from decoded images: rows of a table."""
    kwargs = {"root": str(root), "count": count}
    from_files = run_over(
        {"factory": f"{HERE}:First", "kwargs": kwargs}, {"resize": 256, "crop": 224}
    )
    images = open_images(from_files.images)
    pixels = np.lib.format.open_memmap(
        folder / "decoded.npy", "w+", np.uint8, (len(images), 224, 224, 3)
    )
    for i in range(len(images)):
        (picture,) = images.read(i, i + 1)
        assert isinstance(picture, Tensor)
        pixels[i] = picture.permute(1, 2, 0).numpy()
    pixels.flush()
    decoded = {"file": str(folder / "decoded.npy"), **kwargs}
    from_array = run_over({"factory": f"{HERE}:Decoded", "kwargs": decoded}, {})
    both = [(from_files, folder / "files.zarr"), (from_array, folder / "array.zarr")]

    wall: list[list[float]] = [[], []]
    for turn in range(runs):
        for taken, (run, path) in zip(wall, both, strict=True):
            taken.append(signals_stage(run, path.with_stem(f"{path.stem}-{turn}")))
    files, array = map(statistics.median, wall)
    # In this process alone, for the processor's seconds: shards may be written again.
    first = [(run, path.with_stem(f"{path.stem}-0")) for run, path in both]
    files_cpu, array_cpu = in_turns([lambda r=r, p=p: all_shards(r, p) for r, p in first], runs)
    return [
        "",
        "### A run from JPEG files against the same run from decoded images",
        "",
        f"ResNet-18, {count} images, float32, one worker a core; signals stage, median of {runs} "
        "runs in turns by the clock; and the same shards in one process with one torch thread, "
        "least processor seconds.",
        "",
        "| | from files, s | from decoded images, s | ratio |",
        "| --- | ---: | ---: | ---: |",
        f"| signals stage, by the clock | {files:.2f} | {array:.2f} | {array / files:.3f} |",
        f"| shards in one process, processor | {files_cpu:.2f} | {array_cpu:.2f} "
        f"| {array_cpu / files_cpu:.3f} |",
    ]


def signals_stage(run: RunParameters, path: Path) -> float:
    """Seconds from the start of the signals stage to the sealed cube."""
    # flows sets what Prefect reads at its first import, so it goes first.
    from flows.clusters import scheduler  # isort: skip
    from prefect import flow

    from ddp_tasks.stages import decomposition, signals

    @flow(name="images-benchmark")
    def stages() -> float:
        with scheduler(run.cluster) as address:
            decomposition.decompose_layers(run, path, address)
            started = time.perf_counter()
            signals.fill_cube(run, path, address)
            stores.seal(path)
            return time.perf_counter() - started

    return stages()


def all_shards(run: RunParameters, path: Path) -> None:
    """Every shard of a run, one after the other, in this process."""
    for shard in shards.shards(path):
        fill_shard(StoredRun.of(path, run), shard)


def main() -> None:
    """Measure and append."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, required=True, help="a tree of JPEG files")
    parser.add_argument("--count", type=int, default=1000, help="images to take")
    parser.add_argument("--runs", type=int, default=3, help="turns of each side")
    parser.add_argument("--out", type=Path, default=RESULTS, help="what to append to")
    given = parser.parse_args()
    root = given.images.expanduser()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        lines = [
            f"\n## Images, {datetime.date.today().isoformat()}",
            "",
            f"`python -m benchmarks.images --count {given.count} --runs {given.runs}`; "
            f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}, torchvision "
            f"{torchvision.__version__}, Pillow {Image.__version__}.",
            "",
            *reading_lines(root, given.count, given.runs, Path(folder)),
            *run_lines(root, given.count, given.runs, Path(folder)),
        ]
    with given.out.open("a") as file:
        file.write("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
