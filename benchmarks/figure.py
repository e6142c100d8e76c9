"""The hypergraph and semantic hierarchy of one layer of a finished run, as a picture.

    python -m benchmarks.figure DIR LAYER FILE.png

DIR is the folder of a finished run. Needs Chromium,
which takes the picture of the same figures as in the report.
"""

from __future__ import annotations

import argparse
import io
import shutil
import tempfile
from pathlib import Path

import holoviews as hv
from bokeh.embed import components
from bokeh.resources import Resources
from PIL import Image
from playwright.sync_api import sync_playwright

from ddp_tasks.figures import hierarchy_figures, hypergraph_figures
from ddp_tasks.figures.optimised_pictures import optimised_pictures
from ddp_tasks.figures.thumbnails import Thumbnails
from ddp_tasks.queries.pictures import open_pictures
from ddp_tasks.queries.visualizations import layer_visualizations
from ddp_tasks.store import groups
from ddp_tasks.weights.layer_vectors import LayerVectors

_PAGE = """<!DOCTYPE html><html><head><meta charset="utf-8"><script>{js}</script>
<style>body {{ margin: 0; font: 15px Helvetica, Arial, sans-serif; color: #1d2329; }}
#all {{ display: inline-flex; gap: 40px; padding: 12px 18px; }} h3 {{ margin: 0 0 14px; }}
</style></head><body><div id="all"><div><h3>Hypergraph</h3>{hypergraph}</div>
<div><h3>Semantic hierarchy</h3>{hierarchy}</div></div>{script}</body></html>"""


def draw(folder: Path, layer: str, file: Path) -> None:
    """Write the picture of one layer.

    Parameters
    ----------
    folder
        of the finished run.
    file
        the PNG to write.
    """
    path = folder / "store.zarr"
    hierarchy = groups.read(path, f"hierarchies/{layer}").load()
    vectors = LayerVectors.of(groups.read(path, "layers").load().sel(layer=layer))
    thumbnails = Thumbnails(open_pictures(folder))
    optimised = optimised_pictures(layer_visualizations(path, layer))
    figures = {
        "hypergraph": hypergraph_figures.hypergraph_figure(hierarchy, vectors),
        "hierarchy": hierarchy_figures.hierarchy_figure(hierarchy, vectors, thumbnails, optimised),
    }
    renderer = hv.renderer("bokeh")
    script, figure = components({k: renderer.get_plot(f).state for k, f in figures.items()})
    js = "\n".join(Resources(mode="inline", components=["bokeh"]).js_raw)
    with tempfile.TemporaryDirectory() as temporary:
        html = Path(temporary, "figure.html")
        html.write_text(_PAGE.format(js=js, script=script, **figure))
        _photograph(html, file)


def _photograph(html: Path, file: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 2400, "height": 2400})
        page.goto(html.as_uri())
        page.wait_for_function(
            "() => window.Bokeh && Bokeh.documents.length && Bokeh.documents.every(d => d.is_idle)"
        )
        picture = Image.open(io.BytesIO(page.locator("#all").screenshot())).convert("RGB")
        # A third of the bytes.
        picture.quantize(256).save(file, optimize=True)
        browser.close()


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("layer", metavar="LAYER")
    parser.add_argument("file", type=Path, metavar="FILE.png")
    options = parser.parse_args(arguments)
    draw(options.folder, options.layer, options.file)


if __name__ == "__main__":
    main()
