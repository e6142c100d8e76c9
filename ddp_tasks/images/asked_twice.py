"""Detecting data sets whose items change, by asking for a few items twice."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ddp_tasks.images.image_sets import ImageSet
from ddp_tasks.images.items import described, label_of
from ddp_tasks.images.labels import single_class
from ddp_tasks.images.unreadable import Unreadable
from schemas.parameters import RunError

_SAMPLE = 16


def check_steady(images: ImageSet) -> None:
    """Ask a data set twice for items spread over it, and refuse it if an item changes.

    Signals of a picture turned or cut at random belong to no image that could be shown, and a
    second pass would see other pictures.

    Raises
    ------
    RunError
        Naming the data set, the item, and what changed in it; or naming the unreadable images, if
        these items alone include more of them than allowed.
    """
    places = np.unique(np.linspace(0, len(images) - 1, _SAMPLE).astype(int)).tolist()
    index = images.dataset_index[places]
    first, second = ([images.read(at, at + 1)[0] for at in places] for _ in range(2))
    # Pictures of different sizes are unreadable too; too many are reported before work starts.
    unreadable = Unreadable(images.unreadable_share, len(images))
    reasons = {images.ids[at]: why for at, why in zip(places, first, strict=True)}
    unreadable.add({name: why for name, why in reasons.items() if isinstance(why, str)})
    for place, i, one, other in zip(places, index, first, second, strict=True):
        if isinstance(one, Tensor) and isinstance(other, Tensor) and not _same(one, other):
            raise _refusal(images, int(i), "another picture")
        if (label := _label(images, int(i))) is not None and label != int(images.target[place]):
            raise _refusal(images, int(i), "another label")


def _same(one: Tensor, other: Tensor) -> bool:
    # NaN equals itself here: it is another fault, reported elsewhere.
    alike = one.shape == other.shape and one.dtype == other.dtype
    return alike and torch.equal(one.nan_to_num(), other.nan_to_num())


def _label(images: ImageSet, index: int) -> int | None:
    """The label of an item as it is now; None if it cannot be read or is no number."""
    try:
        value = single_class(label_of(images.dataset[index], images.keys)).value
    except Exception:  # noqa: BLE001 - the person's own code; failures are reported where it is read
        return None
    return value if isinstance(value, int) else None


def _refusal(images: ImageSet, index: int, what: str) -> RunError:
    return RunError(
        f"images.factory gave {described(images.dataset)}, whose item {index} has {what} when it "
        "is read again; leave out random steps, such as augmentation of the training set"
    )
