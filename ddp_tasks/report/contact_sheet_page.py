"""All optimised images of a layer on one page: its contact sheet."""

from __future__ import annotations

import json
from pathlib import Path

from ddp_tasks.figures.notation import ARBITRARY_FOOTNOTE
from ddp_tasks.figures.optimised_pictures import optimised_pictures
from ddp_tasks.figures.visualization_figures import by_vectors, contact_sheet
from ddp_tasks.files.whole import write_whole
from ddp_tasks.queries.visualizations import open_visualizations
from ddp_tasks.report import page
from ddp_tasks.store import groups
from ddp_tasks.weights.layer_vectors import LayerVectors
from schemas.names import file_name

#: Images in one figure: ten rows, since browsers draw no canvas of any height.
_IN_FIGURE = 90


def write(folder: Path, layer: str) -> Path:
    """Write the contact sheet of a layer of a finished run, ``visualizations-LAYER.html``.

    Parameters
    ----------
    folder
        that the run was written to.

    Raises
    ------
    RunError
        If there is no such layer, or it has no optimised images yet.
    """
    stored = open_visualizations(folder, layer).load()
    path = folder.expanduser() / "store.zarr"
    vectors = LayerVectors.of(groups.read(path, "layers").sel(layer=layer))
    pictures = by_vectors(optimised_pictures(stored))
    sheets = {
        f"sheet {start}": contact_sheet(vectors, pictures[start : start + _IN_FIGURE])
        for start in range(0, len(pictures), _IN_FIGURE)
    }
    attributes = groups.root_attributes(path)
    content = page.rendered(
        "contact_sheet.html.jinja",
        sheets,
        layer=layer,
        sheets=list(sheets),
        images=len(pictures),
        failed=sum(bool(one.failed) for one in pictures),
        attributes=attributes,
        versions=json.loads(attributes["software_versions"]),
        parameters=json.dumps(json.loads(attributes["run_parameters"]), indent=2),
        run_name=json.loads(attributes["run_parameters"])["name"],
        footnote=ARBITRARY_FOOTNOTE if vectors.arbitrary.any() else "",
    )
    file = path.parent / f"visualizations-{file_name(layer)}.html"
    write_whole(file, content)
    return file.resolve()
