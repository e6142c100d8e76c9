"""Reading the pictures of a dataset: from its files, from memory, or through its index.

The pictures are defined by the dataset itself, ``dataset[i]``. The faster ways here are used only
where they are known to give the same: for torchvision's own classes, whose index does nothing
more than what is done here.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from ddp_tasks.callables.called_code import ENDINGS
from ddp_tasks.images.contents import UNKNOWN, Content, content
from ddp_tasks.images.dataset_parts import Parts, dataset_parts
from ddp_tasks.images.items import ItemError, picture_of
from ddp_tasks.images.object_folders import load_picture
from ddp_tasks.images.pictures import decoded
from ddp_tasks.images.pixels import colours, pixels
from ddp_tasks.images.torchvision_sets import has_index_of
from schemas.object_paths import is_address, path_of
from schemas.parameters import ItemKeys
from schemas.shown import error_shown

#: Why an image is unreadable, in words.
Reason = str

_IN_MEMORY = ("MNIST", "CIFAR10")
_LOADERS = ("default_loader", "pil_loader")


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
        """Each image as the dataset gives it, uint8 or float, or why it is unreadable.

        Shape (c, m, n) if the dataset gives pictures.

        Parameters
        ----------
        contents
            receives the content of each image, in the same order.
        """
        ...

    def content(self, index: int) -> Content:
        """Size and digest of an image's bytes; ``UNKNOWN`` if it is unreadable."""
        ...

    def size(self, index: int) -> int | None:
        """Size of the content; None if it is not known without reading."""
        ...


def reader(dataset: Any, keys: ItemKeys | None = None) -> Reader:
    """The fastest reader that gives the same pictures as the dataset itself.

    Parameters
    ----------
    keys
        as in ``items.picture_of``.
    """
    parts = dataset_parts(dataset)
    of_sets = [_reader(part, keys) for part in parts.sets]
    return of_sets[0] if parts.whole else PartsReader(parts, of_sets)


def _reader(dataset: Any, keys: ItemKeys | None) -> Reader:
    # A class that inherits the index may have its own way to give many items.
    own_way = hasattr(dataset, "__getitems__") or getattr(dataset, "transform", None) is not None
    if own_way or keys is not None:
        return IndexReader(dataset, keys)
    if has_index_of(dataset, *_IN_MEMORY) and torch.as_tensor(dataset.data).dtype == torch.uint8:
        return MemoryReader(dataset.data)
    if has_index_of(dataset, "DatasetFolder"):
        from torchvision.datasets import folder

        if dataset.loader in [load_picture, *(getattr(folder, name) for name in _LOADERS)]:
            return FileReader(dataset)
    return IndexReader(dataset, keys)


class PartsReader:
    """Images of several datasets or of parts of one, each read by the reader of its dataset.

    Parameters
    ----------
    parts
        where each item lies.
    readers
        of the datasets, in the order of ``parts.sets``.
    """

    def __init__(self, parts: Parts, readers: Sequence[Reader]) -> None:
        self._parts, self._readers = parts, readers
        self.concurrent = all(reader.concurrent for reader in readers)

    def read(
        self,
        index: npt.NDArray[np.int64],
        device: torch.device,
        contents: list[Content] | None = None,
    ) -> Sequence[Tensor | Reason]:
        """See ``Reader``."""
        images: list[Tensor | Reason] = [""] * len(index)
        of_images = [UNKNOWN] * len(index)
        for part in np.unique(self._parts.part[index]).tolist():
            places = np.flatnonzero(self._parts.part[index] == part).tolist()
            here: list[Content] | None = None if contents is None else []
            within = self._parts.index[index[places]]
            pictures = self._readers[part].read(within, device, here)
            for place, picture in zip(places, pictures, strict=True):
                images[place] = picture
            for place, known in zip(places, here or (), strict=here is not None):
                of_images[place] = known
        if contents is not None:
            contents.extend(of_images)
        return images

    def content(self, index: int) -> Content:
        """See ``Reader``."""
        return self._readers[self._parts.part[index]].content(int(self._parts.index[index]))

    def size(self, index: int) -> int | None:
        """See ``Reader``."""
        return self._readers[self._parts.part[index]].size(int(self._parts.index[index]))


