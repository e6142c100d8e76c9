"""Stored variables of thresholds and class tables (section 5)."""

from __future__ import annotations

from collections.abc import Mapping

from schemas.declaration import (
    DIRECTION,
    GRID,
    LAYER,
    QUANTILE,
    SINGULAR_VECTOR,
    SPLIT,
    TARGET_CLASS,
    Group,
    Variable,
)

SIGNIFICANCE_GROUPS: Mapping[str, Group] = {
    "significance": Group(
        "thresholds and class tables, by the parts of the images: what is chosen on the first is "
        "told on the last",
        {
            "layer": LAYER,
            "singular_vector": SINGULAR_VECTOR,
            "target_class": TARGET_CLASS,
            "quantile": QUANTILE,
            "direction": DIRECTION,
            "split": SPLIT,
            "part": Variable(
                ("image",),
                "integer",
                "position along split of the part that the image belongs to, drawn within its "
                "class",
            ),
            "threshold": Variable(
                (*GRID, "layer"),
                "float",
                "q: that quantile of all signals of the layer over the images that choose",
                "layer output before bias",
                "5",
            ),
            "fraction": Variable(
                ("split", *GRID, "target_class", "layer", "singular_vector"),
                "float",
                "share of the class's images whose signal is greater than q; NaN past the rank",
                "1",
                "5",
            ),
            "images": Variable(("split", "target_class"), "integer", "images of the class"),
            "reached": Variable(
                ("split", "target_class", "layer"),
                "integer",
                "images of the class that reach the layer: fewer where the path of an image "
                "depends on the image; no vector is significant for the others",
            ),
            "eta_squared_of_signals": Variable(
                ("split", "layer", "singular_vector"),
                "float",
                "correlation ratio of the signals themselves: the share of their variance between "
                "the classes; NaN past the rank",
                "1",
            ),
        },
    ),
}
