import shutil
from html.parser import HTMLParser

import numpy as np
import pytest

from ddp_tasks.queries import open_run
from ddp_tasks.queries.gallery import Gallery, Picture
from schemas.parameters import RunError


@pytest.fixture(scope="module")
def run(finished):
    return open_run(str(finished.store.parent))


class Seen(HTMLParser):
    """Text and tags of a page, which must be closed in order."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text, self._open = [], "", []
        self.feed(page)
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag != "img":
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_a_notebook_shows_images_accuracy_statements_and_layers(run):
    page = Seen(run._repr_html_())
    assert f"tiny: TinyNetwork, 30 images of 3 classes, {run.accuracy:.1%}" in page.text
    assert run.conclusion in page.text
    for one in run.statements:
        assert one.headline in page.text
        assert one.evidence in page.text
    for layer in run.layer_names:
        assert layer in page.text
    pictures = [attrs for tag, attrs in page.tags if tag == "img"]
    assert pictures
    assert {attrs["alt"] for attrs in pictures} <= set(run.classes)
    assert not {"script", "style", "link"} & {tag for tag, _ in page.tags}
    assert "30 images of 3 classes" in repr(run)
    assert "4 layers: conv1, conv2, fc1, fc2" in repr(run)


def test_tables_have_names_and_the_numbers_of_the_store(run):
    tree = run.tree
    signals = tree["signals"].ds
    images = run.images
    assert images.index.tolist() == signals["image"].to_numpy().tolist()
    assert images["correct"].mean() == run.accuracy
    assert set(images["part"]) == {"selection", "estimation"}
    assert set(images["target_name"]) == set(run.classes) == {"left", "right", "both"}
    layers = run.layers
    assert layers.index.tolist() == list(run.layer_names) == [layer.name for layer in run]
    controls = tree["controls"].ds
    best = controls["percentile"].sel(measure="eta_squared_best").to_numpy()
    np.testing.assert_array_equal(layers["percentile"], best)
    of_layer = run["fc1"].controls()
    assert of_layer.loc["nodes", "value"] == layers.loc["fc1", "nodes"]
    assert len(run.findings) == len(run.statements)
    assert "TinyNetwork" in str(run.parameters.model.factory)


def test_signals_are_grouped_by_name_without_a_lookup(run):
    signals = run["conv2"].signals()
    means = signals.groupby("target_name").mean()
    for name in run.classes:
        own = run["conv2"].signals(name)
        assert set(own["target_name"].to_numpy().tolist()) == {name}
        np.testing.assert_allclose(means.sel(target_name=name), own.mean("image"), rtol=1e-6)
    with pytest.raises(RunError, match="there is no class 'up'"):
        run["conv2"].signals("up")


def test_exemplars_are_those_of_the_store_with_their_pictures(run):
    layer, stored = run["fc1"], run.tree["exemplars"].ds
    for direction in ("positive", "negative"):
        frame = layer.exemplars(1, direction)
        at = {"layer": "fc1", "singular_vector": 1, "direction": direction}
        assert frame.index.tolist() == stored["image"].sel(at).to_numpy().tolist()
        assert frame["signal"].tolist() == stored["signal"].sel(at).to_numpy().tolist()
        named = run.images.loc[frame.index, "target_name"]
        assert frame["target_name"].tolist() == named.tolist()
    gallery = layer.gallery(1, most=2)
    assert len(gallery) == 2
    first = layer.exemplars(1).index[0]
    np.testing.assert_array_equal(gallery[0].pixels, run.picture(first).pixels)
    assert layer.maps(1)["image"].to_numpy().tolist()[0] == first
    with pytest.raises(RunError, match="fc1 has no v7; its vectors are v0 to v6"):
        layer.exemplars(7)
    with pytest.raises(RunError, match="direction 'up' is refused; positive or negative"):
        layer.gallery(1, "up")
    with pytest.raises(RunError, match="keeps no picture of image 'cat'"):
        run.picture("cat")


def test_a_layer_answers_at_any_level_in_one_way(run):
    layer = run["fc1"]
    at = {"quantile": 0.615, "percentage": 55, "direction": "both"}
    found, classes = layer.findings(**at), layer.equivalence_classes(**at)
    assert len(classes) == found.sizes.equivalence_classes
    graph, hierarchy = layer.hypergraph(**at), layer.hierarchy(**at)
    assert len(graph.edges) == found.sizes.hyperedges
    assert hierarchy.sizes["equivalence_class"] == len(classes)
    assert layer.diagram(**at).graph["depth"] == found.depth
    assert layer.table(**at)["significant"].sum() == found.sizes.incidences
    assert layer.vectors["singular_value"].is_monotonic_decreasing
    assert layer.sizes(55).sizes["percentage"] == 1
    assert repr(layer) == "<layer fc1: Linear 7 × 54, 7 singular vectors>"
    with pytest.raises(RunError, match="there is no layer 'fc11'"):
        run["fc11"]


def test_pictures_are_enlarged_or_reduced_and_captions_are_text():
    small = np.full((8, 8, 3), 7, dtype=np.uint8)
    large = np.zeros((2000, 300, 3), dtype=np.uint8)
    for pixels, size in ((small, (72, 72)), (large, (512, 77))):
        png = Picture(pixels)._repr_png_()
        assert png.startswith(b"\x89PNG")
        assert tuple(reversed(np.frombuffer(png, dtype=">u4", count=2, offset=16))) == size
    gallery = Gallery((Picture(small, "a <b> & c"),), "title")
    page = Seen(gallery._repr_html_())
    assert "a <b> & c" in page.text
    assert repr(gallery) == "title: a <b> & c"


def test_a_run_is_compared_with_its_copy(run, finished, tmp_path):
    shutil.copytree(finished.store.parent, tmp_path / "copy")
    compared = run.compared(open_run(tmp_path / "copy"), layer="fc*")
    assert compared.layers["layer_a"].tolist() == ["fc1", "fc2"]
    assert compared.layers["cka"].to_numpy() == pytest.approx(1)
    assert (compared.sets["networks"] == 2).all()
    page = Seen(compared._repr_html_())
    assert "copy on 30 images" in page.text
    for sentence in compared.sentences:
        assert sentence in page.text
        assert sentence in repr(compared)
