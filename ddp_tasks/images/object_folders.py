"""Picture files in folders of an object store, one folder for each class."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from schemas.object_paths import ObjectPath, path_of


def folder_names(folder: Path) -> list[str]:
    """Names of the folders directly below one, on a disk or at an address; sorted."""
    if isinstance(folder, ObjectPath):
        return sorted(folder.folders_below())
    return sorted(inner.name for inner in folder.iterdir() if inner.is_dir())


def picture_objects(
    root: ObjectPath, label: Mapping[str, int], endings: tuple[str, ...]
) -> dict[str, tuple[int, int]]:
    """Addresses of the pictures in the folders of classes, in the order of torchvision.

    Parameters
    ----------
    label
        of each folder.
    endings
        of the names of pictures, in small letters.

    Returns
    -------
    label and size in bytes, by address
    """
    found = []
    for path, size in root.walked():
        folder, _, name = str(path).rpartition("/")
        of_class = path.parts[len(root.parts)]
        if of_class in label and folder != str(root) and name.lower().endswith(endings):
            found.append((of_class, folder, name, size))
    return {f"{folder}/{name}": (label[c], size) for c, folder, name, size in sorted(found)}


def load_picture(path: str) -> Image.Image:
    """A picture at an address, in colour, as torchvision's own loader gives it of a file."""
    with Image.open(io.BytesIO(path_of(path).read_bytes())) as picture:
        return picture.convert("RGB")
