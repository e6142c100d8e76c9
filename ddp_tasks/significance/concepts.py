"""Sets of images that may say what a singular vector means: classes, groups, attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

if TYPE_CHECKING:
    from jaxtyping import Bool, Shaped

#: Images that a set must have, and leave out, of those that choose and of those that judge.
LEAST = 5

#: Classes up to which every two of them make a set as well.
MOST_OF_PAIRS = 50

CLASS, PAIR, GROUP, ATTRIBUTE = "class", "two classes", "group", "attribute"


@dataclass(frozen=True)
class Concepts:
    """Sets of images with names; of an attribute, some images may be known to be in neither."""

    kinds: tuple[str, ...]
    """``CLASS``, ``PAIR``, ``GROUP`` or ``ATTRIBUTE``."""
    names: tuple[str, ...]
    member: Bool[npt.NDArray[np.bool_], "concept image"]
    known: Bool[npt.NDArray[np.bool_], "concept image"]
    """whether it is known of the image; members are."""

    def __len__(self) -> int:
        return len(self.names)

    def of_images(self, wanted: Shaped[npt.NDArray[np.generic], " chosen"]) -> Concepts:
        """The same of some of the images, as NumPy selects them."""
        return Concepts(self.kinds, self.names, self.member[:, wanted], self.known[:, wanted])

    def usable(self, choosing: Bool[npt.NDArray[np.bool_], " image"]) -> Concepts:
        """Those with enough images in and out of them on either side, each set once.

        Parameters
        ----------
        choosing
            shape (image,); images that choose. The others judge.

        Returns
        -------
        in the same order; of equal sets the first
        """
        enough = np.ones(len(self), dtype=np.bool_)
        for part in (choosing, ~choosing):
            members = self.member[:, part].sum(axis=1)
            others = self.known[:, part].sum(axis=1) - members
            enough &= (members >= LEAST) & (others >= LEAST)
        first: dict[bytes, int] = {}
        for place in np.flatnonzero(enough).tolist():
            key = (
                np.packbits(self.member[place]).tobytes() + np.packbits(self.known[place]).tobytes()
            )
            first.setdefault(key, place)
        return self._at(list(first.values()))

    def _at(self, places: Sequence[int]) -> Concepts:
        chosen = np.array(places, dtype=np.int64)
        return Concepts(
            tuple(self.kinds[i] for i in places),
            tuple(self.names[i] for i in places),
            self.member[chosen],
            self.known[chosen],
        )


def joined(parts: Sequence[Concepts]) -> Concepts:
    """Several lists of sets of the same images as one."""
    return Concepts(
        tuple(kind for part in parts for kind in part.kinds),
        tuple(name for part in parts for name in part.names),
        np.concatenate([part.member for part in parts]),
        np.concatenate([part.known for part in parts]),
    )


def class_concepts(
    target: Shaped[npt.NDArray[np.int64], " image"],
    classes: Sequence[str],
    groups: Mapping[str, Sequence[str]],
) -> Concepts:
    """Each class with images, each group of classes, and every two classes.

    A vector is often significant for two classes that look alike; of more than ``MOST_OF_PAIRS``
    classes two are left out, since there would be more pairs than a search can be fair about.

    Parameters
    ----------
    target
        shape (image,); positions in ``classes``, -1 for an image that counts nowhere.
    classes
        names of all target classes.
    groups
        names of classes by name of their group.
    """
    present = np.unique(target[target >= 0]).tolist()
    sets = [(CLASS, classes[c], [c]) for c in present]
    place = {name: c for c, name in enumerate(classes)}
    sets += [(GROUP, name, [place[c] for c in of if c in place]) for name, of in groups.items()]
    if len(present) <= MOST_OF_PAIRS:
        sets += [
            (PAIR, f"{classes[a]} or {classes[b]}", [a, b]) for a, b in combinations(present, 2)
        ]
    member = np.zeros((len(sets), len(target)), dtype=np.bool_)
    for row, (_, _, of) in zip(member, sets, strict=True):
        row[:] = np.isin(target, of)
    known = np.tile(target >= 0, (len(sets), 1))
    return Concepts(
        tuple(kind for kind, _, _ in sets), tuple(name for _, name, _ in sets), member, known
    )


def group_concepts(labels: Sequence[str | None], groups: Mapping[str, Sequence[str]]) -> Concepts:
    """Each group of labels that images have beside their class, such as WordNet's.

    Parameters
    ----------
    labels
        of each image; None where there is none, and then no group is known of it.
    groups
        labels by name of their group.
    """
    known = np.array([label is not None for label in labels], dtype=np.bool_)
    member = [[label in of for label in labels] for of in map(frozenset, groups.values())]
    return Concepts(
        (GROUP,) * len(groups),
        tuple(groups),
        np.array(member, dtype=np.bool_).reshape(len(groups), len(labels)),
        np.tile(known, (len(groups), 1)),
    )


def column_concepts(
    name: str, values: pd.Series, choosing: Bool[npt.NDArray[np.bool_], " image"]
) -> Concepts:
    """Sets that a column of attributes makes; images without a value are in none of them.

    True and false, or 1 and 0, make two sets. Numbers make those above and below their median,
    and their upper and lower quarter, by the quartiles of the images that choose. Anything else
    makes a set for each of its values.

    Parameters
    ----------
    name
        of the column.
    values
        one for each image, in their order.
    choosing
        shape (image,).

    Raises
    ------
    ValueError
        If the column has no value, the same one throughout, or lists in place of values.
    """
    known = values.notna().to_numpy(dtype=np.bool_)
    kept = values[known]
    try:
        distinct = list(dict.fromkeys(kept.tolist()))
    except TypeError:
        raise ValueError("holds lists in place of values") from None
    if len(distinct) < 2:
        raise ValueError(f"has the value {distinct[0]} alone" if distinct else "has no value")
    if set(distinct) <= {0, 1}:  # True and False too
        flag = np.zeros(len(values), dtype=np.bool_)
        flag[known] = kept.astype(np.bool_)
        sets = {name: flag, f"not {name}": ~flag}
    elif pd.api.types.is_numeric_dtype(kept) and len(distinct) > 2:
        number = values.to_numpy(dtype=np.float64, na_value=np.nan)
        sets = _quarters(name, number, number[known & choosing])
    else:
        counts = kept.astype(str).value_counts()
        texts = values.astype(str).to_numpy()
        often = sorted(map(str, counts.index[counts >= 2 * LEAST]))
        sets = {f"{name} = {value}": texts == value for value in often}
    member = np.array(list(sets.values()), dtype=np.bool_).reshape(len(sets), len(values)) & known
    kinds = (ATTRIBUTE,) * len(sets)
    return Concepts(kinds, tuple(sets), member, np.tile(known, (len(sets), 1)))


def _quarters(
    name: str, number: npt.NDArray[np.float64], chosen: npt.NDArray[np.float64]
) -> dict[str, npt.NDArray[np.bool_]]:
    if not len(chosen):
        return {}
    # A value that there is: between two, one of which may be infinite, there may be none.
    low, middle, high = np.quantile(chosen, (0.25, 0.5, 0.75), method="nearest").tolist()
    with np.errstate(invalid="ignore"):
        return {
            f"{name} ≥ {middle:.4g}": number >= middle,
            f"{name} < {middle:.4g}": number < middle,
            f"{name} ≥ {high:.4g}": number >= high,
            f"{name} < {low:.4g}": number < low,
        }
