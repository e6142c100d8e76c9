"""Texts of the terminal about optimised images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ddp_tasks.queries.visualization_targets import Wanted
from ddp_tasks.queries.visualizations import TRUST, trust_table
from flows.texts.columns import columns
from schemas.shown import shown
from schemas.visualization_parameters import VisualizationParameters

#: Rows of the table; the store has all of them.
_MOST_ROWS = 40
_LONGEST_TARGET = 48


def lines(
    path: Path, wanted: Mapping[str, Sequence[Wanted]], options: VisualizationParameters
) -> str:
    """How far to trust the images that were asked for, the failed ones with the reason."""
    table = trust_table(path, wanted)
    keys = {
        (k, t.key) for k, of_layer in wanted.items() for w in of_layer for t in w.targets(options)
    }
    asked = table[[pair in keys for pair in zip(table["layer"], table["target"], strict=True)]]
    rows = [
        (
            row["layer"],
            shown(row["target"], _LONGEST_TARGET),
            *(f"{row[name]:.2f}" for name in TRUST[:4]),
            "" if row["seeds"] == 1 else f"± {row['seed_deviation']:.2f}",
            row["failed"],
        )
        for row in asked.head(_MOST_ROWS).to_dict("records")
    ]
    names = ("layer", "target", "excess", "unseen", "path", "of exemplars", "seeds", "failed")
    left = len(asked) - len(rows)
    failed = int((asked["failed"] != "").sum())
    return "\n".join(
        [
            f"{len(asked):,} optimised images, {failed:,} of them failed:",
            *columns(names, rows),
            *([f"and {left:,} more; the store has all of them"] if left else []),
            "excess: signal of the picture over that of the best natural image, both less the",
            "natural mean; unseen: the same under transforms that it was not optimised for; path:",
            "how alike its way through the network is to that of natural exemplars, and theirs to",
            "one another.",
            "",
        ]
    )
