"""Stored variables of the controls: what other bases and permuted labels give in place of a run's.

The measures are numbers of one layer that a report prints, and that any set of vectors of the
layer's output has.
"""

from __future__ import annotations

from collections.abc import Mapping

from schemas.declaration import LAYER, Group, Variable

#: What is measured in each basis, and how a sentence names it.
MEASURES: Mapping[str, str] = {
    "nodes": "significant vectors",
    "incidences": "incidences",
    "hyperedges": "classes with a significant vector",
    "equivalence_classes": "equivalence classes",
    "depth": "depth of the hierarchy",
    "exclusive": "vectors significant for one class alone",
    "parted_groups": "groups of classes that a vector stands for",
    "eta_squared_best": "best η² of a significant vector",
    "eta_squared_mean": "mean η² of significant vectors",
    "eta_squared_signals_best": "best η² of signals",
    "eta_squared_signals_mean": "mean η² of signals",
    "distinguishing": "vectors that tell two classes apart",
}

#: Rivals that a run may ask for beside the bases.
RIVALS: Mapping[str, str] = {
    "nmf": "non-negative matrix factorisation",
    "dictionary": "sparse dictionary",
}

#: A percentile of fewer rotations says little, and is not stored.
LEAST_ROTATIONS = 20

_MEASURED = ("layer", "measure")

CONTROL_GROUPS: Mapping[str, Group] = {
    "controls": Group(
        "the measures of each layer at its own levels: of its singular vectors, of other "
        "orthonormal bases of the same outputs, and of its singular vectors under permuted labels; "
        "the attributes seed, rotations, permutations and pairs say what was drawn",
        {
            "layer": LAYER,
            "measure": Variable(("measure",), "string", "name of the measure"),
            "rival": Variable(
                ("rival",), "string", "nmf or dictionary, where the run asks for it", optional=True
            ),
            "images": Variable(
                ("layer",),
                "integer",
                "images measured, of those that reach the layer: all, or some of each class where "
                "the layer has too many signals",
            ),
            "value": Variable(
                _MEASURED,
                "float",
                "of the singular vectors; depth is -1 where it was not computed",
                source="5.1",
            ),
            "channels": Variable(_MEASURED, "float", "of the layer's output channels"),
            "pca": Variable(
                _MEASURED,
                "float",
                "of the principal components of the layer's outputs on the images that choose",
            ),
            "rotation": Variable(
                (*_MEASURED, "draw"),
                "float",
                "of the left singular vectors, rotated at random by Haar's measure; NaN for a "
                "rank of 1, and for draws that a wide layer was spared",
            ),
            "variance_rotation": Variable(
                (*_MEASURED, "draw"),
                "float",
                "of the left singular vectors, rotated at random so that each signal keeps its "
                "variance on the images that choose; NaN where there is no such rotation",
            ),
            "permutation": Variable(
                (*_MEASURED, "permutation"),
                "float",
                "of the singular vectors, with the labels of the images permuted within the "
                "images that choose, and within those that judge",
            ),
            "percentile": Variable(
                _MEASURED,
                "float",
                "share of the rotations at or below the value, equal ones counted half; NaN "
                "without rotations",
                "%",
            ),
            "percentile_variance": Variable(
                _MEASURED, "float", "the same over the rotations that keep variances", "%"
            ),
            "permutation_p": Variable(
                _MEASURED,
                "float",
                "share of the permutations, this labelling among them, with at least the value; "
                "NaN without permutations",
                "1",
            ),
            "rivals": Variable(
                ("rival", *_MEASURED),
                "float",
                "of the codes of the rival, as many as the layer's rank; NaN where it was left out",
                optional=True,
            ),
        },
    ),
}
