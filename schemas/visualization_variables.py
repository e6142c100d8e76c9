"""Stored variables of what singular vectors look like (section 6)."""

from __future__ import annotations

from collections.abc import Mapping

from schemas.declaration import DIRECTION, LAYER, SINGULAR_VECTOR, TARGET_CLASS, Group, Variable

_OF_LAYER = ("direction", "singular_vector")
_OF_VECTORS = ("direction", "layer", "singular_vector")
_OF_TARGET = ("target",)
_SIGNAL = "layer output before bias"

_VISUALIZATIONS = Group(
    "optimised images of one layer, and how far to trust each; a target is a singular vector "
    "or a set of them, in one direction",
    {
        "target": Variable(_OF_TARGET, "string", "name: vectors, direction and method"),
        "singular_vector": SINGULAR_VECTOR,
        "member": Variable(
            ("target", "singular_vector"), "boolean", "the target's singular vectors"
        ),
        "weight": Variable(
            ("target", "singular_vector"),
            "float",
            "w_i of the sum of signals, negative for vectors whose signals are taken off it; 0 "
            "for vectors that are not the target's",
            source="Eq. 20",
        ),
        "direction": Variable(
            _OF_TARGET, "string", "positive: the sum is maximised; negative: minimised"
        ),
        "objective": Variable(
            _OF_TARGET,
            "string",
            "mean over the positions, or density: their soft maximum",
            source="Eqs. 19, 20",
        ),
        "parametrization": Variable(
            _OF_TARGET,
            "string",
            "fourier: coefficients in decorrelated colours; maco: phases alone",
        ),
        "number": Variable(
            _OF_TARGET, "integer", "position among the target's images that differ by intent"
        ),
        "settings": Variable(_OF_TARGET, "string", "how it was optimised"),
        "seed": Variable(_OF_TARGET, "integer", "seed of the image that is kept"),
        "picture": Variable(
            ("target", "y", "x", "channel"), "integer", "the optimised image", "0 to 255"
        ),
        "signal": Variable(
            _OF_TARGET,
            "float",
            "weighted sum of the signals of the stored picture, in the network in float64",
            _SIGNAL,
            "Eq. 20",
        ),
        "natural_mean": Variable(
            _OF_TARGET, "float", "mean of that sum over the images of the run", _SIGNAL
        ),
        "best_natural": Variable(
            _OF_TARGET,
            "float",
            "that sum of the image of the run in which it is greatest, or least if negative",
            _SIGNAL,
        ),
        "best_natural_image": Variable(_OF_TARGET, "string", "that image"),
        "excess": Variable(
            _OF_TARGET,
            "float",
            "(signal - natural mean) / (best natural - natural mean)",
            "1",
        ),
        "excess_unseen": Variable(
            _OF_TARGET,
            "float",
            "mean excess under transforms that the picture was not optimised for",
            "1",
        ),
        "member_excess": Variable(
            ("target", "singular_vector"),
            "float",
            "excess of each singular vector of the target alone; NaN for others",
            "1",
        ),
        "path_similarity": Variable(
            _OF_TARGET,
            "float",
            "mean cosine of the signal vectors of the picture and of the exemplars, over the "
            "layers up to this one",
            "1",
        ),
        "exemplar_similarity": Variable(
            _OF_TARGET, "float", "the same of the exemplars among one another", "1"
        ),
        "noise_similarity": Variable(
            _OF_TARGET, "float", "the same of images of noise and the exemplars", "1"
        ),
        "seeds": Variable(_OF_TARGET, "integer", "seeds that were tried"),
        "seed_deviation": Variable(
            _OF_TARGET,
            "float",
            "standard deviation of the excess over the seeds; NaN for a single one",
            "1",
        ),
        "failed": Variable(
            _OF_TARGET, "string", "why the picture is not to be trusted; empty if it is"
        ),
    },
)

