"""Texts of the terminal about pruned networks."""

from __future__ import annotations

from ddp_tasks.queries.pruning import Pruning, words
from flows.texts.columns import columns

#: Layers that stay whole which are listed.
_LISTED = 6


def pruning_lines(found: Pruning) -> str:
    """All networks beside each other with intervals, and what the criteria are worth."""
    level = f"{100 * found.confidence:g} % interval"
    rows = [
        (
            words(row["criterion"]),
            f"{row['asked']:g}",
            f"{row['parameters']:,}",
            f"{row['kept']:.1%}",
            row["layers"],
            row["batch_norm"],
            f"{row['accuracy']:.1%}",
            f"{row['low']:.1%} to {row['high']:.1%}",
            f"{row['time_ratio']:.2f}",
        )
        for row in found.table.to_dict("records")
    ]
    header = (
        *("criterion", "asked", "parameters", "kept", "layers", "BatchNorms"),
        *("accuracy", level, "time"),
    )
    whole = list(found.network.left_out.items())
    more = f"; and {len(whole) - _LISTED} more" * (len(whole) > _LISTED)
    return "\n".join(
        [
            f"Accuracy on {found.images:,} images that judge, with exact intervals that hold "
            "together; time:",
            "of a forward pass over that of the original, in turns. Random vectors: as many of "
            f"each layer as by {words(found.beside)}, one draw.",
            *found.notes,
            "",
            *columns(header, rows),
            "",
            found.verdict(),
            *(
                [f"Whole stay: {'; '.join(f'{n}: {why}' for n, why in whole[:_LISTED])}{more}"]
                if whole
                else []
            ),
            "",
        ]
    )