class MemoryReader:
    """Pictures in one array in memory; a batch takes one index operation.

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
    """Picture files in torchvision's folders, decoded by torchvision if it can, else by PIL.

    Parameters
    ----------
    tree
        an ``ImageFolder`` or other ``DatasetFolder`` with torchvision's loader.
    """

    concurrent = True

    def __init__(self, tree: Any) -> None:
        self._paths = [path for path, _ in tree.samples]
        self._root = str(tree.root)
        self._sizes: Mapping[str, int] = getattr(tree, "sizes", {})

    def read(
        self,
        index: npt.NDArray[np.int64],
        device: torch.device,
        contents: list[Content] | None = None,
    ) -> Sequence[Tensor | Reason]:
        """See ``Reader``."""
        images: list[Tensor | Reason] = [""] * len(index)
        of_files = [UNKNOWN] * len(index)
        files: dict[int, Tensor] = {}
        for place, i in enumerate(index):
            try:
                data = _file_bytes(self._paths[i])
            except OSError as error:
                images[place] = self._reason(error)
                continue
            files[place] = torch.from_numpy(data)
            if contents is not None:
                of_files[place] = content(data.data)
        for place, picture in zip(files, decoded(list(files.values()), device), strict=True):
            images[place] = self._loaded(index[place], files[place]) if picture is None else picture
        if contents is not None:
            contents.extend(of_files)
        return images

    def content(self, index: int) -> Content:
        """See ``Reader``. These are the file's bytes, whatever decodes them."""
        try:
            return content(path_of(self._paths[index]).read_bytes())
        except OSError:
            return UNKNOWN

    def size(self, index: int) -> int | None:
        """See ``Reader``."""
        if (known := self._sizes.get(self._paths[index])) is not None:
            return known
        try:
            return path_of(self._paths[index]).stat().st_size
        except OSError:
            return UNKNOWN.size

    def _loaded(self, index: int, data: Tensor) -> Tensor | Reason:
        """A picture that torchvision does not decode, read as the dataset's own loader does.

        Grey pictures of 16 bits are the exception: that loader clips them to white; see ``pixels``.
        """
        file = io.BytesIO(data.numpy().tobytes())
        try:
            with Image.open(file) as image:
                return colours(image)
        except Exception as error:  # noqa: BLE001 - decoders may raise anything for damaged bytes
            return self._reason(error).replace(repr(file), repr(self._below(index)))

    def _below(self, index: int) -> str:
        return str(self._paths[index]).replace(f"{self._root.rstrip('/')}/", "")

    def _reason(self, error: Exception) -> Reason:
        # The place of the tree does not matter to the image, and differs between machines.
        return _reason(error).replace(f"{self._root.rstrip('/')}/", "")


class IndexReader:
    """Images of any map-style dataset, read by index, all at once if the dataset allows that.

    Only one thread reads, since a dataset need not be safe with more.
    """

    concurrent = False

    def __init__(self, dataset: Any, keys: ItemKeys | None = None) -> None:
        self._dataset, self._keys = dataset, keys

    def read(
        self,
        index: npt.NDArray[np.int64],
        device: torch.device,
        contents: list[Content] | None = None,
    ) -> Sequence[Tensor | Reason]:
        """See ``Reader``. An item that fails does not affect the others."""
        images = self._read(index)
        if contents is not None:
            contents.extend(_content_of(picture) for picture in images)
        return images

    def content(self, index: int) -> Content:
        """See ``Reader``. These are the bytes of the array that the dataset gives."""
        return _content_of(self._one(index))

    def size(self, index: int) -> int | None:
        """See ``Reader``."""
        return None

    def _read(self, index: npt.NDArray[np.int64]) -> Sequence[Tensor | Reason]:
        at_once = getattr(self._dataset, "__getitems__", None)
        if callable(at_once):
            try:
                items = at_once(index.tolist())
                images = [pixels(picture_of(item, self._keys)) for item in items]
            except ENDINGS:  # the person's own code; reading one by one shows which fails
                images = []
            if len(images) == len(index):
                return images
        return [self._one(int(i)) for i in index]

    def _one(self, index: int) -> Tensor | Reason:
        try:
            return pixels(picture_of(self._dataset[index], self._keys))
        except ItemError as error:
            return str(error)
        except ENDINGS as error:  # the person's own code may raise anything
            return _reason(error)


def _file_bytes(path: str) -> npt.NDArray[np.uint8]:
    if is_address(path):
        return np.frombuffer(bytearray(path_of(path).read_bytes()), np.uint8)
    return np.fromfile(path, np.uint8)


def _content_of(picture: Tensor | Reason) -> Content:
    if isinstance(picture, str):
        return UNKNOWN
    # As bytes, since NumPy has no bfloat16.
    return content(picture.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)


def _reason(error: BaseException) -> Reason:
    return error_shown(error)
