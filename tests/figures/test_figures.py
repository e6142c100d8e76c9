import holoviews as hv
import numpy as np
import pytest
import visualization_groups
from findings import findings, nested, nothing, with_own_classes

from ddp_tasks.figures import (
    diagram_layout,
    hierarchy_figures,
    hypergraph_figures,
    layer_figures,
    notation,
)
from ddp_tasks.figures.hierarchy_boxes import hierarchy_boxes
from ddp_tasks.figures.optimised_pictures import optimised_pictures
from ddp_tasks.figures.thumbnails import Thumbnails, thumbnail
from ddp_tasks.significance.layer_table import LayerTable
from ddp_tasks.weights.layer_vectors import LayerVectors


@pytest.fixture(scope="module")
def small():
    return findings(nested())


def _layer(found, name="layer0"):
    levels = found.run.significance.levels(name)
    table = LayerTable.of(found.significance.sel(layer=name), *levels, ("positive",))
    return table, LayerVectors.of(found.layers.sel(layer=name)), found.hierarchies[name]


def _part(overlay, group):
    (part,) = [element for element in overlay if element.group == group]
    return part


def _title(overlay):
    return hv.Store.lookup_options("bokeh", overlay, "plot").kwargs["title"]


def test_spectrum_marks_significant_and_arbitrary_vectors(small):
    table, layer, _ = _layer(small)
    parts = {element.label: element for element in layer_figures.spectrum(table, layer)}
    significant = np.flatnonzero(table.significant.any(axis=0))
    assert set(parts["significant for a class"]["index"]) == set(significant)
    assert set(parts["arbitrary singular vector (*)"]["vector"]) == {"v0*", "v1*"}
    values = np.concatenate(
        [parts[label]["value"] for label in parts if not label.startswith("arbitrary")]
    )
    np.testing.assert_array_equal(np.sort(values)[::-1], layer.singular_values)


def test_distribution_counts_every_signal_and_its_line_is_at_q(small):
    table, _, _ = _layer(small)
    signals = small.cube_of("layer0")
    counts = layer_figures.signal_counts(signals, len(signals))
    np.testing.assert_array_equal(counts.counts, np.histogram(signals, counts.edges)[0])
    assert counts.counts.sum() == signals.size
    (q,) = table.thresholds
    overlay = layer_figures.signal_distribution(counts, {"positive": q})
    (line,) = [element for element in overlay if isinstance(element, hv.VLine)]
    assert line.data == q
    assert _title(overlay) == ""


def test_a_distribution_of_a_part_of_the_images_says_so(small):
    counts = layer_figures.signal_counts(small.cube_of("layer0")[:20], 40)
    assert (counts.images, counts.of_images) == (20, 40)
    assert "20 of 40 images" in _title(layer_figures.signal_distribution(counts, {"positive": 0.0}))


def test_signals_that_are_none_are_not_counted(small):
    signals = small.cube_of("layer0").copy()
    signals[3] = np.nan
    counts = layer_figures.signal_counts(signals, len(signals))
    assert counts.counts.sum() == signals.size - signals.shape[1]
    assert layer_figures.signal_counts(signals[3:4], 40).counts.sum() == 0


def test_hulls_show_every_target_class_around_its_circles(small):
    _, layer, hierarchy = _layer(small)
    overlay = hypergraph_figures.hypergraph_figure(hierarchy, layer)
    hulls = _part(overlay, "Hulls").data
    assert [hull["target_class"] for hull in hulls] == list(small.images.target_classes)
    circles = _part(overlay, "Circles").dframe()
    assert circles.label.tolist() == ["v0*:1", "v1*:2", "v3:1", "v4:1"]
    for hull, members in zip(hulls, hierarchy["target_classes"].to_numpy().T, strict=True):
        corners = np.column_stack([hull["hull_x"], hull["hull_y"]])
        for circle in circles[members].itertuples():
            assert _inside(corners, np.array([circle.hull_x, circle.hull_y]))
    assert circles.diameter[1] > circles.diameter[0]


def _inside(corners, point):
    turn = np.roll(corners, -1, axis=0) - corners
    towards = point - corners
    across = turn[:, 0] * towards[:, 1] - turn[:, 1] * towards[:, 0]
    return (across > 0).all() or (across < 0).all()


