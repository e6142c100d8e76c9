"""Data sets that answer otherwise when they are asked again, found by asking for a few items."""

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
    """Ask a data set twice for items spread over it, and refuse one that changes its answer.

    Signals of a picture turned or cut at random are of no image that could be shown, and a second
    pass over it would be over others.

    Raises
    ------
    RunError
        Naming the data set, the item, and what of it changed; or the images that cannot be read,
        where these alone are more than may be.
    """
    places = np.unique(np.linspace(0, len(images) - 1, _SAMPLE).astype(int)).tolist()
    index = images.dataset_index[places]
    first, second = ([images.read(at, at + 1)[0] for at in places] for _ in range(2))
    # Pictures of different sizes are unreadable too: more than may be are told before the work.
    unreadable = Unreadable(images.unreadable_share, len(images))
    reasons = {images.ids[at]: why for at, why in zip(places, first, strict=True)}
    unreadable.add({name: why for name, why in reasons.items() if isinstance(why, str)})
    for place, i, one, other in zip(places, index, first, second, strict=True):
        if isinstance(one, Tensor) and isinstance(other, Tensor) and not _same(one, other):
            raise _refusal(images, int(i), "another picture")
        if (said := _label(images, int(i))) is not None and said != int(images.target[place]):
            raise _refusal(images, int(i), "another label")


def _same(one: Tensor, other: Tensor) -> bool:
    # NaN is equal to itself here: it is another fault, said elsewhere.
    alike = one.shape == other.shape and one.dtype == other.dtype
    return alike and torch.equal(one.nan_to_num(), other.nan_to_num())


def _label(images: ImageSet, index: int) -> int | None:
    """The label that an item says now; None where it cannot be read, or says no number."""
    try:
        value = single_class(label_of(images.dataset[index], images.keys)).value
    except Exception:  # noqa: BLE001 - the person's own code; what fails is told where it is read
        return None
    return value if isinstance(value, int) else None


def _refusal(images: ImageSet, index: int, what: str) -> RunError:
    return RunError(
        f"images.factory gave {described(images.dataset)}, whose item {index} has {what} when it "
        "is asked for again; leave out what is random in it, such as augmentation of the training "
        "set"
    )
