"""Which results of a run its store already holds, so that no stage computes them again.

Each stage checks its own part. A finished run needs neither workers nor stages.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from uuid import uuid4

from ddp_tasks.report.provenance import made_of, made_of_page
from ddp_tasks.store import groups, marks, shards, spatial_cube, taken_back
from ddp_tasks.workers.family import is_judged
from ddp_tasks.workers.hypergraphs import is_built
from ddp_tasks.workers.replaced_images import replaced_images
from ddp_tasks.workers.stored_run import StoredRun
from schemas.names import file_name, group_path
from schemas.parameters import RunParameters


def of_cube(path: Path) -> dict[str, str]:
    """The mark of a reduction: the cube that it was made from."""
    return {"signals": groups.fingerprint(path, "signals")}


def of_significance(run: RunParameters, path: Path) -> dict[str, str]:
    """The mark of the group ``significance``: the cube, and how its images were split."""
    split = run.significance
    return {
        **of_cube(path),
        "split": "none" if split.split is None else f"{split.split:g}",
        "seed": str(split.seed),
    }


def of_capacity(run: RunParameters) -> dict[str, str]:
    """The mark of the group ``capacity``."""
    return {"matrizations": ", ".join(run.capacity)}


def of_superclasses(run: RunParameters, path: Path) -> dict[str, str]:
    """The mark of the group ``superclasses``."""
    return {"superclasses": json.dumps(run.significance.superclasses), **_of_significance(path)}


def of_family(run: RunParameters, path: Path) -> dict[str, str]:
    """The mark of the group ``family``."""
    percentages = ", ".join(f"{p:g}" for p in run.significance.all_percentages)
    return {"percentages": percentages, **_of_significance(path)}


def of_visualized(run: RunParameters, path: Path) -> dict[str, str]:
    """The mark of the group ``visualized``."""
    levels = run.significance.model_dump_json(
        include={"quantile", "percentage", "layers", "directions", "split", "seed"}
    )
    return {
        "visualizations": run.visualizations.model_dump_json(),
        "levels": levels,
        **of_cube(path),
    }


def of_controls(run: RunParameters, path: Path) -> dict[str, str]:
    """The mark of the group ``controls``."""
    asked = {"quantile", "percentage", "layers", "directions", "confidence", "superclasses", "seed"}
    return {
        "controls": run.controls.model_dump_json(),
        "asked": run.significance.model_dump_json(include=asked),
        **_of_significance(path),
    }


def is_visualized(run: RunParameters, path: Path) -> bool:
    """Whether the optimised images that a run asks for were made, and all stored ones are whole."""
    recorded = groups.is_recorded(path, "visualized", of_visualized(run, path))
    if not recorded or groups.names_below(path, "visualization_parts"):
        return False
    visualized = groups.read(path, "visualized")
    names = {
        file_name(layer)
        for layer, made in zip(
            visualized["layer"].to_numpy().tolist(), visualized["made"].to_numpy(), strict=True
        )
        if made
    }
    names |= set(groups.names_below(path, "visualizations"))
    return not any(groups.damages(path, f"visualizations/{name}") for name in names)


def of_pictures(path: Path) -> dict[str, str]:
    """The mark of the group ``pictures``: the exemplars that it shows."""
    hierarchies = [group_path("hierarchies", layer) for layer in layer_names(path)]
    found = [groups.fingerprint(path, group) for group in ("exemplars", *hierarchies)]
    return {"exemplars": hashlib.sha256(" ".join(found).encode()).hexdigest()[:16]}


def of_projections(run: RunParameters, path: Path) -> dict[str, str]:
    """The mark of a group ``projections/LAYER``: the exemplars, and what was searched."""
    searched = groups.fingerprint(path, "spatial") if run.spatial_statistics else "exemplars"
    return {"exemplars": groups.fingerprint(path, "exemplars"), "searched": searched}


def unprojected_layers(run: RunParameters, path: Path) -> list[str]:
    """Layers whose maps of signals are missing, or were made of other exemplars."""
    mark = of_projections(run, path)
    return [
        name
        for name in layer_names(path)
        if not groups.is_recorded(path, group_path("projections", name), mark)
    ]


def _of_significance(path: Path) -> dict[str, str]:
    return {"significance": groups.fingerprint(path, "significance")}


def layer_names(path: Path) -> list[str]:
    """The layers of a store, in forward order."""
    return [str(name) for name in groups.read(path, "layers")["layer"].to_numpy()]


def unbuilt_layers(run: RunParameters, path: Path, folder: Path) -> list[str]:
    """Layers whose hypergraph or hierarchy is missing, or was built at other levels.

    Parameters
    ----------
    folder
        folder of the HIF files.
    """
    levels = run.significance
    return [name for name in layer_names(path) if not is_built(path, folder, levels, name)]


def unjudged_layers(run: RunParameters, path: Path) -> list[str]:
    """Layers whose stability is missing, or was measured with other parameters."""
    levels = run.significance
    if not levels.resamples and not levels.sample_sizes:
        return []
    return [name for name in layer_names(path) if not is_judged(path, levels, name)]


def is_laid_out(run: RunParameters, path: Path, page: Path) -> bool:
    """Whether a page is the report of this store in its present state."""
    return made_of_page(page) == made_of(run, path)


def is_finished(run: RunParameters, path: Path, page: Path, folder: Path) -> bool:
    """Whether all results of a run exist, with every file as it was written.

    Reads the whole cube, and compares all images with their records.

    Parameters
    ----------
    path
        path of a store of this run; see ``wholeness.check_continuable``.
    page
        the report.
    folder
        folder of the HIF files.
    """
    try:
        return (
            groups.is_sealed(path)
            and _is_cube_whole(run, path)
            and all(groups.is_recorded(path, *part) for part in _parts(run, path))
            and not unbuilt_layers(run, path, folder)
            and not unjudged_layers(run, path)
            and (run.visualizations.targets == "none" or is_visualized(run, path))
            and groups.is_recorded(path, "pictures", of_pictures(path))
            and not unprojected_layers(run, path)
            and is_laid_out(run, path, page)
        )
    except marks.DamagedStoreError:
        return False


def _is_cube_whole(run: RunParameters, path: Path) -> bool:
    cubes = ["signals", *([spatial_cube.GROUP] if run.spatial_statistics else [])]
    if any(shards.missing_shards(path, group) for group in cubes):
        return False
    # An image that could not be read may be readable now.
    if taken_back.unreadable_images(path):
        return False
    stored, comparison = StoredRun.of(path, run), uuid4().hex
    return not any(
        shards.damaged_signals(path, shard) or replaced_images(stored, comparison, shard)
        for shard in shards.shards(path)
    )


def _parts(run: RunParameters, path: Path) -> list[tuple[str, dict[str, str]]]:
    """Groups that hold all layers, and the mark of each."""
    parts = [("significance", of_significance(run, path)), ("exemplars", of_cube(path))]
    parts.append(("family", of_family(run, path)))
    parts.append(("controls", of_controls(run, path)))
    if run.significance.superclasses:
        parts.append(("superclasses", of_superclasses(run, path)))
    if run.capacity:
        parts.append(("capacity", of_capacity(run)))
    if not run.extraction.plain:
        parts.append(("extraction", {}))
    return parts
