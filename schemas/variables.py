"""Every stored variable, declared once: dimensions, kind, units, meaning and source.

Section and equation numbers are those of Praggastis et al. 2022.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from schemas.ablation_variables import ABLATION_GROUPS
from schemas.capacity_variables import CAPACITY_GROUPS
from schemas.control_variables import CONTROL_GROUPS
from schemas.declaration import COMPLETE, Group, Kind, Variable
from schemas.declaration import LAYER as _LAYER
from schemas.declaration import SINGULAR_VECTOR as _SINGULAR_VECTOR
from schemas.declaration import TARGET_CLASS as _TARGET_CLASS
from schemas.family_variables import FAMILY_GROUPS
from schemas.hypergraph_variables import HYPERGRAPH_GROUPS
from schemas.significance_variables import SIGNIFICANCE_GROUPS
from schemas.visualization_variables import VISUALIZATION_GROUPS

#: Goes up with every change of a stored variable.
FORMAT_VERSION = 6

SIGN_CONVENTION = (
    "the entry of largest magnitude of each left singular vector u_i is positive; "
    "v_i is flipped with it"
)

DIMENSIONS = {
    "image": "images of the run, in the order of the image set",
    "layer": "linear layers in forward order",
    "singular_vector": "0-based index i of (u_i, s_i, v_i), singular values descending",
    "target_class": "target classes C^j, in the order of their labels",
    "shard": "blocks of images, each written by one task",
    "chunk": "pieces that the singular vectors of the cube are stored in",
    "channel": "rows of the unfolded weight, one a filter; of a picture, its colours",
    "receptive_field": "columns of the unfolded weight: one flattened receptive field",
    "direction": "positive: great signals count; negative: low signals do, as their negatives",
    "split": "selection: the images that choose thresholds and vectors; estimation: those that "
    "judge them; all, where the whole set does both",
    "quantile": "quantile level that chooses the threshold q",
    "percentage": "p, the least share of a class for which a vector must be significant",
    "superclass": "groups of target classes, in the order of the run file",
    "sample": "samples of the images, the same number of each class",
    "cover": "edges of the diagram of a semantic hierarchy",
    "place": "0 for the strongest image of the direction",
    "equivalence_class": "equivalence classes of singular vectors (Eq. 17), most general first",
    "matrization": "how a weight is read as a matrix (Fig. 4)",
    "bin": "bins of a spectral distribution",
    "edge_index": "one more than there are bins",
    "boundary": "zeros: images continued with zeros; valid: filters that lie inside the image",
    "model": "models of a list, in its order",
    "other_class": "target_class once more, as the other of a pair",
    "s": "number of singular vectors that two classes must share for a step of a walk",
    "target": "singular vectors, or sets of them, with an optimised image",
    "patch": "0 for the patch with the strongest signal of the direction",
    "patch_y": "rows of a patch, from the top",
    "patch_x": "columns of a patch, from the left",
    "y": "rows of a picture or a map, from the top",
    "x": "columns of a picture or a map, from the left",
    "measure": "numbers of one layer that a report prints",
    "draw": "rotations of the left singular vectors, drawn at random",
    "permutation": "labels of the images, permuted at random",
    "removal": "sets of directions that are taken out of a layer's outputs",
    "change": "what a removal changes: accuracy, or the probability of an image's own class",
    "control": "directions removed in place of singular vectors",
    "rival": "parts fitted to a layer's outputs, in place of singular vectors",
    "below": "equivalence_class once more, as the lower end of an edge",
}

_NUMPY_KINDS: Mapping[Kind, str] = {
    "float": "f",
    "integer": "iu",
    "boolean": "b",
    # T: variable-length strings as zarr format 3 reads them; O and U: as they come from Python.
    "string": "TOU",
}


class SchemaError(ValueError):
    """A dataset that does not match the declaration of its group."""


_IMAGE = Variable(("image",), "string", "stable id: the file's path below the root, or the index")

_CUBE = ("image", "layer", "singular_vector")


GROUPS: Mapping[str, Group] = {
    "layers": Group(
        "the linear layers analysed",
        {
            "layer": _LAYER,
            "singular_vector": _SINGULAR_VECTOR,
            "kind": Variable(
                ("layer",),
                "string",
                "Linear (a projection of attention too), or Conv1d to ConvTranspose3d",
            ),
            "shape": Variable(
                ("layer",),
                "string",
                "shape of the weight, output channels first: d x c / groups x k ..., or d x c",
            ),
            "rank": Variable(
                ("layer",), "integer", "r, the number of nonzero singular values", source="4.2"
            ),
            "singular_value": Variable(
                ("layer", "singular_vector"),
                "float",
                "s_i of the unfolded weight; NaN past the rank",
                "layer output per unit of receptive field",
                "Eq. 15",
            ),
            "relative_gap": Variable(
                ("layer", "singular_vector"),
                "float",
                "distance from s_i to the nearest other singular value, over s_0: "
                "near 0 the singular vector is arbitrary",
                source="footnote 8",
            ),
            "block": Variable(
                ("layer", "singular_vector"),
                "integer",
                "group of a grouped convolution that the singular vector belongs to; -1 past "
                "the rank",
            ),
        },
    ),
    "decomposition/{layer}": Group(
        "singular value decomposition of one unfolded weight; the attribute batch_norm names the "
        "BatchNorm that was folded into the weight first",
        {
            "U": Variable(("channel", "singular_vector"), "float", "left singular vectors, Eq. 15"),
            "S": Variable(("singular_vector",), "float", "singular values, descending, Eq. 15"),
            "V": Variable(
                ("receptive_field", "singular_vector"),
                "float",
                "right singular vectors, Eq. 15",
                optional=True,
            ),
        },
    ),
    "signals": Group(
        "the cube",
        {
            "image": _IMAGE,
            "layer": _LAYER,
            "singular_vector": _SINGULAR_VECTOR,
            "target_class": _TARGET_CLASS,
            "signal": Variable(
                ("image", "layer", "singular_vector"),
                "float",
                "sigma_L(X)_i, the mean over positions of s_i v_i . psi(X_L); NaN past the rank, "
                "of an image that could not be read, and of a layer that the image does not reach",
                "layer output before bias",
                "4.3",
            ),
            "target": Variable(("image",), "integer", "index of the image's target class"),
            "target_name": Variable(
                ("image",),
                "string",
                "name of the image's target class: the coordinate to group images by",
            ),
            "predicted": Variable(
                ("image",),
                "integer",
                "index of the class the network chose, or of its group; -1 of a class in no group, "
                "and of an image that could not be read",
            ),
            "predicted_name": Variable(
                ("image",),
                "string",
                "name of the class the network chose, or of its group; output N where the images "
                "have no such class; empty of a class in no group, and of an image that could not "
                "be read",
            ),
            "confidence": Variable(
                ("image",),
                "float",
                "softmax probability of the class the network chose; NaN of an unreadable image",
                "1",
            ),
            "error": Variable(
                ("image",),
                "string",
                "why the image could not be read, its signals are NaN then and it counts nowhere; "
                "empty where it was read",
            ),
            "dataset_index": Variable(("image",), "integer", "index of the image in its dataset"),
            "content_size": Variable(
                ("image",),
                "integer",
                "size of the picture file that was read, or of the image's array where there is "
                "no file; -1 of an image that could not be read",
                "bytes",
            ),
            "content_digest": Variable(
                ("image",),
                "integer",
                "first 64 bits of the SHA-256 of these bytes; 0 of an image that could not be read",
            ),
            "checksum": Variable(
                ("shard", "layer", "chunk"),
                "integer",
                "CRC-32C of each chunk of the shard's signals; 0 where none is stored",
            ),
            "complete": COMPLETE,
        },
    ),
    "spatial": Group(
        "what the mean over positions leaves out, of every image along every singular vector; "
        "thresholds are those of the run's own quantile level of each layer",
        {
            "image": _IMAGE,
            "layer": _LAYER,
            "singular_vector": _SINGULAR_VECTOR,
            "maximum": Variable(
                _CUBE,
                "float",
                "greatest signal of all positions; NaN past the rank",
                "layer output before bias",
                "4.3",
            ),
            "minimum": Variable(
                _CUBE,
                "float",
                "least signal of all positions; NaN past the rank",
                "layer output before bias",
                "4.3",
            ),
            "share_above": Variable(
                _CUBE, "float", "share of positions whose signal is greater than q", "1", "4.3"
            ),
            "share_below": Variable(
                _CUBE,
                "float",
                "share of positions whose negative signal is greater than the q of negatives",
                "1",
                "4.3",
            ),
            "complete": COMPLETE,
        },
    ),
    "extraction": Group(
        "what a pass that is not the network's own in float32 does to the signals, on a sample; "
        "the attributes images and predictions_changed count the sample and its changed classes",
        {
            "layer": _LAYER,
            "relative_error": Variable(
                ("layer",),
                "float",
                "root mean square of the signals' error over that of the signals",
                "1",
            ),
            "largest_error": Variable(
                ("layer",),
                "float",
                "greatest absolute error of a signal",
                "layer output before bias",
            ),
            "folded": Variable(
                ("layer",),
                "string",
                "BatchNorm that was folded into the layer for the pass; empty where none was",
            ),
        },
    ),
    **SIGNIFICANCE_GROUPS,
    **FAMILY_GROUPS,
    **VISUALIZATION_GROUPS,
    **HYPERGRAPH_GROUPS,
    **CAPACITY_GROUPS,
    **CONTROL_GROUPS,
    **ABLATION_GROUPS,
}

#: Attributes of the root group of a run's store, all of them text.
ROOT_ATTRIBUTES = {
    "format_version": "version of this declaration",
    "title": "name of the run",
    "run_parameters": "JSON of everything the run was asked to do, without absolute paths and "
    "secrets",
    "identity": "JSON of the parameters that a run continuing this store must share",
    "code": "JSON: SHA-256 of a person's own files behind model.factory and images.factory",
    "model_digest": "SHA-256 of the weights",
    "weights": "which tensors of the checkpoint's file they are, and the prefix taken off their "
    "names; empty where no file gave them",
    "images_digest": "SHA-256 of image ids, targets and transform, and of the content of sampled "
    "images; a dash for one that could not be read",
    "not_analysed": "JSON: modules with weights that are no analysed linear layer, and why",
    "sign_convention": "how the sign of each pair (u_i, v_i) is fixed",
    "software_versions": "JSON of the packages that made the store",
    "created": "when, in ISO 8601 with time zone",
}

#: Attributes of the root group of a store over a list of models, all of them text.
ZOO_ATTRIBUTES = {
    "format_version": ROOT_ATTRIBUTES["format_version"],
    "title": "name of the list",
    "zoo_parameters": "JSON of everything that was asked for, without absolute paths and secrets",
    "software_versions": ROOT_ATTRIBUTES["software_versions"],
    "created": ROOT_ATTRIBUTES["created"],
}


def declared(group: str) -> Group:
    """The declaration of a group, such as ``signals`` or ``decomposition/conv1``.

    Raises
    ------
    SchemaError
        If no such group is declared.
    """
    parent, slash, name = group.partition("/")
    below = [pattern for pattern in GROUPS if pattern.startswith(f"{parent}/{{")]
    pattern = below[0] if slash and name and below else group
    if pattern not in GROUPS:
        raise SchemaError(f"group {group!r} is not declared; declared: {', '.join(GROUPS)}")
    return GROUPS[pattern]


def validate(dataset: xr.Dataset, group: str) -> xr.Dataset:
    """Check a dataset against the declaration of its group and return it.

    Raises
    ------
    SchemaError
        If they differ; the message names group and variable, what it has and what is declared.
    """
    variables = declared(group).variables
    stored = {str(name): variable for name, variable in dataset.variables.items()}
    if unknown := sorted(set(stored) - set(variables)):
        raise SchemaError(f"{group}: {', '.join(unknown)} not declared")
    for name, variable in variables.items():
        if name not in stored:
            if variable.optional:
                continue
            raise SchemaError(f"{group}: {name} is missing")
        dims = tuple(str(d) for d in stored[name].dims)
        if dims != variable.dims:
            raise SchemaError(f"{group}: {name} has dims {dims}, declared {variable.dims}")
        kind = np.dtype(stored[name].dtype).kind
        if kind not in _NUMPY_KINDS[variable.kind]:
            raise SchemaError(
                f"{group}: {name} has dtype {stored[name].dtype}, declared {variable.kind}"
            )
    return dataset


def describe(dataset: xr.Dataset, group: str) -> xr.Dataset:
    """A copy to be stored: declared meaning, units and source as attributes, text as text."""
    described = dataset.copy()
    for name, variable in declared(group).variables.items():
        if name in described.variables:
            if variable.kind == "string" and name not in described.coords:
                # An empty array of Python objects does not show its kind; and zarr 3.1 writes text
                # in the order of memory and ignores strides.
                text = described[name].to_numpy().astype(np.dtypes.StringDType())
                described[name] = (described[name].dims, text.copy(order="C"))
            described[name].attrs.update(attributes(variable))
    return described.assign_attrs(meaning=declared(group).meaning)


def attributes(variable: Variable) -> dict[str, str]:
    """The attributes that a stored variable carries."""
    stored = {"long_name": variable.meaning, "units": variable.units, "source": variable.source}
    return {key: value for key, value in stored.items() if value}
