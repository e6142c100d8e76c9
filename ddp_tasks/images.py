"""Labelled image sets: which images a run takes, their stable ids, and their tensors."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr
from torch import Tensor

from ddp_tasks import factories
from ddp_tasks.contents import UNKNOWN, Content
from ddp_tasks.pictures import fitted, stacked, standardised
from ddp_tasks.readers import MemoryReader, Reader, Reason, reader
from ddp_tasks.unreadable import Unreadable
from schemas.parameters import ImageParameters, RunError, TransformParameters

_DIGEST_SAMPLES = 16
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class ImageSet:
    """The images that a run takes from a map-style dataset, in the order of the dataset."""

    dataset: Any
    dataset_index: npt.NDArray[np.int64]
    target: npt.NDArray[np.int64]
    ids: tuple[str, ...]
    target_classes: tuple[str, ...]
    transform: TransformParameters | None
    unreadable_share: float
    """of the images; more that cannot be read stop the run."""

    def __len__(self) -> int:
        return len(self.dataset_index)

    @cached_property
    def reader(self) -> Reader:
        """The way in which the dataset is read."""
        return reader(self.dataset)

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Shape of every image of the run: that of the first that can be read.

        Raises
        ------
        RunError
            If more images at the start of the run cannot be read than may be in all.
        """
        found = self._picture(self.first_readable)
        assert isinstance(found, Tensor)
        return tuple(found.shape)

    @cached_property
    def first_readable(self) -> int:
        """Position in the run of the first image that can be read.

        Raises
        ------
        RunError
            If more images before it cannot be read than may be in all.
        """
        unreadable = Unreadable(self.unreadable_share, len(self))
        for image in range(len(self)):
            found = self._picture(image)
            if not isinstance(found, str):
                return image
            unreadable.add({self.ids[image]: found})
        raise RunError(unreadable.told())

    def read(
        self,
        start: int,
        stop: int,
        device: torch.device = _CPU,
        contents: dict[int, Content] | None = None,
    ) -> list[Tensor | Reason]:
        """Images start to stop of the run as ``inputs`` takes them, or why they are unreadable.

        An image of another shape than the first is unreadable too.

        Parameters
        ----------
        device
            a GPU decodes there what it can; other pictures stay on the processor.
        contents
            receives the content of the readable images, by position in the run.

        Returns
        -------
        one an image: uint8, or float32 where the transform is null; shape ``self.shape``
        """
        index = self.dataset_index[start:stop]
        of_images: list[Content] | None = None if contents is None else []
        found = [self._fitted(picture) for picture in self.reader.read(index, device, of_images)]
        alike = [
            picture
            if isinstance(picture, str) or picture.shape == self.shape
            else self._odd(picture)
            for picture in found
        ]
        if contents is not None and of_images is not None:
            contents |= {
                image: content
                for image, (picture, content) in enumerate(
                    zip(alike, of_images, strict=True), start=start
                )
                if isinstance(picture, Tensor)
            }
        return alike

    @property
    def in_memory(self) -> bool:
        """Whether the dataset lies in memory, so that ``block`` gives images at once."""
        return isinstance(self.reader, MemoryReader)

    def block(self, start: int, stop: int, contents: dict[int, Content] | None = None) -> Tensor:
        """Images start to stop, as ``inputs`` takes them, of a dataset in memory.

        Parameters
        ----------
        contents
            as of ``read``.

        Returns
        -------
        uint8, shape (stop - start, *self.shape)

        Raises
        ------
        RunError
            See ``shape``; pictures in memory are all alike.
        """
        assert isinstance(self.reader, MemoryReader)
        assert self.shape
        assert self.transform is not None
        if contents is not None:
            for image in range(start, stop):
                contents[image] = self.content(image)
        return fitted(self.reader.block(self.dataset_index[start:stop]), self.transform)

    def inputs(
        self,
        pictures: Sequence[Tensor] | Tensor,
        device: torch.device = _CPU,
        into: Tensor | None = None,
    ) -> Tensor:
        """The network's input tensors, made on a device.

        Parameters
        ----------
        pictures
            as ``read`` or ``block`` gives them; at least one.
        into
            as in ``standardised``.

        Returns
        -------
        float32, shape (len(pictures), *self.shape)
        """
        block = pictures if isinstance(pictures, Tensor) else stacked(pictures, device)
        block = block.to(device, non_blocking=True)
        return block if self.transform is None else standardised(block, self.transform, into)

    def batch(self, start: int, stop: int) -> Tensor:
        """Input tensors of images start to stop of the run, on the processor.

        Returns
        -------
        float32, shape (stop - start, c, m, n)

        Raises
        ------
        RunError
            If an image cannot be read or does not become a tensor of the others' shape.
        """
        if self.in_memory:
            return self.inputs(self.block(start, stop))
        found = self.read(start, stop)
        for image, picture in enumerate(found, start=start):
            if isinstance(picture, str):
                raise RunError(f"image {self.ids[image]!r} cannot be read: {picture}")
        return self.inputs([picture for picture in found if isinstance(picture, Tensor)])

    def example(self) -> Tensor:
        """The input tensor of the first image that can be read: shape (1, c, m, n).

        Raises
        ------
        RunError
            See ``first_readable``.
        """
        return self.batch(self.first_readable, self.first_readable + 1)

    def examples(self, most: int) -> Tensor:
        """Input tensors of images spread over the run, those left out that cannot be read.

        Returns
        -------
        shape (k, ...), k from 1 to ``most``

        Raises
        ------
        RunError
            See ``first_readable``.
        """
        first = self.first_readable
        spread = np.unique(np.linspace(first, len(self) - 1, most).astype(int))
        found = [picture for at in spread.tolist() for picture in self.read(at, at + 1)]
        return self.inputs([picture for picture in found if isinstance(picture, Tensor)])

    def picture(self, image: int) -> npt.NDArray[np.uint8]:
        """One image to look at, before standardising: shape (m, n, 3), 0 to 255.

        Raises
        ------
        RunError
            If it cannot be read.
        """
        tensor = self._picture(image)
        if isinstance(tensor, str):
            raise RunError(f"image {self.ids[image]!r} cannot be read: {tensor}")
        if tensor.dtype != torch.uint8:
            low, high = tensor.min(), tensor.max()
            tensor = ((tensor - low) / (high - low).clamp_min(1e-12) * 255).to(torch.uint8)
        tensor = tensor[:3] if tensor.shape[0] >= 3 else tensor[:1].expand(3, -1, -1)
        return tensor.permute(1, 2, 0).contiguous().numpy()

    def described(self) -> xr.Dataset:
        """What the cube says of its images: ids, targets, and where they stand in the dataset."""
        return xr.Dataset(
            {"target": ("image", self.target), "dataset_index": ("image", self.dataset_index)},
            coords={
                "image": np.array(self.ids, dtype=object),
                "target_class": np.array(self.target_classes, dtype=object),
            },
        )

    def content(self, image: int) -> Content:
        """What tells the bytes of one image from another's; ``UNKNOWN`` if it is unreadable."""
        return self.reader.content(int(self.dataset_index[image]))

    def changed(self, image: int, recorded: Content) -> str | None:
        """What differs from an image's recorded content, in words; None if nothing does.

        Its size is compared first, so that little is read of a set of which much has changed.
        """
        size = self.reader.size(int(self.dataset_index[image]))
        found = self.content(image) if size in (None, recorded.size) else Content(size or 0, 0)
        if found.size == UNKNOWN.size:
            return "it cannot be read now"
        return found.changed_from(recorded)

    def digest(self) -> str:
        """SHA-256 of ids, targets and transform, then digests of images spread over the set.

        The content of a picture file is its bytes, so the digest is the same whatever decodes
        them on whichever machine. An image that cannot be read has a dash, so that it may be
        repaired: ``identity.same_images`` compares.
        """
        hashed = hashlib.sha256()
        hashed.update("\n".join(self.ids).encode())
        hashed.update(self.target.tobytes())
        hashed.update(self.transform.model_dump_json().encode() if self.transform else b"null")
        samples = np.linspace(0, len(self) - 1, min(_DIGEST_SAMPLES, len(self)))
        contents = [self._content_digest(int(image)) for image in samples]
        return f"{hashed.hexdigest()}:{','.join(contents)}"

    def _content_digest(self, image: int) -> str:
        (picture,) = self.read(image, image + 1)
        if isinstance(picture, str):
            return "-"
        return f"{self.content(image).digest:016x}"

    def _picture(self, image: int) -> Tensor | Reason:
        (found,) = self.reader.read(self.dataset_index[image : image + 1], _CPU)
        return self._fitted(found)

    def _fitted(self, picture: Tensor | Reason) -> Tensor | Reason:
        """One image resized and cropped: uint8, or float32 where there is no transform."""
        if isinstance(picture, str):
            return picture
        if self.transform is None:
            if not picture.is_floating_point():
                return (
                    f"it is {_describe(picture)}, no float tensor (c, m, n); give images.transform"
                )
            return picture.to(torch.float32)
        if picture.dtype != torch.uint8:
            return (
                f"it is {_describe(picture)}; images.transform takes pictures or uint8 tensors "
                "(set it to null for float tensors)"
            )
        try:
            return fitted(picture, self.transform)
        except (ValueError, RuntimeError) as error:
            return str(error)

    def _odd(self, picture: Tensor) -> Reason:
        return (
            f"it has shape {tuple(picture.shape)} and {self.ids[self.first_readable]!r} has "
            f"{self.shape}; give images.transform a resize and a crop"
        )


