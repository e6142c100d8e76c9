"""A group ``controls`` by hand: layers that stand out, that do not, and that cannot be rotated."""

import numpy as np
import xarray as xr

from ddp_tasks.controls.basis_measures import chance_of, percentile
from schemas.control_variables import MEASURES
from schemas.variables import validate

LAYERS = ("special", "poor", "plain", "rank one")


def controls(draws=20, rivals=()):
    """Every measure of a layer is alike: draws are 1 to ``draws``, the value above, below, amid."""
    of_layer = np.array([draws + 1.0, 0.0, draws / 2 + 0.5, 1.0])
    value = np.repeat(of_layer[:, None], len(MEASURES), axis=1)
    value[:, list(MEASURES).index("parted_groups")] = np.nan
    rotation = np.broadcast_to(np.arange(1.0, draws + 1), (*value.shape, draws)).copy()
    rotation[3] = np.nan
    rotation[np.isnan(value)] = np.nan
    varied = rotation.copy()
    varied[0] += draws + 1  # among these the special layer is a poor one
    permutation = np.zeros((*value.shape, 99))
    measured = ("layer", "measure")
    variables = {
        "images": ("layer", np.full(4, 40)),
        "value": (measured, value),
        "channels": (measured, value + 1),
        "pca": (measured, value + 2),
        "rotation": ((*measured, "draw"), rotation),
        "variance_rotation": ((*measured, "draw"), varied),
        "permutation": ((*measured, "permutation"), permutation),
        "percentile": (measured, percentile(value, rotation)),
        "percentile_variance": (measured, percentile(value, varied)),
        "permutation_p": (measured, chance_of(value, permutation)),
    }
    coords = {
        "layer": np.array(LAYERS, dtype=object),
        "measure": np.array(list(MEASURES), dtype=object),
    }
    if rivals:
        of_rivals = np.stack([value + 3 for _ in rivals])
        of_rivals[:, 1] = np.nan
        variables["rivals"] = (("rival", *measured), of_rivals)
        coords["rival"] = np.array(rivals, dtype=object)
    stored = xr.Dataset(variables, coords=coords).assign_attrs(
        seed=0, rotations=draws, permutations=99
    )
    return validate(stored, "controls")
