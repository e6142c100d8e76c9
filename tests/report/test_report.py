import json
import re

import numpy as np
import pytest
from findings import findings, nested, nothing, with_own_classes
from markupsafe import Markup, escape
from pages import assert_nothing_is_loaded_from_elsewhere, data_of, without_data

from ddp_tasks.figures.thumbnails import Thumbnails
from ddp_tasks.report import fragments, layer_section, run_page
from ddp_tasks.report import page as report_page
from ddp_tasks.report.fragments import Fragment, FragmentFiles
from ddp_tasks.report.provenance import made_of_page
from ddp_tasks.significance.confidence_intervals import shares_intervals
from ddp_tasks.significance.tables import table_intervals


@pytest.fixture(scope="module")
def found():
    return findings(np.concatenate([nested(), nothing(), nested()]))


@pytest.fixture(scope="module")
def page(found):
    return found.page()


def test_nothing_is_loaded_from_elsewhere(page):
    assert_nothing_is_loaded_from_elsewhere(page)


def test_the_page_says_what_was_found(page, found):
    own = re.sub(r"\s+", " ", without_data(page))
    for layer in found.summary.layers:
        assert f">{layer.layer}</h1>" in own
    assert "This page shows the positive direction of the signals alone" in own
    assert "BatchNorm2d is &lt;no&gt; linear layer" in own
    assert "arbitrary" in own
    # The first two singular values are equal.
    arbitrary = [v["v"] for v in data_of(page)["layer-0"]["vectors"] if v["a"]]
    assert sorted(arbitrary) == [0, 1]
    for statement in found.told().statements:
        assert str(escape(statement.headline)) in own
        assert str(escape(statement.evidence)) in own
        assert f'href="#{statement.address}"' in own
    for term in ("Signal", "Threshold q", "Significant", "equivalence class", "η²"):
        assert term in own


def test_the_page_tells_how_classes_relate(page):
    own = re.sub(r"\s+", " ", without_data(page))
    assert own.count("How the classes relate") == 2
    assert "harmonic, s = 4" in own


def test_an_empty_hypergraph_is_told_in_a_sentence(page, found):
    (empty,) = [layer for layer in found.summary.layers if not layer.nodes]
    sentence = str(found.hypergraphs[empty.layer]["empty"].item())
    assert sentence.startswith("No singular vector exceeds q = ")
    assert "in at least 75 % of any class. The greatest share is " in sentence
    assert str(escape(sentence)) in without_data(page)
    figures = layer_section.layer_figures(found.of_layer(empty.layer), Thumbnails(found.pictures))
    maps = {f"family {quantity}" for quantity in ("nodes", "equivalence_classes", "depth")}
    assert set(figures) == {"spectrum", "distribution", *maps}


def test_a_page_put_together_from_files_has_all_their_sections(found, tmp_path):
    sections = {}
    for layer, anchor in fragments.anchors(found.summary).items():
        pictures = {"7": "data:seven", anchor: f"data:{anchor}"}
        html = Markup(f"<p>of {layer} & ü\r\n</p>")
        drawings = {"positive": f"drawn {anchor}"}
        part = Fragment(html, f"packed {anchor}", pictures, f"data {anchor}", drawings)
        sections[layer] = FragmentFiles(tmp_path, anchor)
        sections[layer].write(part)
        read = sections[layer]
        assert (read.html, read.figures, read.pictures) == (part.html, part.figures, pictures)
        assert (read.data, read.drawings) == (part.data, drawings)
    pieces = run_page.pieces(found.of_page(), sections)
    page = "".join(pieces)
    for layer, anchor in fragments.anchors(found.summary).items():
        assert f"<p>of {layer} & ü\r\n</p>" in without_data(page)
        assert f">packed {anchor}</script>" in page
        assert f'data-of="{anchor}">data {anchor}</script>' in page
        assert f'data-figures="{anchor}-positive">drawn {anchor}</script>' in page
    table = re.search(r'<script type="application/json" id="pictures">(.*?)</script>', page)[1]
    # What several sections show is there once.
    assert table.count("seven") == 1
    of_anchors = {f"layer-{i}": f"data:layer-{i}" for i in range(3)}
    assert json.loads(table) == {"7": "data:seven", **of_anchors}


def test_a_run_without_any_significant_vector_has_a_page():
    page = findings(nothing()).page()
    assert "No singular vector is significant for any class" in page


def test_a_class_alone_is_not_compared_with_itself():
    alone = nothing()
    alone[0, 2, 1] = True
    made = findings(alone)
    figures = layer_section.layer_figures(made.of_layer("layer0"), Thumbnails(made.pictures))
    assert "jaccard" not in figures
    own = re.sub(r"\s+", " ", without_data(made.page()))
    name = escape(made.images.target_classes[2])
    assert f"{name} is the only class that has a significant singular vector" in own


