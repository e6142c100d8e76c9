"""In which order the boxes of a diagram stand in each level, so that few lines cross."""

from __future__ import annotations

import statistics
from bisect import bisect_left
from collections.abc import Sequence

import numpy as np

Rows = list[list[int]]
#: Of each box, those that a line joins it with in the next level above, or below.
Neighbours = list[list[int]]

_SWEEPS, _EXCHANGES = 8, 2


def fewest_crossings(rows: Rows, neighbours: Neighbours) -> Rows:
    """The rows in an order in which few lines cross, of boxes and places that lines pass.

    Sweeps down and up order each row by the median of its neighbours' places, after which two that
    stand beside each other change places where that helps. They start from the order given and
    from two in which what lines join stands together; the best order met is the answer.

    Parameters
    ----------
    rows
        numbers from 0 on, each in one row, the upper row first.
    neighbours
        of each number, those that a line joins it with; they are in the row above or below.

    References
    ----------
    Gansner, Koutsofios, North and Vo 1993, A technique for drawing directed graphs, IEEE
    Transactions on Software Engineering 19, section 3.
    """
    at = {n: number for number, row in enumerate(rows) for n in row}
    above = [[m for m in near if at[m] < at[n]] for n, near in enumerate(neighbours)]
    below = [[m for m in near if at[m] > at[n]] for n, near in enumerate(neighbours)]
    down = [n for row in rows for n in row]
    starts = [rows, _together(rows, down, below), _together(rows, down[::-1], above)]
    best, fewest = rows, crossings(rows, below)
    for start in starts:
        tried = [list(row) for row in start]
        for sweep in range(_SWEEPS):
            numbers = range(len(rows))
            for number in numbers if sweep % 2 == 0 else reversed(numbers):
                place = places(tried)
                tried[number] = _by_median(tried[number], above if sweep % 2 == 0 else below, place)
            for _ in range(_EXCHANGES):
                _exchange(tried, (above, below))
            if (count := crossings(tried, below)) < fewest:
                best, fewest = [list(row) for row in tried], count
    return best


def crossings(rows: Rows, below: Neighbours) -> int:
    """How many pairs of lines between neighbouring rows cross."""
    place, count = places(rows), 0
    for row in rows[:-1]:
        ends = np.array([p for n in row for p in sorted(place[m] for m in below[n])])
        later = np.triu(np.ones((len(ends), len(ends)), dtype=bool), 1)
        count += int(((ends[:, None] > ends) & later).sum())
    return count


def places(rows: Rows) -> dict[int, int]:
    """Where each number stands in its row, 0 at the left."""
    return {n: place for row in rows for place, n in enumerate(row)}


def _together(rows: Rows, roots: Sequence[int], following: Neighbours) -> Rows:
    """Rows in the order in which a walk along the lines, depth first, meets their numbers."""
    met: dict[int, int] = {}
    for root in roots:
        waiting = [root]
        while waiting:
            n = waiting.pop()
            if n not in met:
                met[n] = len(met)
                waiting += reversed(following[n])
    return [sorted(row, key=met.__getitem__) for row in rows]


def _by_median(row: list[int], near: Neighbours, place: dict[int, int]) -> list[int]:
    """A row by the median of its neighbours' places; what has no neighbour keeps its own."""
    median = {n: statistics.median([place[m] for m in near[n]]) for n in row if near[n]}
    moved = iter(sorted(median, key=median.__getitem__))
    return [next(moved) if n in median else n for n in row]


def _exchange(rows: Rows, sides: tuple[Neighbours, Neighbours]) -> None:
    """Let numbers that stand beside each other change places where fewer lines cross then."""
    place = places(rows)
    for row in rows:
        # Of few neighbours: lists are quicker than arrays.
        ends = [{n: sorted(place[m] for m in near[n]) for n in row} for near in sides]
        for i in range(len(row) - 1):
            one, other = row[i], row[i + 1]
            saved = 0
            for of in ends:
                saved += sum(bisect_left(of[other], end) for end in of[one])
                saved -= sum(bisect_left(of[one], end) for end in of[other])
            if saved > 0:
                row[i], row[i + 1] = other, one
        place.update({n: i for i, n in enumerate(row)})
