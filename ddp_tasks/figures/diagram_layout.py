"""Where the parts of a diagram go: circles and their hulls, and boxes in levels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ddp_tasks.figures.level_order import fewest_crossings

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_DIRECTIONS = 32
#: Moves tried for each circle, and at most; more moves rarely improve a layout.
_STEPS_A_CIRCLE, _STEPS = 300, 2500
_MARGIN = 6.0


def place_circles(inside: Flags, radius: Floats, ring: float) -> tuple[Floats, tuple[float, float]]:
    """Centres of circles such that hulls enclose few circles that do not belong to them.

    Starts from the spring layout of the bipartite graph, as HyperNetX does, and improves it by
    random moves that are kept where they help; the same input gives the same layout.

    Parameters
    ----------
    inside
        shape (hyperedge, node).
    radius
        shape (node,); radii of the circles, in pixels.
    ring
        distance between the hulls around one circle, in pixels.

    Returns
    -------
    centres of shape (node, 2), and width and height of the drawing, in pixels
    """
    crowding = _Crowding(inside, radius, ring)
    outer = crowding.outer
    centre = _spring(inside) * outer.max() * np.sqrt(len(radius)) * 1.2
    random = np.random.default_rng(0)
    cost, spread = crowding.cost(centre), outer.max() * 2
    steps = min(_STEPS_A_CIRCLE * len(radius), _STEPS) if len(radius) > 1 else 0
    for step in range(steps):
        tried, cooling = centre.copy(), 1 - step / steps
        node = int(random.integers(len(radius)))
        if random.random() < 0.2:
            other = int(random.integers(len(radius)))
            tried[[node, other]] = tried[[other, node]]
        else:
            tried[node] += random.normal(0, spread * max(cooling, 0.05), 2)
        new = crowding.cost(tried)
        if new < cost or random.random() < np.exp((cost - new) / (60 * cooling**2 + 1e-9)):
            centre, cost = tried, new
    # Lay the longer side across the page.
    reach = outer[:, None] + 4
    if np.ptp(np.vstack([centre - reach, centre + reach]), axis=0).argmax() == 1:
        centre = centre[:, ::-1]
    low, high = (centre - reach).min(axis=0), (centre + reach).max(axis=0)
    size = np.maximum(high - low, 160)
    centre = centre - low + (size - (high - low)) / 2
    return centre, (float(size[0]), float(size[1]))


def hulls(inside: Flags, centre: Floats, radius: Floats, ring: float) -> list[Floats]:
    """Rounded convex outline of each hyperedge around its circles; smaller ones lie inside.

    Parameters
    ----------
    inside, radius, ring
        as in ``place_circles``; every hyperedge has a node.

    Returns
    -------
    corners of the outline of each hyperedge, shape (corner, 2)
    """
    from scipy.spatial import ConvexHull  # takes a while to import, and matrices do without

    reach = _reach(inside, radius, ring)
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    circle = np.column_stack([np.cos(angle), np.sin(angle)])
    outlines = []
    for edge, members in enumerate(inside):
        nodes = np.flatnonzero(members)
        points = np.vstack([centre[n] + reach[edge, n] * circle for n in nodes])
        outlines.append(points[ConvexHull(points).vertices])
    return outlines


def _reach(inside: Flags, radius: Floats, ring: float) -> Floats:
    """Distance of each hull from the centre of each circle, shape (hyperedge, node)."""
    order = np.argsort(inside.sum(axis=1), kind="stable")
    rank = np.empty(inside.shape, dtype=int)
    rank[order] = np.cumsum(inside[order], axis=0)
    return np.asarray(radius + ring * rank)


class _Crowding:
    """Cost of a layout of circles; what all layouts share is computed once."""

    def __init__(self, inside: Flags, radius: Floats, ring: float) -> None:
        angle = np.linspace(0, 2 * np.pi, _DIRECTIONS, endpoint=False)
        self.outer: Floats = radius + ring * (inside.sum(axis=0) + 1)
        self._directions = np.stack([np.cos(angle), np.sin(angle)])
        self._reach = np.where(inside, _reach(inside, radius, ring), -np.inf)[:, :, None]
        self._radius, self._outside = radius[:, None], ~inside
        pairs = np.triu_indices(len(radius), 1)
        self._pairs, self._least = pairs, self.outer[pairs[0]] + self.outer[pairs[1]] + _MARGIN

    def cost(self, centre: Floats) -> float:
        """Overlaps and intrusions in pixels, weighted more than the extent of the hulls.

        Parameters
        ----------
        centre
            shape (node, 2).
        """
        along = centre @ self._directions
        # Called thousands of times on small arrays: ufuncs are quicker than methods.
        support = np.maximum.reduce(along + self._reach, axis=1)
        # A circle lies outside a hull if it lies beyond it in some direction.
        apart = np.maximum.reduce(along - self._radius - support[:, None, :], axis=2)
        intrusion = np.add.reduce(np.maximum(_MARGIN - apart, 0) * self._outside, axis=None)
        one, other = self._pairs
        step = centre[one] - centre[other]
        between = np.hypot(step[:, 0], step[:, 1])
        closeness = np.add.reduce(np.maximum(self._least - between, 0))
        outer = self.outer[:, None]
        extent = np.maximum.reduce(centre + outer) - np.minimum.reduce(centre - outer)
        mean = np.add.reduce(support, axis=None) / support.size
        return float(20 * intrusion + 8 * closeness + mean + 0.5 * np.add.reduce(extent))


def _spring(inside: Flags) -> Floats:
    import networkx as nx  # takes a while to import, and matrices do without

    hyperedges, nodes = inside.shape
    graph = nx.Graph()
    graph.add_nodes_from(range(nodes))
    graph.add_edges_from((n, nodes + e) for e, n in zip(*np.nonzero(inside), strict=True))
    assert len(graph) <= nodes + hyperedges
    place = nx.spring_layout(graph, seed=0)
    return np.array([place[n] for n in range(nodes)])


@dataclass(frozen=True)
class Levels:
    """Boxes in levels and the lines between them; in pixels, y grows downwards."""

    corners: list[tuple[float, float]]
    """upper left corner of each box."""
    edges: list[tuple[int, int]]
    """the upper and the lower box of each line."""
    lines: list[Floats]
    """corners of each line, shape (corner, 2), from the upper box to the lower."""
    width: float
    height: float


def place_levels(
    level: npt.NDArray[np.int64],
    covers: Flags,
    sizes: list[tuple[float, float]],
    column_gap: float,
    row_gap: float,
) -> Levels:
    """Place boxes level by level such that few lines cross, and none runs through a box.

    The method of Sugiyama et al. 1981: a line over several levels gets a place of its own in
    each level that it passes; ``fewest_crossings`` orders each level.

    Parameters
    ----------
    level
        shape (box,); 0 on top.
    covers
        shape (box, box); True where a line leads down from the first to the second.
    sizes
        width and height of each box.
    column_gap, row_gap
        least distance of boxes beside and below each other.
    """
    edges = [(int(i), int(j)) for i, j in np.argwhere(covers)]
    width = [w for w, _ in sizes]
    at = level.tolist()
    chains: list[list[int]] = []
    pairs: list[tuple[int, int]] = []
    for i, j in edges:
        passed = list(range(len(at), len(at) + at[j] - at[i] - 1))
        at += range(at[i] + 1, at[j])
        width += [8.0] * len(passed)
        chains.append([i, *passed, j])
        pairs += zip(chains[-1], chains[-1][1:], strict=False)
    neighbours: list[list[int]] = [[] for _ in at]
    for i, j in pairs:
        neighbours[i].append(j)
        neighbours[j].append(i)
    rows = [[n for n in range(len(at)) if at[n] == row] for row in range(max(at) + 1)]
    rows = fewest_crossings(rows, neighbours)
    middle = _columns(rows, neighbours, np.array(width), column_gap)
    left = min(middle[n] - width[n] / 2 for n in range(len(at)))
    middle = middle - left + 2

    heights = [max((sizes[n][1] for n in row if n < len(sizes)), default=0) for row in rows]
    tops = np.concatenate([[2.0], 2.0 + np.cumsum(np.array(heights) + row_gap)])
    corners = [(float(middle[n] - w / 2), float(tops[at[n]])) for n, (w, _) in enumerate(sizes)]
    edges_of_row = [(float(tops[row]), float(tops[row] + heights[row])) for row in at]
    lines = _lines(chains, corners, sizes, middle, edges_of_row)
    total = max(middle[n] + width[n] / 2 for n in range(len(at))) + 2
    return Levels(corners, edges, lines, float(total), float(tops[-1] - row_gap + 2))


def place_rows(
    sizes: list[tuple[float, float]], width: float, top: float, gap: float
) -> tuple[list[tuple[float, float]], float]:
    """Place boxes in rows of at most ``width``; return upper left corners and the lower end."""
    corners: list[tuple[float, float]] = []
    x, y, lowest = 2.0, max(top, 2.0), top
    for wide, high in sizes:
        if x > 2 and x + wide > width:
            x, y = 2.0, lowest + gap
        corners.append((x, y))
        x, lowest = x + wide + gap, max(lowest, y + high + 2)
    return corners, lowest


def _columns(
    rows: list[list[int]], neighbours: list[list[int]], width: Floats, gap: float
) -> Floats:
    """Middle of each box: near its neighbours' mean, with the given order and gap."""
    middle = np.zeros(len(width))
    for row in rows:
        ends = np.cumsum([width[n] + gap for n in row])
        for n, end in zip(row, ends, strict=True):
            middle[n] = end - width[n] / 2 - gap - (ends[-1] - gap) / 2
    widest = max(range(len(rows)), key=lambda i: sum(width[n] + gap for n in rows[i]))
    for _ in range(8):
        # From the widest row outwards: it has the least freedom.
        for number in [*range(widest - 1, -1, -1), *range(widest + 1, len(rows))]:
            row = rows[number]
            wanted = np.array(
                [np.mean(middle[neighbours[n]]) if neighbours[n] else middle[n] for n in row]
            )
            middle[row] = _separated(wanted, width[row], gap)
    return middle


