import holoviews as hv
import numpy as np
import pytest
from findings import findings, nested, nothing, with_own_classes

from ddp_tasks.figures import class_heatmaps


@pytest.fixture(scope="module")
def small():
    return findings(nested())


def parts_of(found):
    one = found.of_layer("layer0")
    levels = found.significance["quantile"].values.tolist()
    return one.table, one.layer, one.highest_level, levels


def part(overlay, group):
    (one,) = [element for element in overlay if element.group == group]
    return one


def title(overlay):
    return hv.Store.lookup_options("bokeh", overlay, "plot").kwargs["title"]


def place_of(cell, table):
    """Class and vector of a cell, by position."""
    return table.target_classes.index(cell.target_class), int(cell.vector.strip("v*"))


def test_the_table_is_shown_and_dots_mark_what_is_significant(small):
    table, layer, _, _ = parts_of(small)
    overlay = class_heatmaps.significance_heatmap(table, layer)
    cells = part(overlay, "Cells").dframe()
    for _, cell in cells.iterrows():
        place = place_of(cell, table)
        assert cell.fraction == pytest.approx(table.fraction[place])
        assert cell.significant == table.significant[place]
    dots = {(round(x), round(y)) for x, y in part(overlay, "Significant").array()}
    x, y = cells.fraction_x0 + 0.5, cells.fraction_y0 + 0.5
    marked = {(round(x), round(y)) for x, y, on in zip(x, y, cells.significant, strict=True) if on}
    assert marked == dots
    assert cells.eta_squared.is_monotonic_decreasing or len(set(cells.fraction_y0)) > 1
    assert title(overlay) == ""
    hv.renderer("bokeh").get_plot(overlay)


def test_what_there_is_no_room_for_is_said():
    table, layer, highest_level, levels = parts_of(with_own_classes(8, 90))
    overlay = class_heatmaps.significance_heatmap(table, layer)
    shown = len(set(part(overlay, "Cells")["vector"]))
    assert shown == 80
    assert "Shown: 80 of 90 significant singular vectors" in title(overlay)
    # Narrow cells have dots in the place of numbers.
    narrow = class_heatmaps.highest_level_heatmap(highest_level, table, layer, levels)
    assert [e for e in narrow if isinstance(e, hv.Labels)] == []
    assert len(part(narrow, "Significant")) > 0
    hv.renderer("bokeh").get_plot(narrow)


def test_every_cell_tells_the_greatest_level_at_which_its_incidence_holds(small):
    table, layer, highest_level, levels = parts_of(small)
    # Beside levels that the toy's signals tell apart, one incidence that ends early, one nowhere.
    highest_level = highest_level.copy()
    highest_level[3, 0], highest_level[3, 1] = levels[0], np.nan
    overlay = class_heatmaps.highest_level_heatmap(highest_level, table, layer, levels)
    cells = part(overlay, "Cells").dframe()
    for _, cell in cells.iterrows():
        greatest = highest_level[place_of(cell, table)]
        assert cell.level == ("none stored" if np.isnan(greatest) else f"{greatest:g}")
        reached = 0 if np.isnan(greatest) else levels.index(greatest) + 1
        assert cell.reach == reached / len(levels)
    written = {}
    for labels in (e for e in overlay if isinstance(e, hv.Labels)):
        bold = hv.Store.lookup_options("bokeh", labels, "style").kwargs["text_font_style"]
        for x, y, text, _ in labels.array():
            written[round(float(x)), round(float(y))] = (text, bold == "bold")
    for _, cell in cells.iterrows():
        place = (round(cell.reach_x0 + 0.5), round(cell.reach_y0 + 0.5))
        if cell.reach == 0:
            assert place not in written
        else:
            assert written[place] == (cell.level, cell.significant)
    hv.renderer("bokeh").get_plot(overlay)


def test_the_bar_names_as_many_levels_as_it_has_room_for():
    few, many = (class_heatmaps._Shown(np.arange(n), np.arange(3), "") for n in (2, 10))
    levels = [0.5, 0.6, 0.7, 0.8, 0.9]
    named = class_heatmaps._levels(many, levels)["major_label_overrides"]
    assert list(named.values()) == ["0.9", "0.8", "0.7", "0.6", "0.5"]
    # The middles of the colours of six: no level, and five.
    assert list(named) == pytest.approx([5.5 / 6, 4.5 / 6, 3.5 / 6, 2.5 / 6, 1.5 / 6])
    named = class_heatmaps._levels(few, levels)["major_label_overrides"]
    assert list(named.values()) == ["0.9", "0.6"]


def test_the_stability_of_undecided_incidences_is_drawn(small):
    table, layer, _, _ = parts_of(small)
    stability = small.stability["layer0"].copy(deep=True)
    # Signals are either strong for all images of a class or for none: no resample differs.
    assert not class_heatmaps.undecided(stability).any()
    with pytest.raises(ValueError, match="in all resamples or in none"):
        class_heatmaps.stability_heatmap(stability, table, layer)
    stability["incidence"][2, 3, 0] = 0.4
    drawn = class_heatmaps.stability_heatmap(stability, table, layer)
    cells = part(drawn, "Cells")
    assert set(cells.dimension_values("vector")) == {"v3"}
    assert sorted(cells.dimension_values("share").round(2)) == [0, 0.4, 1, 1]
    hv.renderer("bokeh").get_plot(drawn)


def test_nothing_significant_is_refused():
    table, layer, highest_level, levels = parts_of(findings(nothing()))
    for draw in (
        lambda: class_heatmaps.significance_heatmap(table, layer),
        lambda: class_heatmaps.highest_level_heatmap(highest_level, table, layer, levels),
    ):
        with pytest.raises(ValueError, match="no singular vector is significant"):
            draw()
