import holoviews as hv
import numpy as np
import pytest
from findings import findings, nested, nothing

from ddp_tasks.figures import family_figures
from ddp_tasks.report import family_section
from ddp_tasks.significance.layer_table import LayerTable
from ddp_tasks.weights.layer_vectors import LayerVectors


@pytest.fixture(scope="module")
def found():
    return findings(np.concatenate([nested(), nothing()]))


def table_of(found, layer):
    levels = found.run.significance.levels(layer)
    return LayerTable.of(found.significance.sel(layer=layer), *levels, ("positive",))


def part(overlay, group):
    return next(e for e in overlay.traverse(lambda x: x, [hv.Element]) if e.group == group)


def test_the_map_shows_every_size_and_frames_the_runs_own(found):
    own = found.run.significance.levels("layer0")
    family = found.family.sel(layer="layer0", direction="positive")
    drawn = family_figures.family_map(family, "nodes", own)
    cells = part(drawn, "Cells").data
    assert len(cells["nodes"]) == family["nodes"].size
    for quantile, percentage, nodes in zip(
        cells["quantile"], cells["percentage"], cells["nodes"], strict=True
    ):
        assert family["nodes"].sel(quantile=quantile, percentage=percentage) == nodes
    ((x0, y0, x1, y1),) = part(drawn, "Own").array()
    assert family["quantile"].values[int((x0 + x1) / 2)] == own[0]
    assert family["percentage"].values[int((y0 + y1) / 2)] == own[1]
    hv.renderer("bokeh").get_plot(drawn)


def test_a_depth_that_was_not_computed_is_no_number(found):
    family = found.family.sel(layer="layer0", direction="positive").copy(deep=True)
    family["depth"][:] = -1
    drawn = family_figures.family_map(family, "depth", (0.9, 75))
    assert set(part(drawn, "Counts").data["text"]) == {"…"}


def test_intervals_enclose_the_fractions(found):
    table, layer = table_of(found, "layer0"), LayerVectors.of(found.layers.sel(layer="layer0"))
    drawn = family_figures.intervals(table, layer, 0.95)
    whiskers = [e for e in drawn if isinstance(e, hv.Segments)]
    dots = [e for e in drawn if isinstance(e, hv.Points)]
    assert [e.label for e in dots] == ["v1*", "v2", "v3"]
    for segments, points in zip(whiskers, dots, strict=True):
        x = points.dimension_values("interval_x")
        assert (segments.dimension_values("interval_x0") <= x).all()
        assert (x <= segments.dimension_values("interval_x1")).all()
        assert set(x) == {0, 100}
        assert set(points.dimension_values("images")) == {"10 of 10", "0 of 10"}
    hv.renderer("bokeh").get_plot(drawn)


def test_bars_name_the_class_that_a_vector_is_significant_for_alone(found):
    table, layer = table_of(found, "layer0"), LayerVectors.of(found.layers.sel(layer="layer0"))
    drawn = family_figures.discrimination_bars(table, layer)
    several, alone = (e for e in drawn if isinstance(e, hv.Rectangles))
    assert several.dimension_values("vector").tolist() == ["v1*", "v2", "v3", "v0*"]
    assert alone.dimension_values("vector").tolist() == ["v4"]
    (label,) = (e for e in drawn if isinstance(e, hv.Labels))
    assert label.dimension_values("text")[0].strip().startswith("1 - a")
    hv.renderer("bokeh").get_plot(drawn)


def test_a_layer_is_judged_in_numbers(found):
    table, layer = table_of(found, "layer0"), LayerVectors.of(found.layers.sel(layer="layer0"))
    stability = found.stability["layer0"].copy(deep=True)
    hierarchy = found.hierarchies["layer0"]
    levels = found.run.significance

    def certainty():
        return family_section.certainty(stability, table, hierarchy, layer, levels)

    sure = certainty()
    assert (sure.incidences, sure.unsure_incidences, sure.near_misses) == (14, 0, 0)
    assert (sure.classes, sure.unsure_classes, sure.unsure_edges) == (4, 0, ())
    assert [size for size, *_ in sure.samples] == [3]
    stability["incidence"][0, 0, 0] = 0.9
    stability["incidence"][0, 5, 0] = 0.1
    stability["together"][1] = 0.5
    stability["inclusion"][:] = 0.25
    unsure = certainty()
    assert (unsure.unsure_incidences, unsure.near_misses) == (1, 1)
    assert unsure.unsure_classes == 1
    assert len(unsure.unsure_edges) == stability.sizes["cover"] == 4
    assert unsure.unsure_edges[0].endswith("(25%)")
    assert family_section.certainty(None, table, hierarchy, layer, levels) is None


def test_nothing_significant_leaves_the_maps_alone(found):
    table, layer = table_of(found, "layer1"), LayerVectors.of(found.layers.sel(layer="layer1"))
    drawn = family_section.family_figures_of(
        found.family,
        found.of_layer("layer1").highest_level,
        found.stability["layer1"],
        table,
        layer,
        levels=found.run.significance,
    )
    assert set(drawn) == {"family nodes", "family equivalence_classes", "family depth"}
    with pytest.raises(ValueError, match="no singular vector is significant"):
        family_figures.discrimination_bars(table, layer)
