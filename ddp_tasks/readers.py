"""How the pictures of a dataset are read: from its files, from its memory, or through its index.

The dataset itself, ``dataset[i]``, says what its pictures are. The faster ways here are taken
only where they are known to give the same: with torchvision's own classes, whose index does
nothing else than what is done here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision import datasets
from torchvision.datasets import folder
from torchvision.transforms.v2 import functional as transforms

from ddp_tasks.contents import UNKNOWN, Content, content
from ddp_tasks.pictures import decoded

#: What makes an image unreadable, in words.
Reason = str

_IN_MEMORY = (datasets.MNIST.__getitem__, datasets.CIFAR10.__getitem__)
_LOADERS = (folder.default_loader, folder.pil_loader)


class Reader(Protocol):
    """Reads images of a dataset by their indices in it."""

    concurrent: bool
    """whether several threads may read at once."""

    def read(
        self,
        index: npt.NDArray[np.int64],
        device: torch.device,
        contents: list[Content] | None = None,
    ) -> Sequence[Tensor | Reason]:
        """Each image as the dataset has it, uint8 or float, or the reason why it is unreadable.

        Shape (c, m, n) where the dataset gives pictures.

        Parameters
        ----------
        contents
            receives the content of each image, in the same order.
        """
        ...

    def content(self, index: int) -> Content:
        """What tells an image from another; ``UNKNOWN`` if it is unreadable."""
        ...

    def size(self, index: int) -> int | None:
        """Size of the content where it is known without reading it."""
        ...


def reader(dataset: Any) -> Reader:
    """The fastest way to read a dataset that gives what the dataset itself gives."""
    index = type(dataset).__getitem__
    # A class that inherits the index may bring a way of its own to ask for many items.
    if hasattr(dataset, "__getitems__") or getattr(dataset, "transform", None) is not None:
        return IndexReader(dataset)
    if index in _IN_MEMORY and torch.as_tensor(dataset.data).dtype == torch.uint8:
        return MemoryReader(dataset.data)
    if index is datasets.DatasetFolder.__getitem__ and dataset.loader in _LOADERS:
        return FileReader(dataset)
    return IndexReader(dataset)


class MemoryReader:
    """Pictures that lie in memory as one array; a batch is one index operation.

    Parameters
    ----------
    data
        uint8, shape (images, m, n) or (images, m, n, c).
    """

    concurrent = False

    def __init__(self, data: Tensor | npt.NDArray[np.uint8]) -> None:
        self._rows = np.ascontiguousarray(data)
        pixels = torch.as_tensor(data)
        self._pixels = pixels[:, None] if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)

    def read(
        self,
        index: npt.NDArray[np.int64],
        device: torch.device,
        contents: list[Content] | None = None,
    ) -> Sequence[Tensor]:
        """See ``Reader``."""
        if contents is not None:
            contents.extend(self.content(int(i)) for i in index)
        return self.block(index).unbind()

    def block(self, index: npt.NDArray[np.int64]) -> Tensor:
        """Images of the dataset, uint8, shape (len(index), c, m, n)."""
        first, last = int(index[0]), int(index[-1])
        if np.array_equal(index, np.arange(first, last + 1)):
            return self._pixels[first : last + 1]
        return self._pixels[torch.from_numpy(index)]

    def content(self, index: int) -> Content:
        """See ``Reader``. The bytes of its pixels."""
        return content(self._rows[index].data)

    def size(self, index: int) -> int:
        """See ``Reader``."""
        return int(self._rows[index].nbytes)


class FileReader:
    """Picture files in torchvision's folders, decoded without PIL where torchvision can.

    Parameters
    ----------
    tree
        an ``ImageFolder`` or other ``DatasetFolder`` with torchvision's loader.
    """

    concurrent = True

    def __init__(self, tree: datasets.DatasetFolder) -> None:
        self._paths = [path for path, _ in tree.samples]
        self._root, self._loader = str(tree.root), tree.loader

    def read(
        self,
        index: npt.NDArray[np.int64],
        device: torch.device,
        contents: list[Content] | None = None,
    ) -> Sequence[Tensor | Reason]:
        """See ``Reader``."""
        found: list[Tensor | Reason] = [""] * len(index)
        of_files = [UNKNOWN] * len(index)
        files: dict[int, Tensor] = {}
        for place, i in enumerate(index):
            try:
                data = np.fromfile(self._paths[i], np.uint8)
            except OSError as error:
                found[place] = self._reason(error)
                continue
            files[place] = torch.from_numpy(data)
            if contents is not None:
                of_files[place] = content(data.data)
        for place, picture in zip(files, decoded(list(files.values()), device), strict=True):
            found[place] = self._loaded(index[place]) if picture is None else picture
        if contents is not None:
            contents.extend(of_files)
        return found

    def content(self, index: int) -> Content:
        """See ``Reader``. The file's bytes: the same whatever decodes them."""
        try:
            return content(Path(self._paths[index]).read_bytes())
        except OSError:
            return UNKNOWN

    def size(self, index: int) -> int | None:
        """See ``Reader``."""
        try:
            return Path(self._paths[index]).stat().st_size
        except OSError:
            return UNKNOWN.size

    def _loaded(self, index: int) -> Tensor | Reason:
        """A picture that torchvision does not decode, as the dataset's own loader reads it."""
        try:
            return _tensor(self._loader(self._paths[index]))
        except Exception as error:  # noqa: BLE001 - decoders raise whatever bytes provoke
            return self._reason(error)

    def _reason(self, error: Exception) -> Reason:
        # Where the tree lies says nothing of the image, and differs between machines.
        return _reason(error).replace(f"{self._root.rstrip('/')}/", "")


class IndexReader:
    """Images of any map-style dataset, asked for by index, all at once where it allows that.

    One thread reads, since nothing promises that a dataset bears more.
    """

    concurrent = False

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def read(
        self,
        index: npt.NDArray[np.int64],
        device: torch.device,
        contents: list[Content] | None = None,
    ) -> Sequence[Tensor | Reason]:
        """See ``Reader``. An item that fails leaves the others as they are."""
        found = self._read(index)
        if contents is not None:
            contents.extend(_content_of(picture) for picture in found)
        return found

    def content(self, index: int) -> Content:
        """See ``Reader``. The bytes of the array that the dataset gives."""
        return _content_of(self._one(index))

    def size(self, index: int) -> int | None:
        """See ``Reader``."""
        return None

    def _read(self, index: npt.NDArray[np.int64]) -> Sequence[Tensor | Reason]:
        at_once = getattr(self._dataset, "__getitems__", None)
        if callable(at_once):
            try:
                items = at_once(index.tolist())
                found = [_tensor(item[0]) for item in items]
            except Exception:  # noqa: BLE001 - the person's own code; one by one tells which fails
                found = []
            if len(found) == len(index):
                return found
        return [self._one(int(i)) for i in index]

    def _one(self, index: int) -> Tensor | Reason:
        try:
            return _tensor(self._dataset[index][0])
        except Exception as error:  # noqa: BLE001 - the person's own code may raise anything
            return _reason(error)


def _content_of(picture: Tensor | Reason) -> Content:
    if isinstance(picture, str):
        return UNKNOWN
    # Bytes rather than numbers: NumPy has no bfloat16.
    return content(picture.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)


def _tensor(picture: Any) -> Tensor:
    return picture if isinstance(picture, Tensor) else transforms.pil_to_tensor(picture)


def _reason(error: Exception) -> Reason:
    return f"{type(error).__name__}: {error}"
