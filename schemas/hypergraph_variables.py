"""Stored variables of hypergraphs and semantic hierarchies (section 5)."""

from __future__ import annotations

from collections.abc import Mapping

from schemas.declaration import DIRECTION as _DIRECTION
from schemas.declaration import SINGULAR_VECTOR as _SINGULAR_VECTOR
from schemas.declaration import TARGET_CLASS as _TARGET_CLASS
from schemas.declaration import Group, Variable

_WALKS = "Aksoy et al. 2020"

HYPERGRAPH_GROUPS: Mapping[str, Group] = {
    "hypergraphs/{layer}": Group(
        "how the target classes of one layer relate by the singular vectors that they share, at "
        "the run's quantile level and percentage",
        {
            "target_class": _TARGET_CLASS,
            "other_class": Variable(
                ("other_class",),
                "string",
                "name of the target class; of more than 1,000, those with most significant vectors",
            ),
            "s": Variable(
                ("s",), "integer", "width of s-walks: 1, 2, 4, ... while two classes share s"
            ),
            "empty": Variable((), "string", "why the hypergraph is empty; empty where it is not"),
            "vectors": Variable(
                ("target_class",),
                "integer",
                "size of the hyperedge: singular vectors significant for the class, each "
                "direction by itself; 0 where there is none",
                "",
                "5.1",
            ),
            "toplex": Variable(
                ("target_class",), "boolean", "whether no greater hyperedge contains this one"
            ),
            "shared": Variable(
                ("target_class", "other_class"),
                "integer",
                "number of singular vectors significant for both",
            ),
            "jaccard": Variable(
                ("target_class", "other_class"),
                "float",
                "vectors significant for both over those for either; NaN where there are none",
                "1",
            ),
            "left_out": Variable(
                ("s",), "string", "why walks of this width are not followed; empty where they are"
            ),
            "component": Variable(
                ("s", "target_class"),
                "integer",
                "number of the s-connected component; -1 for classes of fewer than s vectors",
                source=_WALKS,
            ),
            "distance": Variable(
                ("s", "target_class", "other_class"),
                "integer",
                "steps of the shortest s-walk; -1 where there is none",
                source=_WALKS,
            ),
            "betweenness": Variable(
                ("s", "target_class"),
                "float",
                "s-betweenness: share of the shortest s-walks of two others that pass through; "
                "NaN where there is no hyperedge",
                "1",
                _WALKS,
            ),
            "harmonic": Variable(
                ("s", "target_class"),
                "float",
                "s-harmonic centrality: sum over the other classes of 1 / distance; NaN where "
                "there is no hyperedge",
                source=_WALKS,
            ),
        },
    ),
    "hierarchies/{layer}": Group(
        "semantic hierarchy of one layer at the run's quantile level and percentage",
        {
            "direction": _DIRECTION,
            "target_class": _TARGET_CLASS,
            "singular_vector": _SINGULAR_VECTOR,
            "singular_vectors": Variable(
                ("equivalence_class", "singular_vector", "direction"),
                "boolean",
                "the singular vectors of the equivalence class, each in its direction",
                source="Eq. 17",
            ),
            "target_classes": Variable(
                ("equivalence_class", "target_class"),
                "boolean",
                "the target classes its singular vectors are significant for",
                source="Eq. 17",
            ),
            "covers": Variable(
                ("equivalence_class", "below"),
                "boolean",
                "edges of the diagram: the transitive reduction of the partial order",
                source="Eq. 18",
            ),
            "level": Variable(
                ("equivalence_class",),
                "integer",
                "the longest way down to it from a top of the diagram, 0 at the top; the depth "
                "of the hierarchy is the number of levels",
                source="5.2",
            ),
            "summed_singular_value": Variable(
                ("equivalence_class",),
                "float",
                "sum of s_i over its singular vectors",
                "layer output per unit of receptive field",
            ),
            "greatest_singular_value": Variable(
                ("equivalence_class",),
                "float",
                "s_i of its first singular vector, the representative",
                "layer output per unit of receptive field",
            ),
            "arbitrary": Variable(
                ("equivalence_class",),
                "integer",
                "number of its singular vectors that the arithmetic leaves arbitrary, their "
                "relative_gap being too small",
                source="footnote 8",
            ),
            "exemplar": Variable(
                ("equivalence_class", "target_class"),
                "string",
                "image of that class with the greatest summed signal; empty for other classes",
                source="6",
            ),
            "exemplar_signal": Variable(
                ("equivalence_class", "target_class"),
                "float",
                "its signal, summed over the equivalence class's singular vectors, negative where "
                "their direction is",
                "layer output before bias",
                "Eq. 20 restricted to images",
            ),
            "strongest": Variable(
                ("equivalence_class", "place"),
                "string",
                "images of any class with the greatest summed signals",
                source="6",
            ),
            "strongest_signal": Variable(
                ("equivalence_class", "place"),
                "float",
                "their summed signals",
                "layer output before bias",
                "Eq. 20 restricted to images",
            ),
        },
    ),
}
