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
from ddp_tasks.images.class_of_output import class_of_output
from ddp_tasks.images.contents import UNKNOWN, Content
from ddp_tasks.images.dataset_parts import Indices, Parts, dataset_parts
from ddp_tasks.images.image_ids import image_ids
from ddp_tasks.images.input_pictures import input_picture
from ddp_tasks.images.items import described, label_of
from ddp_tasks.images.labels import Labels, labels_of, labels_once, single_class
from ddp_tasks.images.pictures import copied, fitted, stacked, standardised
from ddp_tasks.images.readers import MemoryReader, Reader, Reason, reader
from ddp_tasks.images.unreadable import Unreadable
from schemas.parameters import ImageParameters, ItemKeys, RunError, TransformParameters

_DIGEST_SAMPLES = 16
_CPU = torch.device("cpu")

#: Axes of a picture: channels, rows and columns.
_AXES = 3
_NOT_FINITE = "it holds NaN or infinity"


@dataclass(frozen=True)
class Stored:
    """Which images of a dataset a run takes, as recorded in its store."""

    dataset_index: Indices
    target: Indices
    target_classes: tuple[str, ...]


@dataclass(frozen=True)
class ImageSet:
    """The images that a run takes from a map-style dataset, in the order of the dataset."""

    dataset: Any
    parameters: ImageParameters
    stored: Stored | None = None
    """which images of the dataset these are, as a store records; None asks the dataset."""

    def __len__(self) -> int:
        if self.stored is None and self.parameters.per_class is None:
            return len(self.parts)
        return len(self.dataset_index)

    @property
    def transform(self) -> TransformParameters | None:
        """How a picture is changed before the network sees it."""
        return self.parameters.transform

    @property
    def unreadable_share(self) -> float:
        """Greatest share of unreadable images; with more, the run stops."""
        return self.parameters.unreadable

    @property
    def keys(self) -> ItemKeys | None:
        """Which entries of an item are the picture and the label."""
        return self.parameters.item_keys

    @cached_property
    def parts(self) -> Parts:
        """The datasets below this one in which its items lie."""
        return dataset_parts(self.dataset)

    @cached_property
    def labels(self) -> Labels:
        """Labels of all items of the dataset; reading them may mean reading every picture.

        Raises
        ------
        RunError
            If an item has no single class, or cannot be read.
        """
        key = self.parameters.model_dump_json(include={"factory", "kwargs", "item_keys"})
        key = f"{len(self.parts)} {key}"
        return labels_once(
            key, lambda: labels_of(self.parts, self.keys, words(self.parts, self.keys))
        )

    @cached_property
    def dataset_index(self) -> Indices:
        """Indices of the images in the dataset, ascending."""
        if self.stored is not None:
            return self.stored.dataset_index
        chosen = np.arange(len(self.parts), dtype=np.int64)
        if (most := self.parameters.per_class) is not None:
            number = self.labels.number
            firsts = [np.flatnonzero(number == label)[:most] for label in np.unique(number)]
            chosen = np.sort(np.concatenate(firsts))
        return chosen

    @cached_property
    def class_of_output(self) -> Indices | None:
        """The class that each output of the network counts for; see ``class_of_output``."""
        return class_of_output(self.dataset)

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

        Workers need the labels of all images, and reading them may mean reading every picture;
        ``digest`` checks a few. Ids are those of the dataset as it is here.

        Parameters
        ----------
        signals
            the store's group ``signals``.

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
                f"the images differ: the store uses image {stored.dataset_index.max()} of a "
                f"dataset that has only {len(self.parts):,} here"
            )
        return replace(self, stored=stored)

    @cached_property
    def reader(self) -> Reader:
        """The way in which the dataset is read."""
        return reader(self.dataset, self.keys)

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Shape of every image of the run: the shape of the first readable one.

        Raises
        ------
        RunError
            If more images at the start of the run are unreadable than the run allows in all.
        """
        picture = self._picture(self.first_readable)
        assert isinstance(picture, Tensor)
        return tuple(picture.shape)

    @cached_property
    def first_readable(self) -> int:
        """Position in the run of the first image that can be read.

        Raises
        ------
        RunError
            If more images before it are unreadable than the run allows in all.
        """
        if not isinstance(self._picture(0), str):
            return 0
        unreadable = Unreadable(self.unreadable_share, len(self))
        for image in range(len(self)):
            picture = self._picture(image)
            if not isinstance(picture, str):
                return image
            unreadable.add({self.ids[image]: picture})
        raise RunError(unreadable.sentence())

    def read(
        self,
        start: int,
        stop: int,
        device: torch.device = _CPU,
        contents: dict[int, Content] | None = None,
    ) -> list[Tensor | Reason]:
        """Images start to stop of the run for ``inputs``, or the reasons why they are unreadable.

        An image of another shape than the first is unreadable too.

        Parameters
        ----------
        device
            that decodes: a GPU takes what it can, which stays there; the processor the others.
        contents
            receives the content of the readable images, by position in the run.

        Returns
        -------
        one per image: uint8, or float32 if the transform is null; shape ``self.shape``
        """
        index = self._indices(start, stop)
        of_images: list[Content] | None = None if contents is None else []
        pictures = [self._fitted(picture) for picture in self.reader.read(index, device, of_images)]
        alike = [
            picture
            if isinstance(picture, str) or picture.shape == self.shape
            else self._odd(picture)
            for picture in pictures
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

    def read_at(self, positions: Sequence[int]) -> list[Tensor | Reason]:
        """Images at some positions of the run, as ``read`` gives images in a row."""
        if not len(positions):
            return []
        index = self.dataset_index[np.asarray(positions, dtype=np.int64)]
        pictures = [self._fitted(picture) for picture in self.reader.read(index, _CPU)]
        return [
            picture
            if isinstance(picture, str) or picture.shape == self.shape
            else self._odd(picture)
            for picture in pictures
        ]

    @property
    def in_memory(self) -> bool:
        """Whether the dataset lies in memory, so that ``block`` gives many images at once."""
        return isinstance(self.reader, MemoryReader)

    def block(self, start: int, stop: int, contents: dict[int, Content] | None = None) -> Tensor:
        """Images start to stop of a dataset in memory, for ``inputs``.

        Parameters
        ----------
        contents
            as in ``read``.

        Returns
        -------
        uint8, shape (stop - start, *self.shape)

        Raises
        ------
        RunError
            See ``shape``; pictures in memory all have one shape.
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
        float32, shape (n, *self.shape); one for each picture
        """
        block = pictures if isinstance(pictures, Tensor) else stacked(pictures, device)
        block = copied(block, device)
        return block if self.transform is None else standardised(block, self.transform, into)

    def batch(self, start: int, stop: int) -> Tensor:
        """Input tensors of images start to stop of the run, on the processor.

        Returns
        -------
        float32, shape (stop - start, c, m, n)

        Raises
        ------
        RunError
            If an image cannot be read or does not get the shape of the others.
        """
        if self.in_memory:
            return self.inputs(self.block(start, stop))
        pictures = self.read(start, stop)
        for image, picture in enumerate(pictures, start=start):
            if isinstance(picture, str):
                raise RunError(f"image {self.ids[image]!r} cannot be read: {picture}")
        return self.inputs([picture for picture in pictures if isinstance(picture, Tensor)])

    def example(self) -> Tensor:
        """The input tensor of the first image that can be read: shape (1, c, m, n).

        Raises
        ------
        RunError
            See ``first_readable``.
        """
        return self.batch(self.first_readable, self.first_readable + 1)

    def examples(self, most: int) -> Tensor:
        """Input tensors of readable images spread over the run.

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
        pictures = [picture for at in spread.tolist() for picture in self.read(at, at + 1)]
        return self.inputs([picture for picture in pictures if isinstance(picture, Tensor)])

    def picture(self, image: int) -> npt.NDArray[np.uint8]:
        """One image for display, before standardising: shape (m, n, 3), 0 to 255.

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
        """What the cube stores about its images: ids, targets, and indices in the dataset."""
        return xr.Dataset(
            {"target": ("image", self.target), "dataset_index": ("image", self.dataset_index)},
            coords={
                "image": np.array(self.ids, dtype=object),
                "target_class": np.array(self.target_classes, dtype=object),
            },
        )

    def content(self, image: int) -> Content:
        """Size and digest of the bytes of one image; ``UNKNOWN`` if it is unreadable."""
        return self.reader.content(int(self._indices(image, image + 1)[0]))

    def changed(self, image: int, recorded: Content) -> str | None:
        """How an image differs from its recorded content, in words; None if it does not.

        The size is compared first, so that little is read if many images have changed.
        """
        size = self.reader.size(int(self.dataset_index[image]))
        present = self.content(image) if size in (None, recorded.size) else Content(size or 0, 0)
        if present.size == UNKNOWN.size:
            return "it cannot be read now"
        return present.changed_from(recorded)

    def digest(self) -> str:
        """SHA-256 of ids, targets and transform, then digests of images spread over the set.

        The content of a picture file is its bytes, so the digest does not depend on decoder or
        machine. An unreadable image has a dash instead, so that it may be repaired later;
        ``identity.same_images`` compares digests.
        """
        hashed = hashlib.sha256()
        hashed.update("\n".join(self.ids).encode())
        hashed.update(self.target.tobytes())
        hashed.update(self.transform.model_dump_json().encode() if self.transform else b"null")
        if self.class_of_output is not None:
            hashed.update(self.class_of_output.tobytes())
        samples = np.linspace(0, len(self) - 1, min(_DIGEST_SAMPLES, len(self)))
        contents = [self._content_digest(int(image)) for image in samples]
        return f"{hashed.hexdigest()}:{','.join(contents)}"

    def _content_digest(self, image: int) -> str:
        (picture,) = self.read(image, image + 1)
        if isinstance(picture, str):
            return "-"
        return f"{self.content(image).digest:016x}.{self._label_now(image)}"

    def _label_now(self, image: int) -> int:
        """The class number of an image, read anew if the labels come from a store."""
        target = int(self.target[image])
        if self.stored is None:
            return target
        try:
            item = self.dataset[int(self.dataset_index[image])]
            now = single_class(label_of(item, self.keys)).value
        except Exception:  # noqa: BLE001 - the person's own code; its picture was read otherwise
            return target
        # Words were numbered when all of them were known.
        return now if isinstance(now, int) else target

    def _picture(self, image: int) -> Tensor | Reason:
        (picture,) = self.reader.read(self._indices(image, image + 1), _CPU)
        return self._fitted(picture)

    def _indices(self, start: int, stop: int) -> Indices:
        """Indices of images start to stop in the dataset, without reading labels where possible."""
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
    """An input without transform, as float32, or why it is unreadable."""
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
        read the labels now, so that faults in them are reported here; False reads them when they
        are needed.

    Raises
    ------
    RunError
        If the factory fails, or does not give a map-style dataset whose items have one class each.
    """
    images = ImageSet(factories.call(parameters.factory, parameters.kwargs), parameters)
    if len(images.parts) == 0:
        raise RunError(f"images.factory {parameters.factory!r} gave no images")
    if labelled:
        images.target  # noqa: B018 - read here, so that faults are reported before work starts
    return images
