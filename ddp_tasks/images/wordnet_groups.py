"""Groups of ImageNet's classes by WordNet, as the project keeps them (imagenet_groups.yaml)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources

from schemas import yaml_files

_ID = re.compile(r"n\d{8}")


@cache
def wordnet_groups() -> Mapping[str, Sequence[str]]:
    """WordNet ids of classes by name of their group: dogs, birds, musical instruments, ..."""
    file = resources.files("ddp_tasks.images") / "imagenet_groups.yaml"
    table = yaml_files.mapping(file.read_text(), file.name)
    return {name: group["classes"] for name, group in table.items()}


def wordnet_ids(images: Sequence[str]) -> list[str | None]:
    """The WordNet id among the folders of each image's id; None where there is none.

    Parameters
    ----------
    images
        ids of images, such as ``n02085620/n02085620_7.JPEG``.
    """
    return [
        next((folder for folder in image.split("/")[:-1] if _ID.fullmatch(folder)), None)
        for image in images
    ]
