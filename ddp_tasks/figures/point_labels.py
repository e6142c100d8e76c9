"""Places for the names of points so that no name covers another name or a point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_DISTANCES = (7.5, 11, 16, 24, 36, 50)
_NEAR = 12.0
_DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))
#: A name across a line can still be read, but any place beside it is better.
_COST_OF_A_LINE = 60.0


@dataclass(frozen=True)
class Label:
    """Where the name of one point stands."""

    point: int
    """index of the point."""
    x: float
    y: float
    """centre of the name, in pixels."""
    end: tuple[float, float] | None
    """where a line from the point should end at the name; None where the name is near enough."""


def place_labels(
    points: Floats,
    widths: Sequence[float],
    height: float,
    frame: tuple[float, float],
    lines: Floats,
) -> list[Label]:
    """Centres of the names, each the nearest free place beside its point.

    Parameters
    ----------
    points
        shape (n, 2), in pixels from a corner of the frame.
    widths, height
        of the names, in pixels.
    frame
        width and height that the names stay in.
    lines
        shape (m, 2, 2); ends of lines that names avoid where they can.

    Returns
    -------
    at most n labels: a point without a free place gets none.
    """
    from scipy.spatial.distance import cdist  # half a second to import, and few views have names

    radius = 7.0
    boxes = [np.concatenate([p - radius, p + radius]) for p in points]
    steps = np.linspace(0, 1, 200)[:, None]
    along = [line[0] + steps * (line[1] - line[0]) for line in lines]
    samples = np.concatenate(along) if along else np.empty((0, 2))
    labels: list[Label] = []
    # Crowded points first: points at the rim still find a place later.
    crowd = cdist(points, points)
    order = np.argsort(np.sort(crowd, axis=1)[:, : min(3, len(points))].sum(axis=1), kind="stable")
    for i in order:
        half = np.array([widths[i], height]) / 2
        best: tuple[float, Floats] | None = None
        for distance, direction in product(_DISTANCES, _DIRECTIONS):
            centre = _beside(points[i], half, distance, direction)
            box = np.concatenate([centre - half, centre + half])
            outside = (box[:2] < 0).any() or (box[2:] > frame).any()
            if outside or any(_overlap(box, other) for other in boxes):
                continue
            leader = points[i] + steps * (_end(points[i], centre, half) - points[i])
            crossed = _within(samples, box) or any(
                _within(leader, other) for other in boxes[len(points) :]
            )
            cost = distance + _COST_OF_A_LINE * crossed
            if best is None or cost < best[0]:
                best = cost, centre
        if best is None:
            continue
        centre = best[1]
        boxes.append(np.concatenate([centre - half, centre + half]))
        end = _end(points[i], centre, half)
        far = bool(np.hypot(*(end - points[i])) > _NEAR)
        if far:
            samples = np.concatenate([samples, points[i] + steps * (end - points[i])])
        at = (float(end[0]), float(end[1])) if far else None
        labels.append(Label(int(i), float(centre[0]), float(centre[1]), at))
    return sorted(labels, key=lambda label: label.point)


def _end(point: Floats, centre: Floats, half: Floats) -> Floats:
    """The place of a box that is nearest to a point."""
    return np.asarray(np.clip(point, centre - half, centre + half))


def _within(samples: Floats, box: Floats) -> bool:
    return bool(((samples > box[:2]) & (samples < box[2:])).all(axis=1).any())


def _beside(point: Floats, half: Floats, distance: float, direction: tuple[int, int]) -> Floats:
    """Centre of a box at a distance from a point, by its nearest side or corner."""
    towards = np.array(direction, dtype=np.float64)
    step = distance / np.hypot(*towards)
    return np.asarray(point + towards * (step + half), dtype=np.float64)


def _overlap(one: Floats, other: Floats) -> bool:
    return bool((one[:2] < other[2:]).all() and (one[2:] > other[:2]).all())
