"""The capacity metric over a list of models, as its store holds it."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from ddp_tasks.store import groups


def models_table(path: Path) -> xr.Dataset:
    """The store's group ``zoo``, loaded: one row for each model, NaN where it failed.

    Parameters
    ----------
    path
        of the list's store.
    """
    return groups.read(path, "zoo").load()