def test_circles_keep_apart_and_the_layout_is_the_same_every_time(small):
    inside = _layer(small)[2]["target_classes"].to_numpy().T
    radius = np.full(4, 20.0)
    centre, _ = diagram_layout.place_circles(inside, radius, 5)
    apart = np.hypot(*(centre[:, None] - centre).transpose(2, 0, 1))
    assert (apart + np.eye(4) * 1000 > 40).all()
    np.testing.assert_array_equal(centre, diagram_layout.place_circles(inside, radius, 5)[0])


@pytest.mark.parametrize(("classes", "vectors"), [(14, 14), (12, 45)])
def test_too_large_a_hypergraph_becomes_a_matrix(classes, vectors):
    found = with_own_classes(classes, vectors)
    _, layer, hierarchy = _layer(found)
    assert not hypergraph_figures.has_hulls(hierarchy)
    overlay = hypergraph_figures.hypergraph_figure(hierarchy, layer)
    assert len(_part(overlay, "Inside")) == hierarchy["target_classes"].to_numpy().sum()
    assert set(_part(overlay, "Inside")["target_class"]) == set(found.images.target_classes)


def test_limits_of_the_matrix_are_stated(monkeypatch):
    monkeypatch.setattr(hypergraph_figures, "_EQUIVALENCE_CLASSES_IN_MATRIX", 7)
    _, layer, hierarchy = _layer(with_own_classes(14, 14))
    title = _title(hypergraph_figures.incidence_matrix(hierarchy, layer))
    assert "Shown: 7 of 14 equivalence classes, most general first." in title


def test_a_box_has_the_optimised_image_of_exactly_its_vectors(small):
    _, layer, hierarchy = _layer(small)
    # Of the classes {0}, {1, 2}, {3}, {4}: two pictures fit, one of them failed; others do not.
    targets = [((0,), "positive"), ((1, 2), "positive"), ((1,), "positive"), ((3,), "negative")]
    stored = visualization_groups.visualizations("layer0", layer.rank, targets, failed=[1])
    found = optimised_pictures(stored)
    overlay = hierarchy_figures.hierarchy_figure(
        hierarchy, layer, Thumbnails(small.pictures), found, values=True
    )
    boxes = _part(overlay, "Boxes").dframe()
    _apart(boxes)
    optimised = _part(overlay, "Optimised").dframe()
    assert optimised["optimised for"].tolist() == [
        "v0 positive mean fourier",
        "v1+v2 positive mean fourier",
    ]
    assert _part(overlay, "Excess")["text"].tolist() == ["excess 0.50", "failed"]
    assert len(_part(overlay, "Failed")) == 1
    pictures = _part(overlay, "Pictures").dframe()
    everything = [*optimised.itertuples(), *pictures.itertuples()]
    assert len(pictures) == hierarchy["target_classes"].to_numpy().sum()
    for number, one in enumerate(everything):
        within = (boxes.left_x <= one.x0) & (boxes.right_x >= one.x1)
        within &= (boxes.low_y <= one.y0) & (boxes.high_y >= one.y1)
        assert within.sum() == 1
        for other in everything[number + 1 :]:
            apart = other.x1 <= one.x0 or one.x1 <= other.x0
            assert apart or other.y1 <= one.y0 or one.y1 <= other.y0
    assert "v1* 9.00, v2 6.00" in _part(overlay, "Vectors")["text"]


def test_hierarchy_draws_every_cover_and_no_box_over_another(small):
    _, layer, hierarchy = _layer(small)
    overlay = hierarchy_figures.hierarchy_figure(hierarchy, layer, Thumbnails(small.pictures))
    boxes = _part(overlay, "Boxes").dframe()
    assert boxes.title.tolist() == ["[v0*]", "[v1*]", "[v3]", "[v4]"]
    _apart(boxes)
    edges = {(int(p["above"]), int(p["below"])) for p in _part(overlay, "Covers").data}
    assert edges == {(int(i), int(j)) for i, j in np.argwhere(hierarchy["covers"].to_numpy())}
    for path in _part(overlay, "Covers").data:
        assert path["line_y"][0] == pytest.approx(boxes.low_y[int(path["above"])])
        assert path["line_y"][-1] == pytest.approx(boxes.high_y[int(path["below"])])
    pictures = _part(overlay, "Pictures").dframe()
    assert len(pictures) == hierarchy["target_classes"].to_numpy().sum()
    for picture in pictures.itertuples():
        within = (boxes.left_x <= picture.x0) & (boxes.right_x >= picture.x1)
        within &= (boxes.low_y <= picture.y0) & (boxes.high_y >= picture.y1)
        assert within.sum() == 1


