"""Texts of the terminal about the removal of singular vectors."""

from __future__ import annotations

from pathlib import Path

from ddp_tasks.queries.ablation import grid_table, open_ablation, vectors_table, verdicts
from flows.texts.columns import columns

#: Single vectors that are named; the store has all of them.
_VECTORS = 10


def lines(folder: Path) -> str:
    """Every place of the grid, a verdict for each control, and the most selective vectors."""
    ablated = open_ablation(folder)
    frame = grid_table(ablated)
    rows = [
        (
            f"{row['quantile']:g}",
            f"{row['percentage']:g} %",
            row["control"],
            f"{row['pairs']:,}",
            f"{row['selectivity']:.3f}",
            f"{row['control_selectivity']:.3f}",
            f"{row['difference']:+.3f}",
            f"{row['difference_low']:+.3f} to {row['difference_high']:+.3f}",
            f"{row['win_rate']:.0%}",
            f"{row['p_corrected']:.2g}",
        )
        for row in frame[(frame["change"] == "accuracy") & (frame["pairs"] > 0)].to_dict("records")
    ]
    names = ("q", "p", "beside", "pairs", "singular", "control", "difference", "interval")
    return "\n".join(
        [
            "Selectivity: drop of the accuracy on a class's images when its significant vectors",
            "are removed, less that on the other classes' images; means over layers and classes.",
            *columns((*names, "won", "corrected p"), rows),
            "",
            *verdicts(ablated),
            *_vectors(folder),
            "",
        ]
    )


def _vectors(folder: Path) -> list[str]:
    frame = vectors_table(folder)
    frame = frame[frame["change"] == "accuracy"]
    if not len(frame):
        return []
    sure = frame[frame["low"] > 0]
    strongest = frame.sort_values("selectivity", ascending=False, kind="stable").head(_VECTORS)
    rows = [
        (
            row["layer"],
            f"v{row['singular_vector']}",
            row["target_class"],
            f"{row['own_drop']:+.3f}",
            f"{row['other_drop']:+.3f}",
            f"{row['selectivity']:+.3f}",
            f"{row['low']:+.3f} to {row['high']:+.3f}",
        )
        for row in strongest.to_dict("records")
    ]
    names = ("layer", "vector", "class", "its drop", "others'", "selectivity", "interval")
    return [
        "",
        f"Removed one by one, {len(sure):,} of {len(frame):,} vectors hurt a class more than the "
        "others, by intervals",
        "that hold for all vectors and classes of a layer together. The most selective:",
        *columns(names, rows),
    ]
