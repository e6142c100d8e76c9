import holoviews as hv
import numpy as np
import pytest
from findings import findings, nested, nothing
from pages import without_data

from ddp_tasks.figures import relation_figures
from ddp_tasks.hypergraphs import class_relations
from ddp_tasks.report.relation_rows import class_rows, walk_rows
from ddp_tasks.weights.layer_vectors import LayerVectors


@pytest.fixture(scope="module")
def small():
    return findings(nested())


def _cells(overlay):
    """Whole percent, the first row on top."""
    (image,) = [element for element in overlay if element.group == "Cells"]
    return image.dimension_values("image", flat=False)[::-1]


def _title(overlay):
    return hv.Store.lookup_options("bokeh", overlay, "plot").kwargs["title"]


def _hover(overlay):
    (image,) = [element for element in overlay if element.group == "Cells"]
    return hv.Store.lookup_options("bokeh", image, "plot").kwargs["tools"][0]


def _names(overlay, axis):
    return list(_hover(overlay).formatters[axis].args["names"])


def test_similar_classes_are_neighbours_whatever_their_order():
    # Two clusters, their members taking turns.
    cluster = np.arange(8) % 2
    similar = np.where(cluster[:, None] == cluster, 0.9, 0.1)
    np.fill_diagonal(similar, 1)
    ordered = cluster[relation_figures.clustered(similar)]
    assert np.count_nonzero(np.diff(ordered)) == 1


def test_the_heat_map_holds_the_similarities_stored(small):
    relations = small.hypergraphs["layer0"]
    overlay = relation_figures.jaccard_heatmap(relations)
    names = _names(overlay, "$x")
    assert sorted(names) == sorted(small.images.target_classes)
    assert _names(overlay, "$y") == names[::-1]
    stored = relations["jaccard"].sel(target_class=names, other_class=names).to_numpy()
    np.testing.assert_array_equal(_cells(overlay), np.rint(stored * 100))
    assert _title(overlay) == ""


def test_classes_without_vectors_are_left_out_and_counted():
    strong = nested()
    strong[0, 3] = False
    found = findings(strong)
    overlay = relation_figures.jaccard_heatmap(found.hypergraphs["layer0"])
    assert _cells(overlay).shape == (3, 3)
    assert "Left out: 1 class that has none." in without_data(found.page())


def test_many_classes_are_averaged_and_said_to_be(small, monkeypatch):
    monkeypatch.setattr(relation_figures, "_ROWS", 2)
    relations = small.hypergraphs["layer0"]
    overlay = relation_figures.jaccard_heatmap(relations)
    assert "4 classes, neighbours averaged into 2 rows." in _title(overlay)
    order = [name for told in _names(overlay, "$x") for name in told.split(", ")]
    stored = relations["jaccard"].sel(target_class=order, other_class=order).to_numpy()
    expected = stored.reshape(2, 2, 2, 2).mean(axis=(1, 3))
    np.testing.assert_array_equal(_cells(overlay), np.rint(expected * 100))


def test_past_a_number_of_classes_the_largest_are_shown_and_the_others_counted(monkeypatch):
    monkeypatch.setattr(class_relations, "_MOST_RELATED", 2)
    found = findings(nested())
    relations, hierarchy = found.hypergraphs["layer0"], found.hierarchies["layer0"]
    layer = LayerVectors.of(found.layers.sel(layer="layer0"))
    overview = relation_figures.incidence_overview(hierarchy, relations, layer)
    told = "Shown: 2 of 4 target classes, with most significant vectors first."
    for overlay in (relation_figures.jaccard_heatmap(relations), overview):
        assert told in _title(overlay)
        assert len(_cells(overlay)) == 2
    rows, left_out = class_rows(relations)
    assert len(rows) + left_out == 4
    kept = set(relations["other_class"].to_numpy())
    assert {row.nearest for row in rows} <= kept


def test_the_overview_shows_every_incidence_by_level(small):
    hierarchy, relations = small.hierarchies["layer0"], small.hypergraphs["layer0"]
    layer = LayerVectors.of(small.layers.sel(layer="layer0"))
    overlay = relation_figures.incidence_overview(hierarchy, relations, layer)
    columns = _names(overlay, "$x")
    assert columns[0] == "v0*:1 at level 0"
    assert columns[-1] == "v4:1 at level 2"
    rows = _names(overlay, "$y")[::-1]
    first = [int(label.split(":")[0].strip("v*")) for label in columns]
    member = hierarchy["singular_vectors"].to_numpy()
    number = [int(np.flatnonzero(member[:, v])[0]) for v in first]
    expected = hierarchy["target_classes"].sel(target_class=rows).to_numpy()[number].T
    np.testing.assert_array_equal(_cells(overlay), expected * 100)
    (lines,) = [element for element in overlay if element.group == "Levels"]
    assert len(lines.data) == 2


def test_one_class_or_one_equivalence_class_of_many_has_its_overview():
    # Every class has the first vector alone; then one class has all that is significant.
    strong = np.zeros((2, 4, 6), dtype=bool)
    strong[0, :, 0] = strong[1, 2, :3] = True
    found = findings(strong)
    for layer, shape in (("layer0", (4, 1)), ("layer1", (1, 1))):
        overview = relation_figures.incidence_overview(
            found.hierarchies[layer],
            found.hypergraphs[layer],
            LayerVectors.of(found.layers.sel(layer=layer)),
        )
        assert _cells(overview).tolist() == np.full(shape, 100).tolist()
        hv.renderer("bokeh").get_plot(overview)


def test_figures_of_an_empty_hypergraph_say_why():
    found = findings(nothing())
    relations, hierarchy = found.hypergraphs["layer0"], found.hierarchies["layer0"]
    with pytest.raises(ValueError, match="No singular vector exceeds"):
        relation_figures.jaccard_heatmap(relations)
    with pytest.raises(ValueError, match="No singular vector exceeds"):
        relation_figures.incidence_overview(
            hierarchy, relations, LayerVectors.of(found.layers.sel(layer="layer0"))
        )
    assert walk_rows(relations) == []
    assert class_rows(relations) == ([], 0)


def test_rows_tell_of_walks_and_classes(small):
    # v0 for all four classes, v1 and v2 for the first three, v3 for the last three, v4 for one.
    relations = small.hypergraphs["layer0"]
    one, two, four = walk_rows(relations)
    assert (one.s, one.classes, one.components, one.farthest) == (1, 4, "4", 1)
    assert one.central == "all alike (3)"
    assert one.between == ""
    # The last class shares two vectors with the second and third alone.
    assert (two.classes, two.farthest) == (4, 2)
    assert "1 - a" in two.between
    assert "2 - a" in two.between
    assert (four.classes, four.components) == (2, "2")
    rows, left_out = class_rows(relations)
    assert left_out == 0
    assert [row.vectors for row in rows] == [3, 5, 4, 2]
    assert [row.toplex for row in rows] == [False, True, False, False]
    assert rows[2].nearest == small.images.target_classes[1]
    assert rows[2].similarity == pytest.approx(0.8)