VISUALIZATION_GROUPS: Mapping[str, Group] = {
    "exemplars": Group(
        "strongest images of each singular vector: those with the greatest signals, and in the "
        "negative direction those with the least",
        {
            "layer": LAYER,
            "singular_vector": SINGULAR_VECTOR,
            "direction": DIRECTION,
            "target_class": TARGET_CLASS,
            "image": Variable(
                (*_OF_VECTORS, "place"),
                "string",
                "id of the image with that place; empty past the rank",
                source="6",
            ),
            "signal": Variable(
                (*_OF_VECTORS, "place"), "float", "its signal, as it is in the cube", _SIGNAL, "6"
            ),
            "class_image": Variable(
                (*_OF_VECTORS, "target_class"),
                "integer",
                "position in the run of the strongest image of that class; -1 past the rank, and "
                "of a class no image of which reaches the layer",
                source="6",
            ),
            "class_signal": Variable(
                (*_OF_VECTORS, "target_class"),
                "float",
                "its signal, as it is in the cube",
                _SIGNAL,
                "6",
            ),
        },
    ),
    "pictures": Group(
        "small copies of the images that are shown of a run: exemplars of singular vectors and of "
        "equivalence classes; 64 MiB at most before compression",
        {
            "image": Variable(
                ("image",), "string", "stable id: the file's path below the root, or the index"
            ),
            "picture": Variable(
                ("image", "y", "x", "channel"),
                "integer",
                "red, green and blue as the network takes the image, before standardising; what "
                "is no picture is drawn; grey if it cannot be read; zeros to the right and below",
                "0 to 255",
            ),
            "height": Variable(("image",), "integer", "rows of the picture", "pixels"),
            "width": Variable(("image",), "integer", "columns of the picture", "pixels"),
        },
    ),
    "projections/{layer}": Group(
        "signals of one layer at every position of its strongest images, and the patches of images "
        "with the strongest signals; the attributes say the size of a map before it was reduced, "
        "and how many images were searched for patches",
        {
            "direction": DIRECTION,
            "singular_vector": SINGULAR_VECTOR,
            "image": Variable((*_OF_LAYER, "place"), "string", "id of the image; empty for none"),
            "signal": Variable(
                (*_OF_LAYER, "place"), "float", "its signal, the mean of the map", _SIGNAL, "6"
            ),
            "map": Variable(
                (*_OF_LAYER, "place", "y", "x"),
                "float",
                "signal at each position, s_i v_i . psi; large maps are reduced by areas, which "
                "leaves the mean as it was",
                _SIGNAL,
                "6.1",
            ),
            "strongest_y": Variable(
                (*_OF_LAYER, "place"),
                "integer",
                "row of the strongest position of that direction, in the map before reducing",
            ),
            "strongest_x": Variable((*_OF_LAYER, "place"), "integer", "column of that position"),
            "patch": Variable(
                (*_OF_LAYER, "patch", "patch_y", "patch_x", "channel"),
                "integer",
                "what the strongest position sees of the image, scaled down where it is large; "
                "grey to the right and below; none in layers that see the whole image",
                "0 to 255",
            ),
            "patch_image": Variable(
                (*_OF_LAYER, "patch"), "string", "id of the image; empty for none"
            ),
            "patch_signal": Variable(
                (*_OF_LAYER, "patch"), "float", "signal at that position", _SIGNAL, "6.1"
            ),
            **{
                f"patch_{side}": Variable((*_OF_LAYER, "patch"), "integer", meaning, "pixels")
                for side, meaning in {
                    "top": "first row of the patch in the network's input",
                    "left": "first column",
                    "bottom": "one past its last row",
                    "right": "one past its last column",
                }.items()
            },
        },
    ),
    "visualizations/{layer}": _VISUALIZATIONS,
    # A batch of a layer's images, until they are gathered into the layer's group.
    "visualization_parts/{layer}": _VISUALIZATIONS,
    "visualized": Group(
        "how many of the optimised images that the run asks for were made within its budget",
        {
            "layer": LAYER,
            "asked": Variable(("layer",), "integer", "targets that the run asks for"),
            "made": Variable(("layer",), "integer", "of these, targets with a stored picture"),
        },
    ),
}
