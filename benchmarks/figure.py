"""The hypergraph and semantic hierarchy of one layer of a finished run, as a picture.

    python -m benchmarks.figure DIR LAYER FILE.png

DIR is the folder of a finished run. Needs Chromium and
chromedriver, which take the picture of the same figures as in the report.
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
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

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
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for option in ("--headless=new", "--no-sandbox", "--window-size=2400,2400"):
        options.add_argument(option)
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        driver.get(html.as_uri())
        driver.set_script_timeout(120)
        driver.execute_async_script(
            "const done = arguments[0]; const wait = () => Bokeh.documents.length &&"
            " Bokeh.documents.every(d => d.is_idle) ? done() : setTimeout(wait, 100); wait();"
        )
        size = driver.execute_script(
            "const r = document.getElementById('all').getBoundingClientRect();"
            " return [Math.ceil(r.width), Math.ceil(r.height)]"
        )
        # The window's own frame takes a part of its size.
        driver.set_window_size(size[0] + 20, size[1] + 160)
        element = driver.find_element("id", "all")
        picture = Image.open(io.BytesIO(element.screenshot_as_png)).convert("RGB")
        # A third of the bytes.
        picture.quantize(256).save(file, optimize=True)
    finally:
        driver.quit()


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
