"""The group ``ablated`` by hand: of a layer where vectors matter, and one where they do not."""

import numpy as np
import xarray as xr

from schemas.ablation_parameters import AblationParameters
from schemas.ablation_variables import CHANGES, CONTROLS
from schemas.variables import validate

LAYERS = ("matters", "does not")
_ALL = ("quantile", "percentage", "control", "change")


def ablated():
    """Over two places of a grid; there are no matched singular values."""
    shape = (2, 1, len(CONTROLS), len(CHANGES))
    difference = np.full(shape, 0.2)
    difference[1, :, 2] = -0.1
    difference[:, :, 0] = np.nan
    p = np.where(np.isfinite(difference), 0.3, np.nan)
    p[0, :, 1:] = 0.01
    by_layer = np.stack([difference, -difference])
    values = {
        "selectivity": np.full(shape[:2] + shape[3:], 0.25),
        "control_selectivity": 0.25 - difference,
        "pairs": np.where(np.isfinite(difference), 12, 0),
        "difference": difference,
        "difference_low": difference - 0.1,
        "difference_high": difference + 0.1,
        "win_rate": np.where(np.isfinite(difference), 0.75, np.nan),
        "p": p / 2,
        "p_corrected": p,
    }
    own = {"selectivity": _ALL[:2] + _ALL[3:]}
    variables = {name: (own.get(name, _ALL), v) for name, v in values.items()}
    for name, v in values.items():
        of_layers = by_layer if name == "difference" else np.stack([v, v])
        variables[f"layer_{name}"] = (("layer", *own.get(name, _ALL)), of_layers)
    stored = xr.Dataset(
        variables,
        coords={
            "layer": np.array(LAYERS, dtype=object),
            "quantile": [0.8, 0.9],
            "percentage": [60.0],
            "control": np.array(list(CONTROLS), dtype=object),
            "change": np.array(list(CHANGES), dtype=object),
        },
        attrs={"asked": AblationParameters().model_dump_json(), "confidence": 0.95},
    )
    return validate(stored, "ablated")
