"""Layouts of semantic hierarchies: ours beside Graphviz's dot and grandalf.

``python -m benchmarks.hierarchy_layout RUN...`` places the boxes of every hierarchy of finished
runs with each of them, as far as they are installed, and counts lines that cross, lines that run
through boxes, widths and seconds.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import xarray as xr

from ddp_tasks.figures.diagram_layout import Levels, place_levels
from ddp_tasks.figures.hierarchy_boxes import hierarchy_boxes
from ddp_tasks.hypergraphs.semantic_hierarchy import levels
from ddp_tasks.weights.layer_vectors import LayerVectors

_COLUMN_GAP, _ROW_GAP = 18.0, 52.0


def diagrams(store: Path) -> Iterator[tuple[np.ndarray, np.ndarray, list[tuple[float, float]]]]:
    """Level of each box, which covers which, and sizes, of each hierarchy that has lines."""
    tree = xr.open_datatree(store, engine="zarr")
    for name, node in tree["hierarchies"].children.items():
        hierarchy = node.to_dataset().load()
        if not hierarchy.sizes["equivalence_class"]:
            continue
        layer = LayerVectors.of(tree["layers"].to_dataset().sel(layer=name).load())
        boxes = hierarchy_boxes(hierarchy, layer)
        covers = hierarchy["covers"].to_numpy()[: len(boxes), : len(boxes)]
        inside = np.flatnonzero(covers.any(axis=0) | covers.any(axis=1))
        if len(inside) > 2:
            within = covers[np.ix_(inside, inside)]
            yield levels(within), within, [(boxes[i].width, boxes[i].height) for i in inside]


def by_dot(
    level: np.ndarray,
    covers: np.ndarray,
    sizes: list[tuple[float, float]],
    column: float,
    row: float,
) -> Levels:
    """Of Graphviz: the same levels and gaps, lines of straight pieces."""
    edges = [(int(i), int(j)) for i, j in np.argwhere(covers)]
    text = [
        f"digraph{{splines=polyline;nodesep={column / 72};ranksep={row / 72};",
        'node[shape=box,fixedsize=true,label=""];edge[arrowhead=none];',
        *(f"{i}[width={w / 72},height={h / 72}];" for i, (w, h) in enumerate(sizes)),
        *(
            f"{{rank=same;{';'.join(map(str, np.flatnonzero(level == n)))}}}"
            for n in range(level.max() + 1)
        ),
        *(f"{i}->{j};" for i, j in edges),
        "}",
    ]
    told = subprocess.run(
        ["dot", "-Tplain"], input="".join(text), capture_output=True, text=True, check=True
    )
    rows = [line.split() for line in told.stdout.splitlines()]
    width, height = (72 * float(size) for size in rows[0][2:4])
    corners, lines = [(0.0, 0.0)] * len(sizes), {}
    for kind, *words in rows:
        if kind == "node":
            (w, h), (x, y) = sizes[int(words[0])], (72 * float(place) for place in words[1:3])
            corners[int(words[0])] = (x - w / 2, height - y - h / 2)
        elif kind == "edge":
            points = 72 * np.array(words[3 : 3 + 2 * int(words[2])], dtype=float).reshape(-1, 2)
            # Straight pieces as curves: their ends are every third point.
            lines[int(words[0]), int(words[1])] = points[::3] * (1, -1) + (0, height)
    return Levels(corners, edges, [lines[edge] for edge in edges], width, height)


def by_grandalf(
    level: np.ndarray,
    covers: np.ndarray,
    sizes: list[tuple[float, float]],
    column: float,
    row: float,
) -> Levels:
    """Of grandalf: levels of its own; what no line joins stands side by side."""
    from grandalf.graphs import Edge, Graph, Vertex
    from grandalf.layouts import SugiyamaLayout, VertexViewer
    from grandalf.routing import EdgeViewer, route_with_lines

    boxes = [Vertex(i) for i in range(len(sizes))]
    for box, (w, h) in zip(boxes, sizes, strict=True):
        box.view = VertexViewer(w, h)
    pairs = [(int(i), int(j)) for i, j in np.argwhere(covers)]
    edges = [Edge(boxes[i], boxes[j]) for i, j in pairs]
    for edge in edges:
        edge.view = EdgeViewer()
    left, height = 0.0, 0.0
    for part in Graph(boxes, edges).C:
        layout = SugiyamaLayout(part)
        layout.xspace, layout.yspace, layout.route_edge = column, row, route_with_lines
        layout.init_all(optimize=True)
        layout.draw(12)
        views = [box.view for box in part.V()]
        across = left - min(view.xy[0] - view.w / 2 for view in views)
        down = -min(view.xy[1] - view.h / 2 for view in views)
        for view in views:
            view.xy = (view.xy[0] + across, view.xy[1] + down)
        for edge in part.E():
            edge.view._pts = [(x + across, y + down) for x, y in edge.view._pts]
        left = max(view.xy[0] + view.w / 2 for view in views) + column
        height = max(height, *(view.xy[1] + view.h / 2 for view in views))
    corners = [(v.view.xy[0] - v.view.w / 2, v.view.xy[1] - v.view.h / 2) for v in boxes]
    return Levels(corners, pairs, [np.array(e.view._pts, float) for e in edges], left, height)


def crossing(placed: Levels) -> int:
    """How many pairs of lines cross, wherever they do."""
    return sum(_cross(one, other) for one, other in itertools.combinations(placed.lines, 2))


def _cross(one: np.ndarray, other: np.ndarray) -> bool:
    r, s = np.diff(one, axis=0)[:, None], np.diff(other, axis=0)[None]
    between = other[None, :-1] - one[:-1, None]
    turn = r[..., 0] * s[..., 1] - r[..., 1] * s[..., 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        along = (between[..., 0] * s[..., 1] - between[..., 1] * s[..., 0]) / turn
        across = (between[..., 0] * r[..., 1] - between[..., 1] * r[..., 0]) / turn
    inside = [(part > 0.001) & (part < 0.999) for part in (along, across)]
    return bool((inside[0] & inside[1] & (np.abs(turn) > 1e-9)).any())


def through(placed: Levels, sizes: list[tuple[float, float]]) -> int:
    """How many lines run through how many boxes that are not at their ends."""
    steps, count = np.linspace(0, 1, 30)[:, None], 0
    for line, ends in zip(placed.lines, placed.edges, strict=True):
        points = np.concatenate([a + steps * (b - a) for a, b in itertools.pairwise(line)])
        for box, (corner, size) in enumerate(zip(placed.corners, sizes, strict=True)):
            low, high = np.array(corner) + 2, np.array(corner) + size - 2
            within = ((points > low) & (points < high)).all(axis=1).any()
            count += bool(within) and box not in ends
    return count


def measured(stores: list[Path]) -> dict[str, np.ndarray]:
    """Of each layout, a row for each diagram: crossings, lines through boxes, width, seconds."""
    layouts: dict[str, Callable[..., Levels]] = {"ours": place_levels}
    if shutil.which("dot"):
        layouts["dot"] = by_dot
    if find_spec("grandalf"):
        layouts["grandalf"] = by_grandalf
    rows: dict[str, list[tuple[float, ...]]] = {name: [] for name in layouts}
    for level, covers, sizes in itertools.chain.from_iterable(map(diagrams, stores)):
        for name, layout in layouts.items():
            started = time.perf_counter()
            placed = layout(level, covers, sizes, _COLUMN_GAP, _ROW_GAP)
            seconds = time.perf_counter() - started
            rows[name].append((crossing(placed), through(placed, sizes), placed.width, seconds))
    return {name: np.array(told) for name, told in rows.items()}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of finished runs")
    chosen = parser.parse_args()
    results = measured([run / "store.zarr" for run in chosen.runs])
    print(f"{len(results['ours'])} diagrams\n")
    print("| layout | pairs of lines that cross | lines through boxes | mean width | seconds |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, rows in results.items():
        crossed, run_through, _, seconds = rows.sum(axis=0)
        wide = rows[:, 2].mean()
        print(f"| {name} | {crossed:,.0f} | {run_through:,.0f} | {wide:,.0f} | {seconds:.2f} |")


if __name__ == "__main__":
    main()
