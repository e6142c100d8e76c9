"""Class tables as the terminal shows them."""

from __future__ import annotations

import pandas as pd

from ddp_tasks.hypergraph_family import Slice
from flows.summary_text import columns


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
        f"{at.layer}, {at.direction} direction, quantile level {at.quantile:g} (q = "
        f"{at.threshold:.4g}), p = {at.percentage:g} %: {len(chosen):,} of {len(frame):,} pairs of "
        "class and singular vector are significant"
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
