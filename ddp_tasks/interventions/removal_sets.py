"""Which singular vectors are removed for a class, at every place of a grid of levels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class ClassSets:
    """The sets of singular vectors that are significant for one class; equal sets are one."""

    members: tuple[tuple[int, ...], ...]
    """singular vectors of each set, none of which is empty."""
    number: npt.NDArray[np.int64]
    """shape (quantile, percentage); which set is significant there, -1 for none."""

    @classmethod
    def of(cls, significant: npt.NDArray[np.bool_]) -> ClassSets:
        """The sets of one class.

        Parameters
        ----------
        significant
            shape (quantile, percentage, r); whether a singular vector is significant, in any
            direction that counts.
        """
        members: dict[tuple[int, ...], int] = {}
        number = np.full(significant.shape[:2], -1)
        for place in np.ndindex(number.shape):
            if found := tuple(np.flatnonzero(significant[place]).tolist()):
                number[place] = members.setdefault(found, len(members))
        return cls(tuple(members), number)


def judging_images(
    target: npt.NDArray[np.int64], each: int, seed: int
) -> tuple[npt.NDArray[np.int64], ...]:
    """Images on which removals are judged, drawn at random from those of each class.

    Parameters
    ----------
    target
        shape (image,); class of each image of the run, -1 for those that do not judge.
    each
        images of each class at most.
    seed
        determines the draw of each class together with its position, whatever other classes hold.

    Returns
    -------
    positions by class, in the order of the draw
    """
    drawn = []
    for c in range(int(target.max(initial=-1)) + 1):
        (rows,) = np.nonzero(target == c)
        drawn.append(np.random.default_rng([seed, c]).permutation(rows)[:each])
    return tuple(drawn)


def own_and_others(
    drawn: tuple[npt.NDArray[np.int64], ...], own: int, others: int
) -> npt.NDArray[np.int64]:
    """A class's images and some of all other classes, as many of each; in ascending order.

    Parameters
    ----------
    drawn
        as ``judging_images`` returns them.
    others
        images of other classes in total, or a few more or less: one at least of each.
    """
    each = max(1, round(others / max(1, len(drawn) - 1)))
    chosen = [rows if c == own else rows[:each] for c, rows in enumerate(drawn)]
    return np.sort(np.concatenate(chosen))