def open_images(parameters: ImageParameters) -> ImageSet:
    """The image set that a run file describes.

    Raises
    ------
    RunError
        If the factory fails, or what it gives is no map-style dataset with integer labels.
    """
    dataset = factories.call(parameters.factory, parameters.kwargs)
    if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
        raise RunError(
            f"images.factory {parameters.factory!r} gave {_describe(dataset)}, which has no "
            "length or index; a map-style dataset of (image, label) is needed"
        )
    if len(dataset) == 0:
        raise RunError(f"images.factory {parameters.factory!r} gave no images")
    targets = _targets(dataset)
    chosen = np.arange(len(targets))
    if parameters.per_class is not None:
        firsts = [np.flatnonzero(targets == t)[: parameters.per_class] for t in np.unique(targets)]
        chosen = np.sort(np.concatenate(firsts))
    return ImageSet(
        dataset=dataset,
        dataset_index=chosen,
        target=targets[chosen],
        ids=_ids(dataset, chosen),
        target_classes=_target_classes(dataset, targets),
        transform=parameters.transform,
        unreadable_share=parameters.unreadable,
    )


def _targets(dataset: Any) -> npt.NDArray[np.int64]:
    for name in ("targets", "labels", "_labels"):
        if (listed := getattr(dataset, name, None)) is not None:
            break
    else:
        listed = [_label(dataset, i) for i in range(len(dataset))]
    targets = np.asarray(listed)
    if targets.ndim != 1 or targets.dtype.kind not in "iu" or len(targets) != len(dataset):
        raise RunError(
            f"the dataset's labels are {targets.dtype} of shape {targets.shape}; one integer for "
            f"each of its {len(dataset)} images is needed"
        )
    if targets.min() < 0:
        raise RunError(f"the dataset has the label {targets.min()}; labels start at 0")
    return targets.astype(np.int64)


