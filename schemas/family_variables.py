"""Stored variables of superclasses, of the family over (q, p), and of stability."""

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

_FAMILY = (*GRID, "percentage", "layer")

FAMILY_GROUPS: Mapping[str, Group] = {
    "superclasses": Group(
        "class tables over groups of target classes",
        {
            "layer": LAYER,
            "singular_vector": SINGULAR_VECTOR,
            "target_class": TARGET_CLASS,
            "superclass": Variable(("superclass",), "string", "name of the group of classes"),
            "quantile": QUANTILE,
            "direction": DIRECTION,
            "member": Variable(
                ("superclass", "target_class"), "boolean", "the target classes of each group"
            ),
            "fraction": Variable(
                ("split", *GRID, "superclass", "layer", "singular_vector"),
                "float",
                "share of all images of the group's classes whose signal is greater than q; NaN "
                "past the rank",
                "1",
                "5",
            ),
            "images": Variable(("split", "superclass"), "integer", "images of the group's classes"),
            "split": SPLIT,
        },
    ),
    "family": Group(
        "sizes of the hypergraphs of each layer over all quantile levels and percentages",
        {
            "layer": LAYER,
            "quantile": QUANTILE,
            "percentage": Variable(("percentage",), "float", "p, ascending", "%"),
            "direction": Variable(
                ("direction",), "string", "direction of the nodes: positive, negative or both"
            ),
            "nodes": Variable(
                _FAMILY,
                "integer",
                "singular vectors significant for a class, each direction by itself",
                source="5.1",
            ),
            "hyperedges": Variable(
                _FAMILY, "integer", "classes that a vector is significant for", source="5.1"
            ),
            "incidences": Variable(
                _FAMILY, "integer", "pairs of a class and a vector significant for it", source="5.1"
            ),
            "equivalence_classes": Variable(
                _FAMILY, "integer", "equivalence classes of the nodes", source="Eq. 17"
            ),
            "depth": Variable(
                _FAMILY,
                "integer",
                "equivalence classes in the longest chain of the partial order; 0 where there are "
                "none, -1 where it was not computed",
                source="Eq. 18",
            ),
        },
    ),
    "stability/{layer}": Group(
        "how far one layer's incidences, hierarchy and thresholds depend on which images were "
        "taken: a bootstrap over the images of each class that choose, with q held fixed, and "
        "samples of them",
        {
            "target_class": TARGET_CLASS,
            "singular_vector": SINGULAR_VECTOR,
            "direction": DIRECTION,
            "quantile": QUANTILE,
            "incidence": Variable(
                ("target_class", "singular_vector", "direction"),
                "float",
                "share of resamples in which the vector is significant for the class; NaN for a "
                "class without images",
                "1",
                "5",
            ),
            "together": Variable(
                ("equivalence_class",),
                "float",
                "share of resamples in which all singular vectors of the equivalence class are "
                "significant for the same classes",
                "1",
                "Eq. 17",
            ),
            "general": Variable(
                ("cover",), "integer", "equivalence class that the edge leads from"
            ),
            "specific": Variable(("cover",), "integer", "equivalence class that the edge leads to"),
            "inclusion": Variable(
                ("cover",),
                "float",
                "share of resamples in which the classes of the general's representative are a "
                "proper superset of those of the specific's, which has some",
                "1",
                "Eq. 18",
            ),
            "images_a_class": Variable(
                ("sample",), "integer", "images drawn of each class; all where it has fewer"
            ),
            "threshold_of_sample": Variable(
                (*GRID, "sample"),
                "float",
                "q from the signals of the sample alone",
                "layer output before bias",
                "5",
            ),
            "threshold_difference": Variable(
                (*GRID, "sample"),
                "float",
                "that less q from the signals of all images",
                "layer output before bias",
            ),
        },
    ),
}
