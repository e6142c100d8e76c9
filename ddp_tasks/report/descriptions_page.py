"""What singular vectors mean, laid out as one HTML page that needs nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ddp_tasks.figures.description_figures import described_layers
from ddp_tasks.figures.notation import ARBITRARY_FOOTNOTE
from ddp_tasks.figures.thumbnails import Thumbnails
from ddp_tasks.files.whole import write_whole
from ddp_tasks.queries.descriptions import PERCENTILE, Descriptions
from ddp_tasks.queries.pictures import StoredPictures
from ddp_tasks.report import page
from ddp_tasks.store import groups

#: Vectors of the table, and images of each.
_VECTORS, _IMAGES = 40, 6
#: Greatest and least longer side of a picture, in pixels.
_SIDES = (44, 32)


def write(found: Descriptions, file: Path) -> None:
    """Write the page of a run's descriptions.

    Parameters
    ----------
    file
        the page, in an existing folder.
    """
    write_whole(file.expanduser(), render(found))


def render(found: Descriptions) -> str:
    """The page of a run's descriptions as one text."""
    table, path = found.table, found.run.store
    attributes = groups.root_attributes(path)
    parameters = json.loads(attributes["run_parameters"])
    shown = table.head(_VECTORS)
    return page.rendered(
        "descriptions.html.jinja",
        {"layers": described_layers(table, _percentiles(found), PERCENTILE)},
        found=found,
        run_name=parameters["name"],
        vectors=len(table),
        rows=_rows(found, shown),
        level=f"{100 * found.confidence:g} %",
        footnote=ARBITRARY_FOOTNOTE if shown["vector"].str.endswith("*").any() else "",
        attributes=attributes,
        versions=json.loads(attributes["software_versions"]),
        parameters=json.dumps(parameters, indent=2, ensure_ascii=False),
    )


def _percentiles(found: Descriptions) -> pd.DataFrame:
    """Areas of random directions, as ``described_layers`` draws them."""
    rows = []
    for one in found.layers:
        for control, drawn in (("random", one.described.random), ("varied", one.described.varied)):
            ends = np.quantile(drawn, (0.05, 0.5, 0.95)) if drawn.size else np.full(3, np.nan)
            rows.append((one.layer, control, *ends.tolist()))
    return pd.DataFrame(rows, columns=["layer", "control", "low", "middle", "high"])


def _rows(found: Descriptions, shown: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of the table with each vector's strongest images."""
    path = found.run.store
    exemplars = groups.read(path, "exemplars")["image"]
    thumbnails = Thumbnails(StoredPictures(path), *_SIDES)
    rows = []
    for row in shown.to_dict("records"):
        images = _strongest(exemplars, row)
        drawn = [{"name": image, "thumbnail": thumbnails[image]} for image in images]
        rows.append({**{str(name): value for name, value in row.items()}, "exemplars": drawn})
    return rows


def _strongest(exemplars: xr.DataArray, row: dict[Any, Any]) -> list[str]:
    """Ids of the images with the strongest signals along a vector in its direction."""
    at = {name: row[name] for name in ("layer", "singular_vector", "direction")}
    ids = map(str, exemplars.sel(at).to_numpy()[:_IMAGES])
    return [image for image in ids if image]
