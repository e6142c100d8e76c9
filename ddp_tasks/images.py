"""Labelled image sets: which images a run takes, their stable ids, and their tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from ddp_tasks import factories
from schemas.parameters import ImageParameters, RunError, TransformParameters

_DIGEST_SAMPLES = 16


@dataclass(frozen=True)
class ImageSet:
    """The images that a run takes from a map-style dataset, in the order of the dataset."""

    dataset: Any
    dataset_index: npt.NDArray[np.int64]
    target: npt.NDArray[np.int64]
    ids: tuple[str, ...]
    target_classes: tuple[str, ...]
    transform: TransformParameters | None

    def __len__(self) -> int:
        return len(self.dataset_index)

    def batch(self, start: int, stop: int) -> Tensor:
        """Input tensors of images start to stop of the run.

        Returns
        -------
        float32, shape (stop - start, c, m, n)

        Raises
        ------
        RunError
            If an image cannot be read or does not become a tensor of the others' shape.
        """
        tensors = [self._tensor(i) for i in range(start, stop)]
        shapes = {tuple(t.shape) for t in tensors}
        if len(shapes) > 1:
            raise RunError(
                f"images {self.ids[start]} to {self.ids[stop - 1]} have different shapes "
                f"{sorted(shapes)}; give images.transform a resize and a crop"
            )
        batch = torch.stack(tensors)
        if self.transform is None:
            return batch
        scaled = batch.to(torch.float32) / 255
        if self.transform.mean is None or self.transform.std is None:
            return scaled
        return transforms.normalize(scaled, self.transform.mean, self.transform.std)

    def picture(self, image: int) -> npt.NDArray[np.uint8]:
        """One image to look at, before standardising: shape (m, n, 3), 0 to 255."""
        tensor = self._tensor(image)
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

    def digest(self) -> str:
        """SHA-256 of all ids and targets, and of the pixels of images spread over the set."""
        hashed = hashlib.sha256()
        hashed.update("\n".join(self.ids).encode())
        hashed.update(self.target.tobytes())
        samples = np.linspace(0, len(self) - 1, min(_DIGEST_SAMPLES, len(self)))
        for image in samples.astype(int):
            hashed.update(self._tensor(int(image)).numpy().tobytes())
        return hashed.hexdigest()

    def _tensor(self, image: int) -> Tensor:
        """One image as the dataset gives it, resized and cropped: uint8, or float untransformed."""
        try:
            picture = self.dataset[int(self.dataset_index[image])][0]
        except Exception as error:  # a dataset is the person's own code
            reason = f"{type(error).__name__}: {error}"
            raise RunError(f"image {self.ids[image]!r} cannot be read: {reason}") from error
        if self.transform is None:
            if not isinstance(picture, Tensor) or not picture.is_floating_point():
                raise RunError(
                    f"image {self.ids[image]!r} is {_describe(picture)}, not a float tensor "
                    "(c, m, n); give images.transform"
                )
            return picture.to(torch.float32)
        tensor = picture if isinstance(picture, Tensor) else transforms.pil_to_tensor(picture)
        if tensor.dtype != torch.uint8:
            raise RunError(
                f"image {self.ids[image]!r} is {_describe(picture)}; images.transform takes "
                "pictures or uint8 tensors (set it to null for float tensors)"
            )
        channels = len(self.transform.mean or ())
        if channels == 3 and tensor.shape[0] == 1:
            tensor = tensor.expand(3, -1, -1)
        if self.transform.resize is not None:
            tensor = transforms.resize(tensor, [self.transform.resize], antialias=True)
        if self.transform.crop is not None:
            tensor = transforms.center_crop(tensor, [self.transform.crop])
        if channels and tensor.shape[0] != channels:
            raise RunError(
                f"image {self.ids[image]!r} has {tensor.shape[0]} channels; images.transform.mean "
                f"has {channels}"
            )
        return tensor


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
    )


def _targets(dataset: Any) -> npt.NDArray[np.int64]:
    for name in ("targets", "labels", "_labels"):
        if (listed := getattr(dataset, name, None)) is not None:
            break
    else:
        # No list to be had: the labels must be asked for one by one.
        listed = [dataset[i][1] for i in range(len(dataset))]
    targets = np.asarray(listed)
    if targets.ndim != 1 or targets.dtype.kind not in "iu" or len(targets) != len(dataset):
        raise RunError(
            f"the dataset's labels are {targets.dtype} of shape {targets.shape}; one integer for "
            f"each of its {len(dataset)} images is needed"
        )
    if targets.min() < 0:
        raise RunError(f"the dataset has the label {targets.min()}; labels start at 0")
    return targets.astype(np.int64)


def _ids(dataset: Any, chosen: npt.NDArray[np.int64]) -> tuple[str, ...]:
    samples: Sequence[tuple[str, int]] | None = getattr(dataset, "samples", None)
    root = getattr(dataset, "root", None)
    if samples is not None and root is not None:
        return tuple(Path(samples[i][0]).relative_to(root).as_posix() for i in chosen)
    width = len(str(len(dataset) - 1))
    return tuple(f"{i:0{width}d}" for i in chosen)


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
