"""Texts of class tables and hypergraphs for the terminal."""

from __future__ import annotations

import pandas as pd

from ddp_tasks.figures.notation import node_name
from ddp_tasks.queries.slices import SliceFindings, SlicePlace
from flows.texts.columns import columns

#: Most names of one kind in a line.
_MOST_NAMES = 10


def table_lines(frame: pd.DataFrame, place: SlicePlace, confidence: float, *, split: bool) -> str:
    """The incidences of one layer, class after class, the greatest fraction first.

    Parameters
    ----------
    frame
        as ``StoredSignificance.table`` returns it.
    place
        as ``StoredSignificance.place`` returns it for the same levels.
    confidence
        probability that all intervals of the table hold.
    split
        whether the fractions are of other images than those that chose.
    """
    axis = str(frame.columns[0])
    chosen = frame[frame["significant"]]
    lines = [
        f"{_place(place)}: {len(chosen):,} of {len(frame):,} pairs of class and singular vector "
        "are significant"
    ]
    if place.empty:
        return "\n".join([*lines, place.empty])
    order = [axis, "fraction"]
    chosen = chosen.sort_values(order, ascending=[True, False], kind="stable")
    rows = [
        (
            row[axis],
            node_name(row["singular_vector"], row["direction"], place.thresholds),
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
    lines.append(
        "Fractions are of images that did not choose; all intervals of the table hold together"
        if split
        else "All images both chose and judge, which flatters the fractions"
    )
    return "\n".join([*lines, "", *columns(header, rows)])


def hypergraph_lines(findings: SliceFindings) -> str:
    """A hypergraph as its equivalence classes, most general first, level by level."""
    place, sizes = findings.place, findings.sizes
    if place.empty:
        return f"{_place(place)}: the hypergraph is empty\n{place.empty}"
    counts = ", ".join(
        f"{number:,} {name}{ending if number != 1 else ''}"
        for number, name, ending in (
            (sizes.nodes, "singular vector", "s"),
            (sizes.hyperedges, "hyperedge", "s"),
            (sizes.incidences, "incidence", "s"),
            (sizes.equivalence_classes, "equivalence class", "es"),
            (findings.depth, "level", "s"),
        )
    )
    rows = [
        (
            one.level,
            len(one.singular_vectors),
            f"{one.greatest_singular_value:.4g}",
            _some(list(one.names)),
            _some(list(one.target_classes)),
        )
        for one in findings.equivalence_classes
    ]
    several = {"target_class": "target classes", "superclass": "superclasses"}[findings.class_axis]
    header = ("level", "vectors", "greatest s", "singular vectors", several)
    return "\n".join([f"{_place(place)}: {counts}", "", *columns(header, rows)])


def _place(place: SlicePlace) -> str:
    q = ", ".join(f"{q:.4g}" for q in place.thresholds.values())
    directions = "both directions" if place.direction == "both" else f"{place.direction} direction"
    return (
        f"{place.layer}, {directions}, quantile level {place.quantile:g} (q = {q}), "
        f"p = {place.percentage:g} %"
    )


def _some(names: list[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - _MOST_NAMES:,} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more


def distinguishing_lines(frame: pd.DataFrame, a: str, b: str, top: int, confidence: float) -> str:
    """The first rows of a table of what distinguishes two classes.

    Parameters
    ----------
    frame
        as ``StoredSignificance.distinguishing`` returns it.
    top
        rows to show.
    """
    rows = [
        (
            row["layer"],
            node_name(row["singular_vector"], row["direction"]) + "*" * bool(row["arbitrary"]),
            f"{row['singular_value']:.4g}",
            f"{row['fraction_a']:.0%}{' ·' if row['significant_a'] else ''}",
            f"{row['fraction_b']:.0%}{' ·' if row['significant_b'] else ''}",
            f"{100 * row['difference']:+.0f}",
            f"{100 * row['low']:+.0f} to {100 * row['high']:+.0f}",
            f"{row['false_discovery_rate']:.2g}",
        )
        for row in frame.head(top).to_dict("records")
    ]
    header = (
        "layer", "vector", "s", a, b, "difference, %", f"{100 * confidence:g} % interval",
        "false discoveries",
    )  # fmt: skip
    lines = [
        f"Shares of the images of {a} and of {b} that a singular vector is significant for; the "
        f"surest difference first, {len(rows)} of {len(frame):,} shown. Intervals, and rates of "
        "false discoveries, are over all of these together.",
        "",
        *columns(header, rows),
        "",
        "· significant for the class, in at least p % of its images",
    ]
    if frame.head(top)["arbitrary"].any():
        lines.append("* its singular value is too close to another's: the vector is arbitrary")
    return "\n".join(lines)
