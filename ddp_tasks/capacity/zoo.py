"""The capacity metric of a list of models as one table."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from ddp_tasks.capacity.layer_spectra import ALPHA_HAT, FLAGS
from schemas.recording import without_places
from schemas.zoo import ZooParameters


def zoo_dataset(
    zoo: ZooParameters, models: Mapping[str, xr.Dataset], errors: Mapping[str, str]
) -> xr.Dataset:
    """The group ``zoo``: one row for each model, NaN where it failed.

    Parameters
    ----------
    models
        group ``capacity/MODEL`` of each model that did not fail.
    errors
        why the others failed, by name.
    """

    def by_model(variable: str, failed: float) -> tuple[tuple[str, str], np.ndarray]:
        none = np.full(len(zoo.matrizations), failed)
        columns = [
            models[m.name][variable].to_numpy() if m.name in models else none for m in zoo.models
        ]
        return ("matrization", "model"), np.stack(columns, axis=1)

    def text(values: list[str]) -> tuple[str, np.ndarray]:
        return "model", np.array(values, dtype=object)

    layers = [models[m.name].sizes["layer"] if m.name in models else 0 for m in zoo.models]
    return xr.Dataset(
        {
            "family": text([m.family for m in zoo.models]),
            "accuracy": ("model", np.array([m.accuracy for m in zoo.models])),
            "layers": ("model", np.array(layers)),
            **{name: by_model(name, np.nan) for name in ALPHA_HAT},
            **{name: by_model(name, 0) for name in FLAGS},
            "error": text([without_places(errors.get(m.name, "")) for m in zoo.models]),
        },
        coords={
            "model": np.array([m.name for m in zoo.models], dtype=object),
            "matrization": np.array(list(zoo.matrizations), dtype=object),
        },
    )