def _label(dataset: Any, index: int) -> Any:
    """The label of one image, of a dataset that has no list of them."""
    try:
        return dataset[index][1]
    except Exception as error:  # a dataset is the person's own code
        raise RunError(
            f"image {index} cannot be read, and so not its label: {type(error).__name__}: {error}; "
            "a dataset with a list of labels, its attribute targets, may hold unreadable images"
        ) from error


def _ids(dataset: Any, chosen: npt.NDArray[np.int64]) -> tuple[str, ...]:
    """Ids that stay the same wherever the dataset lies: paths below its root, or its indices."""
    samples: Sequence[tuple[str, int]] | None = getattr(dataset, "samples", None)
    root = getattr(dataset, "root", None)
    if samples is not None and root is not None:
        return tuple(_id_of_path(os.fspath(samples[i][0]), os.fspath(root)) for i in chosen)
    width = len(str(len(dataset) - 1))
    return tuple(f"{i:0{width}d}" for i in chosen)


def _id_of_path(path: str, root: str) -> str:
    # A listing begins with its root as given; pathlib takes ten times as long to see that.
    start = root.rstrip(os.sep) + os.sep
    below = path[len(start) :] if path.startswith(start) else str(Path(path).relative_to(root))
    name = below.replace(os.sep, "/")
    if name.isascii():
        return name
    # File systems differ in how they compose letters with accents, and a name need not be UTF-8.
    name = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return unicodedata.normalize("NFC", name)


def _target_classes(dataset: Any, targets: npt.NDArray[np.int64]) -> tuple[str, ...]:
    needed = int(targets.max()) + 1
    names = [str(name) for name in getattr(dataset, "classes", ())]
    names += [str(i) for i in range(len(names), needed)]
    # Some sets give two classes one name, ImageNet's cranes among them.
    return tuple(f"{n} ({i})" if names.count(n) > 1 else n for i, n in enumerate(names))


def _describe(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a {str(value.dtype).removeprefix('torch.')} tensor {tuple(value.shape)}"
    return f"a {type(value).__module__}.{type(value).__name__}"
