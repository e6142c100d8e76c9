"""Optimised images of a layer's singular vectors, as stored, and how far to trust each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import xarray as xr

from ddp_tasks.figures.thumbnails import Thumbnail, thumbnail
from ddp_tasks.weights.signed_vectors import SignedVector, signs

#: Greatest side of an optimised image in a page, and the least that small ones are enlarged to.
_LARGEST, _SMALLEST = 112, 84

_METHODS = {"fourier": "Fourier", "maco": "MACO"}

#: Keeps a picture once in a page, by a name; see ``NumberedThumbnails.numbered``.
Numbered = Callable[[str, Thumbnail], Thumbnail]


@dataclass(frozen=True)
class OptimisedPicture:
    """One optimised image, its target, and how far to trust it."""

    key: str
    members: tuple[SignedVector, ...]
    """singular vectors whose weighted signals are maximised, each in its direction."""
    objective: str
    number: int
    """position among the target's diverse images."""
    picture: npt.NDArray[np.uint8]
    """shape (y, x, 3)."""
    method: str
    excess: float
    trust: tuple[str, ...]
    """short lines: the measures of trust."""
    failed: str
    """why it is not to be trusted; empty if it is."""
    numbered: Numbered

    @cached_property
    def thumbnail(self) -> Thumbnail:
        """Made when it is drawn, so that a page holds no picture that it does not show."""
        return self.numbered(self.key, thumbnail(self.picture, _LARGEST, _SMALLEST))

    @property
    def tooltip(self) -> str:
        """All that is known of it, on one line."""
        return "; ".join(filter(None, [self.failed, self.method, *self.trust]))


def optimised_pictures(
    visualizations: xr.Dataset | None, numbered: Numbered = lambda _, picture: picture
) -> list[OptimisedPicture]:
    """All optimised images of a layer, those to trust first; of equal ones, the mean's first.

    Parameters
    ----------
    visualizations
        the store's group ``visualizations/LAYER``; None where the layer has no images.
    numbered
        called with the picture's name, once it is drawn, and its thumbnail.
    """
    if visualizations is None:
        return []
    stored = {
        name: visualizations[name].to_numpy()
        for name in (
            *("target", "weight", "direction", "objective", "parametrization", "number"),
            *("picture", "excess", "excess_unseen", "member_excess", "path_similarity"),
            *("exemplar_similarity", "seeds", "seed_deviation", "failed"),
        )
    }
    pictures = []
    for i, key in enumerate(map(str, stored["target"])):
        row = {name: values[i] for name, values in stored.items()}
        parametrization = str(row["parametrization"])
        objective = str(row["objective"])
        pictures.append(
            OptimisedPicture(
                key=key,
                members=_members(row["weight"], str(row["direction"])),
                objective=objective,
                number=int(row["number"]),
                picture=in_colour(row["picture"]),
                method=f"{objective}, {_METHODS.get(parametrization, parametrization)}",
                excess=float(row["excess"]),
                trust=_trust(row),
                failed=str(row["failed"]),
                numbered=numbered,
            )
        )
    return sorted(
        pictures,
        key=lambda one: (bool(one.failed), one.objective != "mean", one.method, one.number),
    )


def _members(weight: npt.NDArray[np.float64], direction: str) -> tuple[SignedVector, ...]:
    """The vectors of a target, each in the direction that it is maximised in."""
    sign = 1 if direction == "positive" else -1
    return tuple(
        SignedVector(vector, sign if weight[vector] > 0 else -sign)
        for vector in np.flatnonzero(weight).tolist()
    )


def of_target(
    pictures: Sequence[OptimisedPicture], members: Iterable[SignedVector]
) -> list[OptimisedPicture]:
    """The pictures of exactly these singular vectors, each in its direction."""
    wanted = tuple(SignedVector(vector, sign) for vector, sign in signs(members).items())
    return [one for one in pictures if one.members == wanted]


def in_colour(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """A stored picture, shape (y, x, 1 or 3), with three channels."""
    whole: npt.NDArray[np.uint8] = picture.astype(np.uint8)
    return np.repeat(whole, 3, axis=2) if whole.shape[2] == 1 else whole


def _trust(row: dict[str, np.ndarray]) -> tuple[str, ...]:
    def number(name: str) -> str:
        return f"{float(row[name]):.2f}"

    seeds = int(row["seeds"])
    over = "1 seed" if seeds == 1 else f"{seeds} seeds"
    if np.isfinite(row["seed_deviation"]):
        over += f", ±{number('seed_deviation')}"
    members = row["member_excess"][np.isfinite(row["member_excess"])]
    least = [f"least vector {members.min():.2f}"] if len(members) > 1 else []
    return (
        f"excess {number('excess')}, unseen {number('excess_unseen')}",
        f"path {number('path_similarity')}, exemplars {number('exemplar_similarity')}",
        over,
        *least,
    )
