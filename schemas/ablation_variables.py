"""Stored variables of the causal check: what changes when singular vectors are removed."""

from __future__ import annotations

from collections.abc import Mapping

from schemas.declaration import LAYER, QUANTILE, SINGULAR_VECTOR, TARGET_CLASS, Group, Variable

#: What stands in place of a set's singular vectors, and how a sentence names it.
CONTROLS: Mapping[str, str] = {
    "matched": "other singular vectors of like singular values",
    "channels": "single channels",
    "rotation": "columns of a random rotation",
    "random": "random directions of equal energy",
}

#: What a removal changes, and how a sentence names it.
CHANGES: Mapping[str, str] = {
    "accuracy": "share of images named correctly",
    "probability": "mean softmax probability of an image's own class",
}

_CHANGE = Variable(("change",), "string", "accuracy or probability")
_PERCENTAGE = Variable(("percentage",), "float", "p, ascending", "%")
_CONTROL = Variable(("control",), "string", "matched, channels, rotation or random")
_REMOVAL = ("removal",)
_BY_REMOVAL = ("change", "removal")
_BY_VECTOR = ("change", "singular_vector", "target_class")


def _grid(*first: str) -> tuple[str, ...]:
    return (*first, "quantile", "percentage")


def _compared(prefix: str, where: str, *first: str) -> dict[str, Variable]:
    """How singular vectors compare with their controls, over pairs of a layer and a class."""
    by_control = (*_grid(*first), "control", "change")
    return {
        f"{prefix}selectivity": Variable(
            (*_grid(*first), "change"),
            "float",
            f"mean selectivity of the removal of a class's singular vectors, {where}",
            "1",
        ),
        f"{prefix}control_selectivity": Variable(
            by_control, "float", "mean selectivity of their controls", "1"
        ),
        f"{prefix}pairs": Variable(by_control, "integer", f"pairs that have both, {where}"),
        f"{prefix}difference": Variable(
            by_control,
            "float",
            "mean over pairs of the selectivity of singular vectors less that of their controls",
            "1",
        ),
        f"{prefix}difference_low": Variable(
            by_control, "float", "lower end of its interval, which takes classes as units", "1"
        ),
        f"{prefix}difference_high": Variable(by_control, "float", "upper end", "1"),
        f"{prefix}win_rate": Variable(
            by_control,
            "float",
            "share of pairs in which singular vectors are more selective; equal ones count half",
            "1",
        ),
        f"{prefix}p": Variable(
            by_control,
            "float",
            "share of flips of the classes' signs with a difference as far from 0",
            "1",
        ),
        f"{prefix}p_corrected": Variable(
            by_control,
            "float",
            "least rate of false discoveries at which the difference counts as one, over all "
            "places, controls and changes of this variable",
            "1",
        ),
    }


ABLATION_GROUPS: Mapping[str, Group] = {
    "ablation/{layer}": Group(
        "removals from the outputs of one layer, judged on images that chose nothing: of the "
        "vectors significant for a class at each place of a grid, of their controls, and of every "
        "single vector; the attributes way and absent say how, and which controls do not exist",
        {
            "quantile": QUANTILE,
            "percentage": _PERCENTAGE,
            "target_class": TARGET_CLASS,
            "singular_vector": SINGULAR_VECTOR,
            "change": _CHANGE,
            "number": Variable(
                (*_grid(), "target_class"),
                "integer",
                "position along removal of the singular vectors significant for the class, in any "
                "direction of the run; -1 where none is",
            ),
            "kind": Variable(_REMOVAL, "string", "singular, or the kind of a control"),
            "draw": Variable(_REMOVAL, "integer", "number among the controls of the kind"),
            "control_of": Variable(
                _REMOVAL,
                "integer",
                "position of the singular vectors that it is a control of; its own of these",
            ),
            "own_class": Variable(_REMOVAL, "integer", "index of the target class judged"),
            "directions": Variable(_REMOVAL, "integer", "dimension of what is removed"),
            "energy": Variable(
                _REMOVAL,
                "float",
                "sum over the images that choose of the squared signals along what is removed",
                "(layer output before bias)²",
            ),
            "member": Variable(
                ("removal", "singular_vector"),
                "boolean",
                "the singular vectors removed; none of channels, rotations and random directions",
            ),
            "own_drop": Variable(_BY_REMOVAL, "float", "drop in the class's own images", "1"),
            "other_drop": Variable(
                _BY_REMOVAL,
                "float",
                "mean over the other classes of the drops in theirs",
                "1",
            ),
            "selectivity": Variable(_BY_REMOVAL, "float", "own_drop less other_drop", "1"),
            "selectivity_low": Variable(
                _BY_REMOVAL, "float", "lower end of its interval by itself", "1"
            ),
            "selectivity_high": Variable(_BY_REMOVAL, "float", "upper end", "1"),
            "images": Variable(("target_class",), "integer", "images of the class judged"),
            "before": Variable(
                ("change", "target_class"),
                "float",
                "accuracy or probability with nothing removed",
                "1",
            ),
            "vector_drop": Variable(
                _BY_VECTOR,
                "float",
                "drop in each class where one singular vector is removed; NaN where single "
                "vectors were not asked for",
                "1",
            ),
            "vector_drop_error": Variable(_BY_VECTOR, "float", "its standard error", "1"),
        },
    ),
    "ablated": Group(
        "whether the removal of singular vectors is more selective than that of other directions, "
        "at every place of the grid; the attributes say what was asked for",
        {
            "layer": LAYER,
            "quantile": QUANTILE,
            "percentage": _PERCENTAGE,
            "control": _CONTROL,
            "change": _CHANGE,
            **_compared("", "over layers and classes"),
            **_compared("layer_", "over the classes of a layer", "layer"),
        },
    ),
}
