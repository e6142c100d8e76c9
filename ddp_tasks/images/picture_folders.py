"""What lies in a folder of labelled pictures: which data set reads it, and how its pictures are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from schemas.object_paths import ObjectPath
from schemas.run_error import RunError
from schemas.shown import shown

#: Folders of a data set's parts, the first that exists is taken.
_PARTS = ("test", "val", "validation", "valid", "train")

_SUFFIXES = {".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"}

#: Pictures that are opened, and how often a folder of ImageNet is called by its synset.
_OPENED, _SYNSET = 200, re.compile(r"n\d{8}")

#: Files of data sets that torchvision reads, below their root.
_TORCHVISION = {
    "MNIST": "MNIST/raw/t10k-images-idx3-ubyte",
    "FashionMNIST": "FashionMNIST/raw/t10k-images-idx3-ubyte",
    "CIFAR10": "cifar-10-batches-py/test_batch",
    "CIFAR100": "cifar-100-python/test",
}


@dataclass(frozen=True)
class PictureFolder:
    """A labelled image set found in a folder."""

    factory: str
    kwargs: Mapping[str, Any]
    said: str
    """what was found, in a sentence without its full stop."""
    sizes: tuple[tuple[int, int], ...] = ()
    """smallest and largest (height, width) of the pictures opened; one if all are alike."""
    mean: tuple[float, ...] = ()
    """of the pixels of the pictures opened, from 0 to 1, for each channel."""
    std: tuple[float, ...] = ()
    fewest: int | None = None
    """pictures of the smallest class."""


def look_at(folder: Path) -> PictureFolder:
    """The image set in a folder, with sizes, mean and standard deviation of some pictures.

    Raises
    ------
    RunError
        If it is no folder, or holds no folder of a class with pictures in it.
    """
    written = f"images: {shown(repr(str(folder)))}"
    root = folder.expanduser().resolve()
    if not root.is_dir():
        raise RunError(f"{written} is not a folder that exists")
    for name, file in _TORCHVISION.items():
        if (root / file).is_file() or (root / f"{file}.gz").is_file():
            factory, kwargs = f"torchvision.datasets:{name}", {"root": str(root), "train": False}
            return PictureFolder(
                factory, kwargs, f"{name}'s test images, as torchvision reads them"
            )
    part = next((root / name for name in _PARTS if _classes(root / name)), root)
    classes = _classes(part)
    if not classes:
        pictures = sum(1 for _ in _pictures(root))
        raise RunError(
            f"{written} holds {pictures} pictures and no folder of a class; put the pictures of "
            "each class into a folder of the class's name"
        )
    counts = {name: sum(1 for _ in _pictures(part / name)) for name in classes}
    said = f"{len(classes)} folders of {sum(counts.values()):,} pictures"
    if part != root:
        said += f" in {part.name}"
    if isinstance(part, ObjectPath):
        factory = "ddp_tasks.images:picture_folder"
    else:
        factory = "torchvision.datasets:ImageFolder"
    of_imagenet = all(_SYNSET.fullmatch(name) for name in classes)
    factory = "ddp_tasks.images:imagenet" if of_imagenet else factory
    kwargs = {"root": str(part)}
    every = [path for name in classes for path in _pictures(part / name)]
    chosen = every[:: max(1, len(every) // _OPENED)]
    return PictureFolder(factory, kwargs, said, *_measured(chosen), min(counts.values()))


def _classes(folder: Path) -> list[str]:
    """Folders that hold pictures, by name."""
    if not folder.is_dir():
        return []
    return sorted(
        inner.name
        for inner in folder.iterdir()
        if inner.is_dir() and not inner.name.startswith(".") and any(_pictures(inner))
    )


def _pictures(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.iterdir()) if path.suffix.lower() in _SUFFIXES)


def _measured(
    pictures: list[Path],
) -> tuple[tuple[tuple[int, int], ...], tuple[float, ...], tuple[float, ...]]:
    """Sizes, mean and standard deviation of pictures in colour; those that do not open are not."""
    sizes, sums, squares, pixels = [], np.zeros(3), np.zeros(3), 0
    for path in pictures:
        try:
            with path.open("rb") as file, Image.open(file) as opened:
                picture = np.asarray(opened.convert("RGB"), dtype=np.float64) / 255
        except (OSError, UnidentifiedImageError):
            continue
        sizes.append(picture.shape[:2])
        sums += picture.sum(axis=(0, 1))
        squares += (picture**2).sum(axis=(0, 1))
        pixels += picture.shape[0] * picture.shape[1]
    if not sizes:
        raise RunError(f"images: {shown(repr(str(pictures[0])))} is no picture that can be opened")
    mean = sums / pixels
    std = np.sqrt(np.maximum(squares / pixels - mean**2, 0))
    ends = dict.fromkeys((min(sizes), max(sizes)))
    return (
        tuple(ends),
        tuple(mean.round(3).tolist()),
        tuple(np.maximum(std, 1e-3).round(3).tolist()),
    )
