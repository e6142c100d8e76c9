"""The significance over groups of classes, from the counts of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from ddp_tasks.significance.significance import significant_images
from schemas.parameters import RunError
from schemas.run_files import nearest


def check_groups(groups: Mapping[str, Sequence[str]], target_classes: Sequence[str]) -> None:
    """Refuse groups that are not disjoint sets of classes.

    Parameters
    ----------
    groups
        names of target classes by name of their group.
    target_classes
        names of all classes.

    Raises
    ------
    RunError
        If there is no group, or one has no class, one that is not there, or one that another has.
    """
    if not groups:
        raise RunError("there is no group of classes; name at least one")
    group_of: dict[str, str] = {}
    for group, members in groups.items():
        if not members or isinstance(members, str):
            raise RunError(f"group {group!r}: {members!r} is refused; a list of classes")
        for member in members:
            if member not in target_classes:
                raise RunError(
                    f"group {group!r}: there is no class {member!r}"
                    f"{nearest(member, target_classes)}; classes: "
                    f"{', '.join(target_classes[:20])}{', ...' if len(target_classes) > 20 else ''}"
                )
            if member in group_of:
                raise RunError(
                    f"group {group!r}: the class {member!r} is in {group_of[member]!r} already; a "
                    "class belongs to one group at most"
                )
            group_of[member] = group


def superclass_dataset(
    significance: xr.Dataset, superclasses: Mapping[str, Sequence[str]]
) -> xr.Dataset:
    """The group ``superclasses``: fractions over groups of classes, from the counts of images.

    Thresholds belong to the layer, so they are those of the group ``significance``. Exact: the
    fraction of a group is over all images of its classes, as if they had one label.

    Parameters
    ----------
    significance
        the store's group ``significance``.
    superclasses
        names of target classes by name of their group.
    """
    names = [str(name) for name in significance["target_class"].to_numpy()]
    member = np.array([[n in group for n in names] for group in superclasses.values()], dtype=bool)
    member = member.reshape(len(superclasses), len(names))
    images = significance["images"].to_numpy()
    group_images = images @ member.T
    grid, layers = ("split", "direction", "quantile"), significance.sizes["layer"]
    shape = [*(significance.sizes[d] for d in grid), len(superclasses), layers]
    fraction = np.full([*shape, significance.sizes["singular_vector"]], np.nan, dtype=np.float32)
    # One level and layer at a time: the whole table may be larger than memory.
    for split, direction, level, layer in np.ndindex(*shape[:3], layers):
        at = {"split": split, "direction": direction, "quantile": level, "layer": layer}
        stored = significance["fraction"].isel(at).to_numpy()
        within_rank = np.isfinite(stored).any(axis=0)
        count = member.astype(np.float64) @ significant_images(
            stored[:, within_rank], images[split]
        )
        with np.errstate(invalid="ignore"):
            of_groups = count / group_images[split][:, None]
        fraction[split, direction, level, :, layer, within_rank] = of_groups.T
    return xr.Dataset(
        {
            "member": (("superclass", "target_class"), member),
            "fraction": ((*grid, "superclass", "layer", "singular_vector"), fraction),
            "images": (("split", "superclass"), group_images),
        },
        coords={
            "superclass": np.array(list(superclasses), dtype=object),
            **{
                name: significance[name]
                for name in (
                    *("target_class", "layer", "singular_vector", "quantile", "direction"),
                    "split",
                )
            },
        },
    )


def over_superclasses(significance: xr.Dataset, superclasses: xr.Dataset) -> xr.Dataset:
    """The significance with groups of classes as its target classes.

    It takes the place of the group ``significance`` in tables, hypergraphs and the family over
    (q, p).

    Parameters
    ----------
    significance, superclasses
        the store's groups of these names.
    """
    tables = superclasses[["fraction", "images"]].drop_vars("target_class", errors="ignore")
    return tables.rename(superclass="target_class").assign(threshold=significance["threshold"])
