"""Texts of the terminal about what singular vectors mean."""

from __future__ import annotations

import math

from ddp_tasks.queries.descriptions import Descriptions
from flows.texts.columns import columns

#: Rows that are shown.
_ROWS = 15
_ARBITRARY = "* its singular value is too close to another's: the vector is arbitrary"


def description_lines(found: Descriptions) -> str:
    """The vectors that stand out most, and what all descriptions are worth."""
    table, level = found.table, f"{100 * found.confidence:g} % interval"
    shown = table.head(_ROWS)
    rows = [
        (
            row["layer"],
            row["vector"],
            f"{row['selection']:.3f}",
            f"{row['estimation']:.3f}",
            "not known" if math.isnan(row["low"]) else f"{row['low']:.3f} to {row['high']:.3f}",
            _number(row["percentile"], 1),
            _number(row["percentile_variance"], 1),
            _number(row["false_discovery_rate"], 2),
            row["description"],
        )
        for row in shown.to_dict("records")
    ]
    header = (
        "layer", "vector", "chosen at", "AUROC", level, "percentile", "variances kept", "false",
        "description",
    )  # fmt: skip
    layers = len(found.layers)
    return "\n".join(
        [
            f"{len(table):,} signed vectors of {layers} layer{'' if layers == 1 else 's'}, each "
            f"described by the best of {found.concepts:,} sets of images, and judged",
            f"on {found.judged:,} images that chose nothing. AUROC: chance that an image of the "
            "set has the greater signal.",
            *found.notes,
            "",
            *columns(header, rows),
            "",
            *found.verdict(),
            "percentile: among the best descriptions of random directions, on the same images; "
            "variances kept: of bases",
            "that keep each signal's variance; false: rate of false discoveries if "
            "the rows down to this one count as more.",
            *([_ARBITRARY] if shown["vector"].str.endswith("*").any() else []),
        ]
    )


def _number(value: float, digits: int) -> str:
    return "–" if math.isnan(value) else f"{value:.{digits}f}"