def _apart(boxes):
    for i, one in boxes.iterrows():
        for _, other in boxes.iloc[: int(i)].iterrows():
            beside = one.left_x >= other.right_x or other.left_x >= one.right_x
            assert beside or one.low_y >= other.high_y or other.low_y >= one.high_y


def test_large_hierarchies_state_what_they_leave_out():
    found = with_own_classes(13, 70)
    _, layer, hierarchy = _layer(found)
    total = hierarchy.sizes["equivalence_class"]
    assert total > 60
    overlay = hierarchy_figures.hierarchy_figure(hierarchy, layer, Thumbnails(found.pictures))
    boxes = _part(overlay, "Boxes").dframe()
    assert len(boxes) <= 60
    assert _title(overlay).startswith(
        f"Shown: the {len(boxes)} most general of {total} equivalence classes on "
    )
    _apart(boxes)


def test_boxes_tell_what_lies_below_and_is_not_shown(small):
    _, layer, hierarchy = _layer(small)
    # v0 above all others, v1 and v3 above v4.
    boxes = hierarchy_boxes(hierarchy, layer, 3)
    assert [box.below for box in boxes] == [1, 1, 1]
    assert boxes[0].height == hierarchy_boxes(hierarchy, layer)[0].height + 16
    assert [box.below for box in hierarchy_boxes(hierarchy, layer, 1)] == [3]


def test_long_boxes_abbreviate_vectors_classes_and_images():
    strong = np.zeros((1, 14, 8), dtype=bool)
    strong[0, :, :6] = True
    found = findings(strong, images=28)
    _, layer, hierarchy = _layer(found)
    (box,) = hierarchy_boxes(hierarchy, layer)
    assert box.vectors == "v0*, v1*, v2, +3"
    assert box.classes[-1].endswith("+10")
    assert (len(box.exemplars), box.left_out) == (10, 4)
    for line in box.classes:
        assert notation.text_width(line, 12) <= box.width


def test_lines_over_several_levels_pass_between_boxes():
    covers = np.zeros((4, 4), dtype=bool)
    covers[0, 1] = covers[1, 2] = covers[2, 3] = True
    covers[0, 3] = True  # as no reduction would have it, but a long line
    sizes = [(100.0, 50.0)] * 4
    placed = diagram_layout.place_levels(np.arange(4), covers, sizes, 20, 40)
    long = placed.lines[placed.edges.index((0, 3))]
    for box in (1, 2):
        left, top = placed.corners[box]
        level_with = (long[:, 1] >= top) & (long[:, 1] <= top + 50)
        assert level_with.any()
        assert ((long[level_with, 0] < left) | (long[level_with, 0] > left + 100)).all()


def test_figures_of_an_empty_hypergraph_refuse():
    found = findings(nothing())
    _, layer, hierarchy = _layer(found)
    with pytest.raises(ValueError, match="no singular vector is significant"):
        hypergraph_figures.hypergraph_figure(hierarchy, layer)
    with pytest.raises(ValueError, match="no singular vector is significant"):
        hierarchy_figures.hierarchy_figure(hierarchy, layer, {})


def test_thumbnails_are_small_and_fetched_once(small, monkeypatch):
    large = thumbnail(np.zeros((300, 200, 3), dtype=np.uint8))
    assert (large.width, large.height) == (43, 64)
    tiny = thumbnail(np.zeros((6, 6, 3), dtype=np.uint8))
    assert (tiny.width, tiny.height) == (42, 42)
    assert tiny.uri.startswith("data:image/png;base64,")
    thumbnails = Thumbnails(small.pictures)
    assert thumbnails[small.images.ids[3]] is thumbnails[small.images.ids[3]]


def test_long_names_keep_both_ends():
    assert notation.short("American Staffordshire terrier", 15) == "American S…rier"
    assert notation.short("cat", 15) == "cat"
    assert notation.wrapped(["aaa", "bbb", "ccc"], 60, 12, 1) == ["aaa, +2"]
