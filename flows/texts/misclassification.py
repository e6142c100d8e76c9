"""Texts of the terminal about wrong predictions and what tells them from right ones."""

from __future__ import annotations

import math

from ddp_tasks.queries.image_margins import ImageMargins
from ddp_tasks.queries.misclassification import Misclassification
from flows.texts.columns import columns

#: Images and vectors that are named.
_SUSPECTS, _VECTORS = 10, 3
_ARBITRARY = "* its singular value is too close to another's: the vector is arbitrary"


def score_lines(found: Misclassification) -> str:
    """All scores beside each other with intervals, a verdict, and the most suspect images."""
    images, level = found.images, f"{100 * found.confidence:g} % interval"
    rows = [
        (
            row["score"],
            f"{row['auroc']:.3f}",
            _ends(row["low"], row["high"], "{:.3f}"),
            *(
                ("", "")
                if row["gain"] == row["gain_low"] == row["gain_high"]
                else (
                    f"{row['gain']:+.3f}",
                    _ends(row["gain_low"], row["gain_high"], "{:+.3f}"),
                )
            ),
        )
        for row in found.table().to_dict("records")
    ]
    suspects = found.by_image()
    suspects = suspects[suspects["part"] == "estimation"].head(_SUSPECTS)
    counts = [
        f"{int((part & images.wrong).sum()):,} of {int(part.sum()):,}"
        for part in (images.choosing, ~images.choosing)
    ]
    return "\n".join(
        [
            f"Misclassified are {counts[0]} images that choose and {counts[1]} that judge. "
            "AUROC: chance that",
            "a wrong prediction gets a worse score than a right one, on the images that judge; "
            "gain: on max-softmax.",
            *images.notes,
            *found.left_out,
            "",
            *columns(("score", "AUROC", level, "gain", level), rows),
            "",
            found.verdict(),
            f"Best layer alone on the images that choose: {found.best_layer}. Intervals of single "
            "layers are not corrected for their number.",
            "",
            "The most suspect of the images that judge:",
            *columns(
                ("image", "predicted", "target class", "chance of an error", "confidence"),
                [
                    (
                        row["image"],
                        row["predicted"],
                        row["target_class"] + ("" if row["misclassified"] else " (right)"),
                        f"{row['error_probability']:.0%}",
                        f"{row['confidence']:.0%}",
                    )
                    for row in suspects.to_dict("records")
                ],
            ),
        ]
    )


def image_lines(found: ImageMargins) -> str:
    """One image's margin layer by layer, and the vectors along which it moved most."""
    chosen = "predicted as" if found.misclassified else "predicted rightly; the next likeliest is"
    rows = [
        (
            one.layer,
            f"{one.margin:+.1f}",
            f"{one.standardised:+.2f}",
            f"{one.told_apart:.0%}",
            ", ".join(
                f"{row['vector']} {row['shift']:+.1f}"
                for row in one.strongest(_VECTORS).to_dict("records")
            ),
        )
        for one in found.layers
    ]
    return "\n".join(
        [
            f"Image {found.image} of class {found.target_class}, {chosen} {found.rival}; "
            f"confidence {found.confidence:.1%}.",
            found.verdict(),
            *found.notes,
            *found.left_out,
            "",
            *columns(("layer", "margin", "in deviations", "told apart", "moved along"), rows),
            "",
            f"margin: log-density of {found.target_class} less that of {found.rival}, in nats; in "
            "deviations: the",
            "same in standard deviations of a class; told apart: share of other images of the two "
            "classes that",
            "the layer puts on the right side; moved along: parts of the margin, less those of the "
            "mean of its",
            f"own class, negative towards {found.rival}.",
            *([_ARBITRARY] if found.names_arbitrary() else []),
        ]
    )


def _ends(low: float, high: float, form: str) -> str:
    return "not known" if math.isnan(low) else f"{form.format(low)} to {form.format(high)}"
