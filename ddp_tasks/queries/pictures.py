"""Pictures of a run's images, read from its store: the data set is not needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ddp_tasks.store import groups


class StoredPictures(Mapping[str, npt.NDArray[np.uint8]]):
    """Small copies of the images that are shown of a run, by image id: shape (m, n, 3)."""

    def __init__(self, path: Path) -> None:
        stored = groups.read(path, "pictures").load()
        self._pictures = stored["picture"].to_numpy()
        self._sizes = np.stack([stored["height"].to_numpy(), stored["width"].to_numpy()], axis=1)
        ids = stored["image"].to_numpy().tolist()
        self._position = {image: position for position, image in enumerate(ids)}

    def __getitem__(self, image: str) -> npt.NDArray[np.uint8]:
        """The picture of one image.

        Raises
        ------
        KeyError
            If the store keeps no picture of it.
        """
        position = self._position[image]
        height, width = self._sizes[position]
        return self._pictures[position, :height, :width]

    def __iter__(self) -> Iterator[str]:
        return iter(self._position)

    def __len__(self) -> int:
        return len(self._position)


def open_pictures(folder: Path) -> StoredPictures:
    """The pictures in the folder of a finished run.

    Raises
    ------
    RunError
        If there is no store of a run of this format in the folder.
    """
    path = folder.expanduser() / "store.zarr"
    groups.root_attributes(path)
    return StoredPictures(path)
