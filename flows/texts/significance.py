"""Class tables as the terminal shows them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from ddp_tasks.hypergraphs.family import Slice
from flows.texts.columns import columns

#: Names of one kind that a line tells.
_MOST_NAMES = 10


def table_lines(frame: pd.DataFrame, at: Slice, confidence: float) -> str:
    """The incidences of one layer, class after class, the greatest fraction first.

    Parameters
    ----------
    frame
        as ``StoredSignificance.table`` gives it.
    at
        the hypergraph of the same place.
    """
    axis = str(frame.columns[0])
    chosen = frame[frame["significant"]]
    lines = [
        f"{_place(at)}: {len(chosen):,} of {len(frame):,} pairs of class and singular vector are "
        "significant"
    ]
    if because := at.empty_because():
        return "\n".join([*lines, because])
    order = [axis, "fraction"]
    chosen = chosen.sort_values(order, ascending=[True, False], kind="stable")
    rows = [
        (
            row[axis],
            f"v{row['singular_vector']}",
            f"{row['singular_value']:.4g}",
            f"{row['fraction']:.1%}",
            f"{row['low']:.1%} to {row['high']:.1%}",
            f"{row['images']:,}",
        )
        for row in chosen.to_dict("records")
    ]
    header = (
        axis.replace("_", " "),
        "vector",
        "s",
        "fraction",
        f"{100 * confidence:g} % interval",
        "images",
    )
    return "\n".join([*lines, "", *columns(header, rows)])


def hypergraph_lines(at: Slice, singular_values: npt.NDArray[np.float64], axis: str) -> str:
    """A hypergraph as its equivalence classes, most general first, level by level.

    Parameters
    ----------
    singular_values
        of the layer, shape (singular vector,).
    axis
        what the hyperedges are, target_class or superclass.
    """
    if because := at.empty_because():
        return f"{_place(at)}: the hypergraph is empty\n{because}"
    found, sizes = at.hierarchy(), at.sizes()
    told = ", ".join(
        f"{number:,} {name}{ending if number != 1 else ''}"
        for number, name, ending in (
            (sizes.nodes, "singular vector", "s"),
            (sizes.hyperedges, "hyperedge", "s"),
            (sizes.incidences, "incidence", "s"),
            (sizes.equivalence_classes, "equivalence class", "es"),
            (sizes.depth, "level", "s"),
        )
    )
    rows = []
    for level, vectors, classes in zip(
        found.level, found.singular_vectors, found.target_classes, strict=True
    ):
        inside = np.flatnonzero(vectors)
        rows.append(
            (
                int(level),
                len(inside),
                f"{singular_values[inside[0]]:.4g}",
                _some([f"v{v}" for v in inside]),
                _some([at.target_classes[c] for c in np.flatnonzero(classes)]),
            )
        )
    several = {"target_class": "target classes", "superclass": "superclasses"}[axis]
    header = ("level", "vectors", "greatest s", "singular vectors", several)
    return "\n".join([f"{_place(at)}: {told}", "", *columns(header, rows)])


def _place(at: Slice) -> str:
    return (
        f"{at.layer}, {at.direction} direction, quantile level {at.quantile:g} (q = "
        f"{at.threshold:.4g}), p = {at.percentage:g} %"
    )


def _some(names: list[str]) -> str:
    """Names, or the first of them and how many more there are."""
    more = f" and {len(names) - _MOST_NAMES:,} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more


def distinguishing_lines(frame: pd.DataFrame, a: str, b: str, top: int, confidence: float) -> str:
    """The first rows of what distinguishes one class from another.

    Parameters
    ----------
    frame
        as ``StoredSignificance.distinguishing`` gives it.
    top
        rows to show.
    """
    rows = [
        (
            row["layer"],
            f"v{row['singular_vector']}{'*' if row['arbitrary'] else ''}",
            row["direction"],
            f"{row['singular_value']:.4g}",
            f"{row['fraction_a']:.0%}{' ·' if row['significant_a'] else ''}",
            f"{row['fraction_b']:.0%}{' ·' if row['significant_b'] else ''}",
            f"{100 * row['difference']:+.0f}",
            f"{100 * row['low']:+.0f} to {100 * row['high']:+.0f}",
        )
        for row in frame.head(top).to_dict("records")
    ]
    header = (
        "layer", "vector", "direction", "s", a, b, "difference, %",
        f"{100 * confidence:g} % interval",
    )  # fmt: skip
    lines = [
        f"Shares of the images of {a} and of {b} that a singular vector is significant for; the "
        f"surest difference first, {len(rows)} of {len(frame):,} shown.",
        "",
        *columns(header, rows),
        "",
        "· significant for the class, in at least p % of its images",
    ]
    if frame.head(top)["arbitrary"].any():
        lines.append("* its singular value is too close to another's: the vector is arbitrary")
    return "\n".join(lines)
