"""What a report shows, read from a finished store: of the whole run, and of one layer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ddp_tasks import layer_section, report, store
from ddp_tasks.hypergraph_family import Family
from ddp_tasks.identity import MadeOf
from ddp_tasks.images import open_images
from ddp_tasks.layer_section import LayerFindings
from ddp_tasks.page import FragmentFiles
from ddp_tasks.preparation import ONE_AT_A_TIME, prepared_once
from ddp_tasks.significance import layer_table
from ddp_tasks.summary import LayerSummary, summarise
from schemas.names import group_path
from schemas.parameters import RunParameters
from schemas.recording import recorded


def run_findings(run: RunParameters, path: Path) -> report.Findings:
    """What the page shows beside the sections of layers."""
    attributes = store.root_attributes(path)
    # Tables of all layers and classes may be larger than memory: they are read layer by layer.
    significance = store.read(path, "significance")
    return report.Findings(
        run=recorded(run),
        summary=summarise(
            run, store.read(path, "layers").load(), store.read(path, "signals"), significance
        ),
        attributes=attributes,
        not_analysed=json.loads(attributes["not_analysed"]),
        directions=tuple(significance["direction"].to_numpy().tolist()),
        exemplars=store.read(path, "exemplars"),
        images=open_images(run.images, labelled=False).as_stored(store.read(path, "signals")),
        capacity=store.read(path, "capacity").load() if run.capacity else None,
    )


def draw_section(
    path: str, run: str, files: Mapping[str, FragmentFiles], summary: LayerSummary
) -> None:
    """Draw one layer's section of the report in a Dask worker, and write it to its files.

    Parameters
    ----------
    path
        of the finished store.
    run
        run parameters as JSON; images are opened once per worker.
    files
        of the sections, by layer; each under the name of its anchor.
    """
    own = files[summary.layer]
    # HoloViews and Matplotlib keep options for the whole process.
    with ONE_AT_A_TIME:
        own.write(layer_section.drawn(layer_findings(Path(path), run, summary), own.name))


def layer_findings(path: Path, run: str, summary: LayerSummary) -> LayerFindings:
    """What the section of one layer shows."""
    layer, levels = summary.layer, RunParameters.model_validate_json(run).significance
    significance, judged = store.read(path, "significance"), group_path("stability", layer)
    made_of = MadeOf.of_store(store.root_attributes(path))
    return LayerFindings(
        levels=levels,
        summary=summary,
        of_layer=store.read(path, "layers").sel(layer=layer).load(),
        signals=store.read(path, "signals"),
        table=layer_table(significance, layer, *levels.of_layer(layer)),
        family=store.read(path, "family").sel(layer=[layer]).load(),
        highest_level=Family.of(significance, layer).highest_level(levels.of_layer(layer)[1]),
        stability=store.read(path, judged).load() if store.is_marked(path, judged) else None,
        exemplars=store.read(path, "exemplars").sel(layer=[layer]).load(),
        hypergraph=store.read(path, group_path("hypergraphs", layer)).load(),
        hierarchy=store.read(path, group_path("hierarchies", layer)).load(),
        images=prepared_once(run, made_of).images.as_stored(store.read(path, "signals")),
    )