def test_a_page_says_what_it_was_made_of(page, tmp_path):
    file = tmp_path / "report.html"
    assert made_of_page(file) is None
    file.write_text(page)
    assert made_of_page(file) == "0123abcd"
    file.write_text(page.replace("0123abcd", ""))
    assert made_of_page(file) == ""
    file.write_text(page.rstrip()[:-1])
    assert made_of_page(file) is None
    file.write_bytes(b"\xff" * 2000)
    assert made_of_page(file) is None


def test_the_data_of_vectors_and_classes_are_those_of_the_tables(page, found):
    data = data_of(page)
    assert [one["layer"] for one in data.values()] == ["layer0", "layer1", "layer2"]
    assert data["layer-1"]["vectors"] == []
    one, table = data["layer-0"], found.of_layer("layer0").table
    assert {v["v"] for v in one["vectors"]} == set(np.flatnonzero(table.significant.any(axis=0)))
    confidence = found.run.significance.confidence
    low, high = table_intervals(table, confidence)
    searched = found.of_layer("layer0").searched
    for vector in one["vectors"]:
        (side,) = vector["d"]
        node = vector["v"]
        assert side["c"] == np.flatnonzero(table.significant[:, node]).tolist()
        assert side["n"] == len(side["c"])
        assert side["e"] == pytest.approx(table.eta_squared[node], rel=1e-3)
        for c, count in enumerate(side["k"]):
            assert count / one["images"][c] == pytest.approx(table.fraction[c, node])
            ends = one["ends"][f"{count}/{one['images'][c]}"]
            assert ends[:2] == pytest.approx([low[c, node], high[c, node]], abs=1e-4)
            among_all = shares_intervals(np.array([count]), table.images[[c]], confidence, searched)
            assert ends[2:] == pytest.approx(np.ravel(among_all), abs=1e-4)
    held = found.stability["layer0"]["incidence"].sel(direction="positive").to_numpy()
    for vector in one["vectors"]:
        (side,) = vector["d"]
        assert side["r"] == np.rint(100 * held[side["c"], vector["v"]]).tolist()


def test_the_data_of_a_vector_name_its_strongest_images(page, found):
    one = data_of(page)["layer-0"]
    stored = found.exemplars.sel(layer="layer0", direction="positive")
    for vector in one["vectors"]:
        at = stored.sel(singular_vector=vector["v"])
        (side,) = vector["d"]
        assert [one["seen"][str(n)][0] for n in side["x"]] == at["image"].to_numpy().tolist()
        assert side["y"] == pytest.approx(at["signal"].to_numpy().tolist(), rel=1e-3)


def test_many_classes_have_the_shares_of_some(tmp_path):
    made = with_own_classes(40, 8)
    (one,) = data_of(made.page()).values()
    table = made.of_layer("layer0").table
    for vector in one["vectors"]:
        (side,) = vector["d"]
        assert set(side["c"]) <= set(side["w"])
        assert len(side["k"]) == len(side["w"]) == len(side["c"]) + 3
        for c, count in zip(side["w"], side["k"], strict=True):
            assert count / one["images"][c] == pytest.approx(table.fraction[c, vector["v"]])


def test_pictures_past_the_page_s_room_are_those_that_fewest_layers_show(monkeypatch):
    monkeypatch.setattr(report_page, "_PICTURES", 20)
    every = [{"1": "a" * 9, "2": "b" * 9}, {"3": "c" * 9, "1": "a" * 9}, {"3": "c" * 9}]
    parts = {str(i): Fragment(Markup(""), "", pictures) for i, pictures in enumerate(every)}
    table = json.loads(f"{{{''.join(report_page._all_pictures(parts))}}}")
    assert table == {"1": "a" * 9, "3": "c" * 9}


def test_drawings_of_one_direction_past_the_page_s_room_are_left_out_whole(found, monkeypatch):
    own = fragments.anchors(found.summary)
    sections = {
        layer: Fragment(Markup(""), "", {}, "", dict.fromkeys(("positive", "negative"), "x" * 1000))
        for layer in own
    }
    without = "".join(run_page.pieces(found.of_page(), sections)).partition("-positive")[0]
    # Room for one layer, whose two drawings stand at the end of what is written before them.
    room = len(without.encode()) + 2500
    monkeypatch.setattr(report_page, "_WITH_DRAWINGS", room)
    page = "".join(run_page.pieces(found.of_page(), sections))
    kept = re.findall(r'data-figures="(layer-\d)-(positive|negative)"', page)
    first = own[found.told().statements[0].layer]
    assert kept == [(first, "positive"), (first, "negative")]
