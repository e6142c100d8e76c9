"""Labelled image sets: which images a run takes, their stable ids, and their tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr
from torch import Tensor

from ddp_tasks.callables import factories
from ddp_tasks.images.class_names import target_classes, words
from ddp_tasks.images.contents import UNKNOWN, Content
from ddp_tasks.images.dataset_parts import Indices, Parts, dataset_parts
from ddp_tasks.images.image_ids import image_ids
from ddp_tasks.images.input_pictures import input_picture
from ddp_tasks.images.items import described, label_of
from ddp_tasks.images.labels import Labels, labels_of, labels_once, single_class
from ddp_tasks.images.pictures import fitted, stacked, standardised
from ddp_tasks.images.readers import MemoryReader, Reader, Reason, reader
from ddp_tasks.images.unreadable import Unreadable
from schemas.parameters import ImageParameters, ItemKeys, RunError, TransformParameters

_DIGEST_SAMPLES = 16
_CPU = torch.device("cpu")

#: Of a picture: channels, rows and columns.
_AXES = 3
_NOT_FINITE = "it holds NaN or infinity"


@dataclass(frozen=True)
class Stored:
    """Which images of a dataset a run takes, as its store says."""

    dataset_index: Indices
    target: Indices
    target_classes: tuple[str, ...]


@dataclass(frozen=True)
class ImageSet:
    """The images that a run takes from a map-style dataset, in the order of the dataset."""

    dataset: Any
    parameters: ImageParameters
    stored: Stored | None = None
    """which images of the dataset these are, as a store says; None asks the dataset."""

    def __len__(self) -> int:
        if self.stored is None and self.parameters.per_class is None:
            return len(self.parts)
        return len(self.dataset_index)

    @property
    def transform(self) -> TransformParameters | None:
        """What becomes of a picture before the network sees it."""
        return self.parameters.transform

    @property
    def unreadable_share(self) -> float:
        """Of the images; more that cannot be read stop the run."""
        return self.parameters.unreadable

    @property
    def keys(self) -> ItemKeys | None:
        """Which entries of an item are picture and label."""
        return self.parameters.item_keys

    @cached_property
    def parts(self) -> Parts:
        """The datasets below this one in which its items lie."""
        return dataset_parts(self.dataset)

    @cached_property
    def labels(self) -> Labels:
        """Of all items of the dataset; reading them may mean reading every picture.

        Raises
        ------
        RunError
            If an item has no single class, or cannot be read.
        """
        asked = self.parameters.model_dump_json(include={"factory", "kwargs", "item_keys"})
        asked = f"{len(self.parts)} {asked}"
        return labels_once(
            asked, lambda: labels_of(self.parts, self.keys, words(self.parts, self.keys))
        )

    @cached_property
    def dataset_index(self) -> Indices:
        """Indices of the images in the dataset, ascending."""
        if self.stored is not None:
            return self.stored.dataset_index
        chosen = np.arange(len(self.parts), dtype=np.int64)
        if (most := self.parameters.per_class) is not None:
            number = self.labels.number
            firsts = [np.flatnonzero(number == one)[:most] for one in np.unique(number)]
            chosen = np.sort(np.concatenate(firsts))
        return chosen

    @cached_property
    def target(self) -> Indices:
        """The class number of every image."""
        if self.stored is not None:
            return self.stored.target
        return self.labels.number[self.dataset_index]

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Stable ids of the images; see ``image_ids``."""
        return image_ids(self.parts, self.dataset_index, self.target)

    @cached_property
    def target_classes(self) -> tuple[str, ...]:
        """Names of the classes by their numbers; see ``class_names``."""
        if self.stored is not None:
            return self.stored.target_classes
        return target_classes(self.parts, self.labels, self.keys)

    def as_stored(self, signals: xr.Dataset) -> ImageSet:
        """These images with labels and names of classes as a run's store has them.

        Workers need them of every image, and reading labels may mean reading every picture;
        ``digest`` asks for a few. Ids are those of the dataset as it is here.

        Parameters
        ----------
        signals
            the store's group of that name.

        Raises
        ------
        RunError
            If the dataset has fewer images than the store takes from it.
        """
        stored = Stored(
            dataset_index=signals["dataset_index"].to_numpy().astype(np.int64),
            target=signals["target"].to_numpy().astype(np.int64),
            target_classes=tuple(signals["target_class"].to_numpy().tolist()),
        )
        if len(self.parts) <= int(stored.dataset_index.max(initial=-1)):
            raise RunError(
                f"the images differ: the store takes image {stored.dataset_index.max()} of a "
                f"dataset that has {len(self.parts):,} here"
            )
        return replace(self, stored=stored)

    @cached_property
    def reader(self) -> Reader:
        """The way in which the dataset is read."""
        return reader(self.dataset, self.keys)

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
        if not isinstance(self._picture(0), str):
            return 0
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
        index = self._indices(start, stop)
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
        return fitted(self.reader.block(self._indices(start, stop)), self.transform)

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

        An input that is no picture is drawn; see ``input_picture``.

        Raises
        ------
        RunError
            If it cannot be read.
        """
        tensor = self._picture(image)
        if isinstance(tensor, str):
            raise RunError(f"image {self.ids[image]!r} cannot be read: {tensor}")
        return input_picture(tensor)

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
        return self.reader.content(int(self._indices(image, image + 1)[0]))

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
        return f"{self.content(image).digest:016x}.{self._label_now(image)}"

    def _label_now(self, image: int) -> int:
        """The class number of an image, asked for where a store says it."""
        target = int(self.target[image])
        if self.stored is None:
            return target
        try:
            item = self.dataset[int(self.dataset_index[image])]
            now = single_class(label_of(item, self.keys)).value
        except Exception:  # noqa: BLE001 - the person's own code; its picture was read otherwise
            return target
        # Words were numbered where all of them were known.
        return now if isinstance(now, int) else target

    def _picture(self, image: int) -> Tensor | Reason:
        (found,) = self.reader.read(self._indices(image, image + 1), _CPU)
        return self._fitted(found)

    def _indices(self, start: int, stop: int) -> Indices:
        """Indices of images start to stop in the dataset, without its labels where that goes."""
        if self.stored is None and self.parameters.per_class is None:
            return np.arange(start, stop, dtype=np.int64)
        # The first image of a dataset is the first of its class.
        return np.zeros(1, dtype=np.int64) if stop == 1 else self.dataset_index[start:stop]

    def _fitted(self, picture: Tensor | Reason) -> Tensor | Reason:
        """One image resized and cropped: uint8, or float32 where there is no transform."""
        if isinstance(picture, str):
            return picture
        if self.transform is None:
            return _finite(picture)
        if picture.dtype != torch.uint8 or picture.ndim != _AXES:
            return (
                f"it is {described(picture)}; images.transform takes pictures or uint8 tensors "
                "(c, m, n) (set it to null for float tensors)"
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


def _finite(picture: Tensor) -> Tensor | Reason:
    """An input that no transform is asked for, as float32."""
    if not picture.is_floating_point():
        return f"it is {described(picture)}, no float tensor (c, m, n); give images.transform"
    if not picture.ndim:
        return "it is a single number; an input of a network has at least one axis"
    single = picture.to(torch.float32)
    return single if bool(single.isfinite().all()) else _NOT_FINITE


def open_images(parameters: ImageParameters, *, labelled: bool = True) -> ImageSet:
    """The image set that a run file describes.

    Parameters
    ----------
    labelled
        read the labels at once, so that what is wrong with them is said here; False leaves them
        until they are asked for.

    Raises
    ------
    RunError
        If the factory fails, or what it gives is no map-style dataset whose items have one class
        each.
    """
    images = ImageSet(factories.call(parameters.factory, parameters.kwargs), parameters)
    if len(images.parts) == 0:
        raise RunError(f"images.factory {parameters.factory!r} gave no images")
    if labelled:
        images.target  # noqa: B018 - read here, so that faults are told before work starts
    return images