def _separated(wanted: Floats, width: Floats, gap: float) -> Floats:
    """Places near the wanted ones, in their order and without overlap (isotonic regression)."""
    if len(wanted) == 0:
        return wanted
    offset = np.concatenate([[0.0], np.cumsum((width[1:] + width[:-1]) / 2 + gap)])
    blocks: list[tuple[float, int]] = []
    for value in wanted - offset:
        mean, count = float(value), 1
        while blocks and blocks[-1][0] > mean:
            before, members = blocks.pop()
            mean = (mean * count + before * members) / (count + members)
            count += members
        blocks.append((mean, count))
    return np.concatenate([np.full(count, mean) for mean, count in blocks]) + offset


def _lines(
    chains: list[list[int]],
    corners: list[tuple[float, float]],
    sizes: list[tuple[float, float]],
    middle: Floats,
    rows: list[tuple[float, float]],
) -> list[Floats]:
    """Lines from the lower edge of a box to the upper edge of another, spread along the edges.

    ``rows`` holds the upper and lower edge of the row of each box and passing place.
    """
    leaving: dict[int, list[int]] = {}
    arriving: dict[int, list[int]] = {}
    for number, chain in enumerate(chains):
        leaving.setdefault(chain[0], []).append(number)
        arriving.setdefault(chain[-1], []).append(number)

    def port(box: int, number: int, fellows: list[int], end: int) -> float:
        # In the order of the lines' next points, so that lines do not cross at the box.
        order = sorted(fellows, key=lambda n: (middle[chains[n][end]], n))
        share = (order.index(number) + 1) / (len(order) + 1)
        return corners[box][0] + sizes[box][0] * share

    lines = []
    for number, chain in enumerate(chains):
        above, below = chain[0], chain[-1]
        start = (port(above, number, leaving[above], 1), corners[above][1] + sizes[above][1])
        points = [start, (start[0], rows[above][1])]
        for n in chain[1:-1]:
            points += [(middle[n], rows[n][0]), (middle[n], rows[n][1])]
        points.append((port(below, number, arriving[below], -2), corners[below][1]))
        kept = [p for i, p in enumerate(points) if i == 0 or p != points[i - 1]]
        lines.append(np.array(kept, dtype=float))
    return lines
