"""Figures of a finished run as SVG and PNG files."""

import io
import shutil
import xml.etree.ElementTree as ET

import pytest
from PIL import Image

from ddp_tasks.queries.finished_run import open_finished
from ddp_tasks.queries.summary import read_summary
from ddp_tasks.workers import figure_files
from schemas.figure_names import OF_LAYER, OF_RUN

SVG = "{http://www.w3.org/2000/svg}"


def written(finished, kind, file, **options):
    assert figure_files.write(finished.store.parent, kind, out=file, **options) == file
    return file.read_bytes()


def test_every_figure_of_the_report_has_a_name_that_is_offered(finished):
    opened = open_finished(finished.store.parent)
    summary = read_summary(opened.run, opened.store)
    drawn = {
        kind for one in summary.layers for kind in figure_files.of_layer(opened, summary, one.layer)
    }
    assert drawn <= set(OF_LAYER)
    assert {"hypergraph", "hierarchy", "significance", "spectrum", "intervals"} <= drawn
    assert set(figure_files.of_run(opened)) <= set(OF_RUN)


def test_a_hierarchy_is_lines_and_texts_and_needs_no_browser(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    drawn = ET.fromstring(written(finished, "hierarchy", tmp_path / "h.svg", layer="fc1"))
    assert drawn.tag == f"{SVG}svg"
    texts = [element.text for element in drawn.iter(f"{SVG}text")]
    assert any(text and text.startswith("[") for text in texts)
    assert list(drawn.iter(f"{SVG}rect")) or list(drawn.iter(f"{SVG}path"))


def test_other_figures_are_drawn_without_a_network(finished, tmp_path, browser):
    folder = tmp_path / "a é #%20"
    folder.mkdir()
    drawn = ET.fromstring(written(finished, "spectrum", folder / "s.svg", layer="conv2"))
    assert len(list(drawn.iter(f"{SVG}path"))) > 6
    size = [float(drawn.attrib[side]) for side in ("width", "height")]
    picture = Image.open(io.BytesIO(written(finished, "spectrum", folder / "s.png", layer="conv2")))
    assert all(abs(pixels - 2 * side) <= 2 for pixels, side in zip(picture.size, size, strict=True))
    assert len(picture.convert("RGB").getcolors(10**6)) > 4
    sizes = ET.fromstring(written(finished, "family-nodes", folder / "f.svg", layer="conv2"))
    assert "nodes" in {element.text for element in sizes.iter(f"{SVG}text")}
    assert any("quantile" in (element.text or "") for element in sizes.iter(f"{SVG}text"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["hypergaph"], "did you mean 'hypergraph'"),
        (["spectrum", "--layer", "conv9"], "did you mean 'conv"),
        (["spectrum", "--out", "no/such.svg"], "name a file that ends with .svg or .png"),
        (["spectrum", "--out", "page.html"], "name a file that ends with .svg or .png"),
        (["controls", "--layer", "conv1"], "controls is of the whole run"),
        (["spectrum", "--vector", "1"], "takes neither --vector nor --images"),
        (["unfolded", "--layer", "fc1"], "unfolded is not there: layer fc1 has spectrum"),
    ],
)
def test_what_is_no_figure_is_refused(ddp, finished, arguments, said):
    kind, *options = arguments
    before = set(finished.store.parent.iterdir())
    status, told = ddp("figure", kind, finished.store.parent, *options)
    assert (status, said in told.err) == (2, True), told.err
    assert set(finished.store.parent.iterdir()) == before
